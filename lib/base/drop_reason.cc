// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/drop_reason.h"

namespace sluice {
namespace {

struct Words {
  absl::string_view name;
  absl::string_view meaning;
};

// A switch and not an array: a reason added without its words does not compile.
Words WordsFor(DropReason reason) {
  switch (reason) {
    case DropReason::kNoBuffer:
      return {"no-buffer",
              "the pool was empty when the packet came; make the pool larger or hold packets for less long"};
    case DropReason::kOverBudget:
      return {"over-budget",
              "the owner had used up its memory allowance; raise it, or let the owner's reader catch up"};
    case DropReason::kReceiveRingFull:
      return {"receive-ring-full",
              "nobody polled the receive queue in time; poll more often, add queues, or deepen the ring"};
    case DropReason::kTransmitRingFull:
      return {
          "transmit-ring-full",
          "the egress stayed full; it is slower than the ingress, so limit the senders or deepen the ring"};
    case DropReason::kLinkDown:
      return {"link-down", "the port had no link; see the link state of the port and of its peer"};
    case DropReason::kTooLong:
      return {
          "too-long",
          "the frame exceeds the MTU of the port or its buffers; lower the sender's MTU or raise the port's"};
    case DropReason::kTooShort:
      return {"too-short", "the frame has no whole Ethernet header; look at the sender"};
    case DropReason::kMalformed:
      return {
          "malformed",
          "a header contradicts itself or the length of the frame; capture the port and look at the sender"};
    case DropReason::kBadChecksum:
      return {
          "bad-checksum",
          "the checksum was wrong on receive; look at the cable, or at the offload settings of the sender"};
    case DropReason::kNoVlan:
      return {"no-vlan", "the port does not carry this VLAN; add it to the port's list if it should"};
    case DropReason::kSpoofed:
      return {
          "spoofed",
          "the source address is not the port's own; allow the address on the port if the guest may use it"};
    case DropReason::kSameSegment:
      return {
          "same-segment",
          "the destination is behind the port the frame came from; normal behind a hub or a nested bridge"};
    case DropReason::kNoDestination:
      return {"no-destination", "no other port could take the frame; add a port to its VLAN, or a rule"};
    case DropReason::kPortRemoved:
      return {"port-removed",
              "the port went away while the packet was under way; normal for a moment after a removal"};
    case DropReason::kRule:
      return {"rule", "a steering rule says drop; list the rules with their counters to see which"};
    case DropReason::kUnsupportedOffload:
      return {"unsupported-offload",
              "an offload was asked for that cannot be done for this packet; check Nic::capabilities"};
    case DropReason::kDeviceError:
      return {"device-error",
              "the device refused or lost the descriptor; see the device's events and the kernel log"};
    case DropReason::kFault:
      return {"fault", "lost by a fault that the model NIC was told to play; edit its fault script"};
    case DropReason::kStopped:
      return {"stopped", "still queued when the queue was stopped; drain before stopping to lose nothing"};
  }
  return {"unknown", "a reason of a newer version; upgrade the reader"};
}

}  // namespace

absl::string_view Name(DropReason reason) { return WordsFor(reason).name; }
absl::string_view Meaning(DropReason reason) { return WordsFor(reason).meaning; }

}  // namespace sluice

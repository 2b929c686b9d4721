// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_DROP_REASON_H_
#define SLUICE_BASE_DROP_REASON_H_

// Why a packet ended here. Every packet that enters is delivered or counted under exactly one of these:
//
//   injected = delivered + held + sum over reasons
//
// New reasons go at the end: the numbers are saved with state and read by older versions.

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "sluice/base/export.h"

namespace sluice {

enum class DropReason : uint8_t {
  kNoBuffer,            // the pool had no buffer for a received or copied packet
  kOverBudget,          // the owner's memory allowance was used up and its ring was full
  kReceiveRingFull,     // nobody polled the receive queue in time
  kTransmitRingFull,    // the egress queue stayed full and the sender may not wait
  kLinkDown,            // sent to, or on the way over, a link that is down
  kTooLong,             // longer than the MTU of the port, or than a buffer can hold
  kTooShort,            // shorter than an Ethernet header
  kMalformed,           // a header contradicts itself or the frame's length
  kBadChecksum,         // a receive checksum was wrong, and the port is set to drop such frames
  kNoVlan,              // VLAN not allowed on the port
  kSpoofed,             // source address not the port's own, and the port is set to check
  kSameSegment,         // destination is on the port that the frame came from
  kNoDestination,       // no port to deliver to
  kPortRemoved,         // the port went away while the packet was under way
  kRule,                // a steering rule says drop
  kUnsupportedOffload,  // asks for an offload that neither the device nor software can do for this packet
  kDeviceError,         // the device refused or lost the descriptor
  kFault,               // lost by a scripted fault of the model NIC
  kStopped,             // was in a queue when it was stopped
};

inline constexpr size_t kDropReasonCount = static_cast<size_t>(DropReason::kStopped) + 1;

// Short name as in tables and metrics ("no-buffer"), and one sentence with what to do about it.
SLUICE_EXPORT absl::string_view Name(DropReason reason);
SLUICE_EXPORT absl::string_view Meaning(DropReason reason);

// A plain snapshot of drops by reason.
struct DropCounts {
  std::array<uint64_t, kDropReasonCount> by_reason{};

  uint64_t& operator[](DropReason reason) { return by_reason[static_cast<size_t>(reason)]; }
  uint64_t operator[](DropReason reason) const { return by_reason[static_cast<size_t>(reason)]; }

  uint64_t total() const {
    uint64_t sum = 0;
    for (const uint64_t count : by_reason) sum += count;
    return sum;
  }
  DropCounts& operator+=(const DropCounts& other) {
    for (size_t i = 0; i < kDropReasonCount; ++i) by_reason[i] += other.by_reason[i];
    return *this;
  }
};

}  // namespace sluice

#endif  // SLUICE_BASE_DROP_REASON_H_

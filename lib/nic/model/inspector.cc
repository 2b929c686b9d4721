// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "nic/model/inspector_internal.h"
#include "nic/offload/vlan_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

// Of two checksums, one in and one outside of a tunnel: bad if either is, good if one was looked at.
ChecksumVerdict Both(ChecksumVerdict outer, ChecksumVerdict inner) {
  if (outer == ChecksumVerdict::kBad || inner == ChecksumVerdict::kBad) return ChecksumVerdict::kBad;
  return outer == ChecksumVerdict::kUnknown ? inner : outer;
}

uint16_t Segments(uint32_t payload, uint16_t size) {
  const uint32_t segments = (payload + size - 1) / size;
  return static_cast<uint16_t>(std::min<uint32_t>(segments, std::numeric_limits<uint16_t>::max()));
}

}  // namespace

std::optional<DropReason> Inspector::Inspect(Packet& packet, const SteeringTable& table) const {
  if (packet.length() < FirstLines::kShortest) return DropReason::kTooShort;
  // What is still to be segmented is not a frame yet.
  if (packet.length() > options_.max_frame && !packet.offload.segment) return DropReason::kTooLong;

  TakeTag(packet);
  if (looks_inside_ || table.parses() || packet.offload.any()) FindLayers(packet);
  if (options_.verify_checksums) Verify(packet);
  if (packet.offload.any()) TellUnfinished(packet);
  const bool bad = packet.l3_checksum == ChecksumVerdict::kBad || packet.l4_checksum == ChecksumVerdict::kBad;
  if (bad && options_.drop_bad_checksums) return DropReason::kBadChecksum;
  return std::nullopt;
}

// A frame that contradicts itself has no layers: nothing is made of the first of them, and its flow has no order to keep.
void Inspector::FindLayers(Packet& packet) {
  if (Parse(packet) != ParseVerdict::kOk) packet.layers() = Layers();
}

// A tag that came beside the frame, over a wire in memory, is put where it is wanted; without room for it in
// the frame it stays beside it.
void Inspector::TakeTag(Packet& packet) const {
  if (packet.offload.insert_vlan) {
    packet.offload.insert_vlan = false;
    packet.vlan_stripped = options_.strip_vlan || !InsertVlan(packet);
  } else if (options_.strip_vlan) {
    StripVlan(packet);
  }
}

// The request stays: whoever sends the packet on passes it on, and the last who can finishes it.
void Inspector::TellUnfinished(Packet& packet) {
  if (packet.offload.l3_checksum) packet.l3_checksum = ChecksumVerdict::kPartial;
  if (packet.offload.l4_checksum) packet.l4_checksum = ChecksumVerdict::kPartial;
  const LayerOffsets& at = Select(packet.layers(), LayerSet::kInnermost);
  if (!packet.offload.segment || packet.offload.mss == 0 || at.payload == 0) return;
  const uint32_t payload = packet.length() - at.payload;
  packet.set_coalesced(Segments(payload, packet.offload.mss), packet.offload.mss, packet.offload.fixed_ids);
}

void Inspector::Verify(Packet& packet) {
  packet.l3_checksum =
      Both(VerifyIpv4Checksum(packet, LayerSet::kOuter), VerifyIpv4Checksum(packet, LayerSet::kInner));
  packet.l4_checksum =
      Both(VerifyL4Checksum(packet, LayerSet::kOuter), VerifyL4Checksum(packet, LayerSet::kInner));
}

}  // namespace sluice

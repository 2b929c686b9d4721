// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "nic/offload/finisher_internal.h"
#include "nic/offload/vlan_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"

namespace sluice {

std::optional<DropReason> Finisher::Finish(PacketPtr& packet) const {
  if (Takes(*packet)) return std::nullopt;
  if (std::optional<DropReason> reason = Measure(*packet)) return reason;
  if (MustCopy(*packet)) {
    if (std::optional<DropReason> reason = Copy(packet)) return reason;
  }
  if (!options_.carries_checksums) {
    if (std::optional<DropReason> reason = FillChecksums(*packet)) return reason;
  }
  if (packet->offload.insert_vlan && !options_.carries_vlan) return PutTag(packet);
  return std::nullopt;
}

// Headers that came in pieces are joined by nobody: whoever asks for segments has them in one.
std::optional<DropReason> Finisher::BeginCut(PacketPtr& packet, Segmenter& segmenter) const {
  if (std::optional<DropReason> reason = Measure(*packet)) return reason;
  if (Parse(*packet) != ParseVerdict::kOk) return DropReason::kUnsupportedOffload;
  const LayerOffsets& at = Select(packet->layers(), LayerSet::kInnermost);
  const size_t tag = packet->offload.insert_vlan ? sizeof(VlanTag) : 0;
  const uint32_t whole = at.payload + uint32_t{SegmentSize(packet->offload, at.l4_type)};
  if (std::min(whole, packet->length()) + tag > options_.max_frame) return DropReason::kTooLong;
  return segmenter.Begin(packet);
}

// To a device behind the wire, which cuts TCP and UDP in the frame itself and nothing in tunnels, and counts identifications
// up: a virtio-net header cannot ask for anything else (virtio 1.2, 5.1.6).
bool Finisher::GoesUncut(const Packet& packet) const {
  if (!options_.carries_tso && options_.uso_segments == 0) return false;
  Layers layers;
  const absl::Span<const uint8_t> head(packet.data(), packet.head_length());
  if (Parse(head, packet.length(), layers) != ParseVerdict::kOk) return false;
  return layers.tunnel == TunnelType::kNone && DeviceCuts(packet, layers.outer);
}

bool Finisher::DeviceCuts(const Packet& packet, const LayerOffsets& at) const {
  constexpr uint32_t kLongestDatagram = 0xffff;  // RFC 791, 3.1; a jumbogram (RFC 2675) is cut here
  const uint16_t size = SegmentSize(packet.offload, at.l4_type);
  const size_t tag = packet.offload.insert_vlan ? sizeof(VlanTag) : 0;
  if (size == 0 || at.payload + size + tag > options_.max_frame || packet.offload.fixed_ids.outer)
    return false;
  if (packet.length() - at.l3 > kLongestDatagram) return false;
  if (at.l4_type == L4Type::kTcp) {
    const uint8_t flags = HeaderAt<TcpHeader>(packet.data(), at.l4)->flags;
    return options_.carries_tso && (options_.carries_cwr || (flags & TcpHeader::kCwr) == 0);
  }
  if (at.l4_type != L4Type::kUdp) return false;
  // The device fills the checksum of every segment: one that was left out would no longer be.
  const bool sums =
      packet.offload.l4_checksum || HeaderAt<UdpHeader>(packet.data(), at.l4)->checksum != Be16();
  return sums && SegmentCount(packet.length() - at.payload, size) <= options_.uso_segments;
}

// The tag that is still to be put in counts; what is still to be segmented is measured when it is.
std::optional<DropReason> Finisher::Measure(const Packet& packet) const {
  if (packet.length() < FirstLines::kShortest) return DropReason::kTooShort;
  if (packet.offload.segment) return std::nullopt;
  const size_t tag = packet.offload.insert_vlan ? sizeof(VlanTag) : 0;
  if (packet.length() + tag > options_.max_frame) return DropReason::kTooLong;
  return std::nullopt;
}

// Replaces a packet by a copy in one piece, with the pool's headroom in front.
std::optional<DropReason> Finisher::Copy(PacketPtr& packet) const {
  PacketPtr whole = options_.pool->GetOne();
  if (whole == nullptr) return DropReason::kNoBuffer;
  if (packet->length() > whole->tailroom()) return DropReason::kTooLong;
  if (!packet->CopyOut(0, packet->length(), whole->data())) return DropReason::kMalformed;
  whole->SetLength(packet->length());
  whole->offload = packet->offload;
  whole->vlan_tci = packet->vlan_tci;
  packet = std::move(whole);
  if (options_.copies != nullptr) options_.copies->Add();
  return std::nullopt;
}

std::optional<DropReason> Finisher::FillChecksums(Packet& packet) const {
  OffloadRequest& request = packet.offload;
  // What the outer checksum covers has to be there first.
  const bool fill_l4 = request.l4_checksum && (!options_.carries_l4_checksum || request.outer_checksum);
  if (!request.l3_checksum && !fill_l4 && !request.outer_checksum) return std::nullopt;
  if (packet.borrows() && !packet.Own()) return DropReason::kNoBuffer;
  if (Parse(packet) != ParseVerdict::kOk) return DropReason::kUnsupportedOffload;

  // The inner ones first: the outer UDP checksum covers them.
  if (request.l3_checksum && !FillIpv4Checksum(packet, LayerSet::kInnermost)) {
    return DropReason::kUnsupportedOffload;
  }
  if (fill_l4 && !FillL4Checksum(packet, LayerSet::kInnermost)) return DropReason::kUnsupportedOffload;
  if (request.outer_checksum) FillOuter(packet);
  request.l3_checksum = request.outer_checksum = false;
  if (fill_l4) request.l4_checksum = false;
  return std::nullopt;
}

// IPv6 has no header checksum, and an outer UDP checksum of zero stays zero (RFC 7348, 5).
void Finisher::FillOuter(Packet& packet) {
  const LayerOffsets& outer = packet.layers().outer;
  (void)FillIpv4Checksum(packet, LayerSet::kOuter);
  const bool udp = outer.l4_type == L4Type::kUdp;
  if (udp && HeaderAt<UdpHeader>(packet.data(), outer.l4)->checksum.get() == 0) return;
  (void)FillL4Checksum(packet, LayerSet::kOuter);
}

std::optional<DropReason> Finisher::PutTag(PacketPtr& packet) const {
  if (!InsertVlan(*packet)) {
    if (std::optional<DropReason> reason = Copy(packet)) return reason;
    if (!InsertVlan(*packet)) return DropReason::kUnsupportedOffload;  // a pool without headroom
  }
  packet->offload.insert_vlan = false;
  return std::nullopt;
}

}  // namespace sluice

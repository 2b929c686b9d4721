// SPDX-License-Identifier: Apache-2.0
#include <cstddef>

#include "nic/wire/virtio_net_header_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/segment.h"

namespace sluice {
namespace {

using Reason = std::optional<DropReason>;

bool IsTcpOrUdp(const LayerOffsets& at) { return at.l4_type == L4Type::kTcp || at.l4_type == L4Type::kUdp; }

// Wherever it is: the field, which holds what the sender started with, is summed with the rest.
void FinishChecksum(Packet& packet, uint32_t start, uint32_t field) {
  ChecksumSum sum;
  uint32_t skip = start;
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    const uint32_t here = piece->head_length();
    if (skip < here) sum.Add(absl::MakeConstSpan(piece->data() + skip, here - skip));
    skip -= std::min(skip, here);
  }
  // A sum that comes out as zero says "none" to UDP, and the same as its complement to everybody else (RFC 768).
  const uint16_t checksum = sum.checksum();
  *HeaderAt<Be16>(packet.data(), field) = checksum == 0 ? uint16_t{0xffff} : checksum;
}

Reason TakeInChecksum(const VirtioNetHeader& header, Packet& packet, ParseVerdict verdict) {
  const uint32_t field = uint32_t{header.checksum_start} + header.checksum_offset;
  if (field + sizeof(Be16) > packet.head_length()) return DropReason::kMalformed;
  const LayerOffsets& at = Select(packet.layers(), LayerSet::kInnermost);
  if (verdict == ParseVerdict::kOk && IsTcpOrUdp(at) && at.l4 == header.checksum_start &&
      ChecksumOffset(at.l4_type) == header.checksum_offset) {
    packet.offload.l4_checksum = true;
    packet.l4_checksum = ChecksumVerdict::kPartial;
  } else {
    FinishChecksum(packet, header.checksum_start, field);
  }
  return std::nullopt;
}

bool IsOfType(uint8_t type, const LayerOffsets& at) {
  switch (type) {
    case VirtioNetHeader::kTcp4:
      return at.l4_type == L4Type::kTcp && at.l3_type == L3Type::kIpv4;
    case VirtioNetHeader::kTcp6:
      return at.l4_type == L4Type::kTcp && at.l3_type == L3Type::kIpv6;
    default:
      return at.l4_type == L4Type::kUdp;
  }
}

// 5.1.6.4: the checksum is then unfinished, too. What is to be cut lies in no tunnel, or it would be cut elsewhere than
// its sender meant.
Reason TakeInSegmenting(const VirtioNetHeader& header, Packet& packet, ParseVerdict verdict) {
  const uint8_t type = header.gso_type & static_cast<uint8_t>(~VirtioNetHeader::kEcn);
  if (type != VirtioNetHeader::kTcp4 && type != VirtioNetHeader::kTcp6 && type != VirtioNetHeader::kUdp)
    return DropReason::kUnsupportedOffload;
  const LayerOffsets& at = packet.layers().outer;
  const bool fits = packet.offload.l4_checksum && verdict == ParseVerdict::kOk && IsOfType(type, at) &&
                    packet.layers().tunnel == TunnelType::kNone;
  const bool sized = header.gso_size != 0 && header.header_length <= packet.length();
  if (!fits || !sized) return DropReason::kMalformed;
  packet.offload.segment = true;
  packet.offload.mss = header.gso_size;
  return std::nullopt;
}

Reason ExpressChecksum(Packet& packet, VirtioNetHeader& header) {
  const LayerOffsets& at = Select(packet.layers(), LayerSet::kInnermost);
  if (!StartL4Checksum(packet, LayerSet::kInnermost)) return DropReason::kUnsupportedOffload;
  header.flags = VirtioNetHeader::kNeedsChecksum;
  header.checksum_start = at.l4;
  header.checksum_offset = ChecksumOffset(at.l4_type);
  return std::nullopt;
}

Reason ExpressSegmenting(const Packet& packet, VirtioNetHeader& header) {
  const Layers& layers = packet.layers();
  const LayerOffsets& at = layers.outer;
  const uint16_t size = SegmentSize(packet.offload, at.l4_type);
  if (layers.tunnel != TunnelType::kNone || !IsTcpOrUdp(at) || size == 0)
    return DropReason::kUnsupportedOffload;
  if (packet.length() <= at.payload + uint32_t{size}) return std::nullopt;  // is one segment already
  header.gso_size = size;
  header.header_length = at.payload;
  if (at.l4_type == L4Type::kUdp) {
    header.gso_type = VirtioNetHeader::kUdp;
    return std::nullopt;
  }
  header.gso_type = at.l3_type == L3Type::kIpv4 ? VirtioNetHeader::kTcp4 : VirtioNetHeader::kTcp6;
  if ((HeaderAt<TcpHeader>(packet.data(), at.l4)->flags & TcpHeader::kCwr) != 0)
    header.gso_type |= VirtioNetHeader::kEcn;
  return std::nullopt;
}

}  // namespace

Reason TakeIn(const VirtioNetHeader& header, Packet& packet) {
  const bool unfinished = (header.flags & VirtioNetHeader::kNeedsChecksum) != 0;
  const ParseVerdict verdict = unfinished ? Parse(packet) : ParseVerdict::kOk;
  if (unfinished) {
    if (Reason reason = TakeInChecksum(header, packet, verdict)) return reason;
  } else if ((header.flags & VirtioNetHeader::kDataValid) != 0) {
    packet.l4_checksum = ChecksumVerdict::kGood;
  }
  if (header.gso_type == VirtioNetHeader::kWhole) return std::nullopt;
  return TakeInSegmenting(header, packet, verdict);
}

Reason Express(Packet& packet, VirtioNetHeader& header) {
  header = {};
  const OffloadRequest& ask = packet.offload;
  if (!ask.any()) return std::nullopt;
  if (ask.l3_checksum || ask.outer_checksum || ask.insert_vlan) return DropReason::kUnsupportedOffload;
  if (packet.borrows() && !packet.Own()) return DropReason::kNoBuffer;
  if (Parse(packet) != ParseVerdict::kOk) return DropReason::kUnsupportedOffload;
  if (Reason reason = ExpressChecksum(packet, header)) return reason;
  return ask.segment ? ExpressSegmenting(packet, header) : std::nullopt;
}

}  // namespace sluice

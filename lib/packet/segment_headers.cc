// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "packet/segment_headers_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {
namespace {

bool IsIp(const LayerOffsets& at) { return at.l3_type == L3Type::kIpv4 || at.l3_type == L3Type::kIpv6; }

// Where the datagram ends that `at` describes. A length of zero is the kernel's for what does not fit the field: see
// parse_internal.h.
uint32_t EndOf(const Packet& packet, const LayerOffsets& at) {
  const uint8_t* const data = packet.data();
  if (at.l3_type == L3Type::kIpv4) {
    const uint32_t total = HeaderAt<Ipv4Header>(data, at.l3)->total_length.get();
    return total == 0 ? packet.length() : at.l3 + total;
  }
  const uint32_t length = HeaderAt<Ipv6Header>(data, at.l3)->payload_length.get();
  return length == 0 ? packet.length() : at.l3 + uint32_t{sizeof(Ipv6Header)} + length;
}

// A datagram shorter than the frame leaves padding, which only short frames have (IEEE 802.3, 3.2.8). Behind a longer
// one may lie more datagrams: then it is not this layer that is to be cut.
bool EndsWithFrame(const Packet& packet, uint32_t end) {
  constexpr uint32_t kPadded = 60;
  return end == packet.length() || packet.length() <= kPadded;
}

// An integrity check over the whole packet holds for none of its segments.
bool HasAuthentication(const uint8_t* data, const LayerOffsets& at) {
  if (at.l3_type != L3Type::kIpv6) return false;
  IpProtocol protocol = HeaderAt<Ipv6Header>(data, at.l3)->next_header;
  for (uint32_t offset = at.l3 + uint32_t{sizeof(Ipv6Header)}; offset < at.l4;) {
    if (protocol == IpProtocol::kAuthentication) return true;
    const auto* extension = HeaderAt<Ipv6Extension>(data, offset);
    offset +=
        protocol == IpProtocol::kFragment ? uint32_t{sizeof(Ipv6Fragment)} : (extension->length + 1u) * 8;
    protocol = extension->next_header;
  }
  return false;
}

}  // namespace

std::optional<DropReason> Segmenter::Headers::CheckLayers(const Packet& packet) const {
  const Layers& layers = packet.layers();
  if (layers.tunnel != TunnelType::kNone && layers.inner_verdict != ParseVerdict::kOk) {
    return DropReason::kMalformed;
  }
  const LayerOffsets& at = Select(layers, LayerSet::kInnermost);
  const bool known = at.l4_type == L4Type::kTcp || at.l4_type == L4Type::kUdp;
  if (!known || HasAuthentication(packet.data(), at) || HasAuthentication(packet.data(), layers.outer)) {
    return DropReason::kUnsupportedOffload;
  }
  if (at.payload > packet.head_length() || at.payload > kMost) return DropReason::kTooLong;

  const uint32_t end = EndOf(packet, at);
  const uint32_t datagram =
      at.l4_type == L4Type::kUdp ? HeaderAt<UdpHeader>(packet.data(), at.l4)->length.get() : uint32_t{0};
  const bool whole = EndsWithFrame(packet, end) && (datagram == 0 || at.l4 + datagram == end);
  if (!whole || end < at.payload || end > packet.length()) return DropReason::kMalformed;
  return std::nullopt;
}

std::optional<DropReason> Segmenter::Headers::Read(const Packet& packet, bool finish_checksums) {
  if (std::optional<DropReason> reason = CheckLayers(packet)) return reason;
  layers_ = packet.layers();
  const LayerOffsets big = Select(layers_, LayerSet::kInnermost);
  length_ = big.payload;
  payload_ = EndOf(packet, big) - big.payload;
  std::copy_n(packet.data(), length_, bytes_.data());

  const bool tunnel = layers_.tunnel != TunnelType::kNone;
  if (!DropJumboOption(layers_.outer) || (tunnel && !DropJumboOption(layers_.inner))) {
    return DropReason::kUnsupportedOffload;
  }
  ipv4s_ = 0;
  offset_ = 0;
  ReadL3(layers_.outer, packet.offload.fixed_ids.outer);
  if (tunnel) ReadL3(layers_.inner, packet.offload.fixed_ids.inner);
  ReadL4(packet.offload.l4_checksum, finish_checksums);
  return ReadCover();
}

// The length field of a segment needs none. Options beside it would have to be kept in a shorter header, which nobody
// sends.
bool Segmenter::Headers::DropJumboOption(LayerOffsets& at) {
  if (at.l3_type != L3Type::kIpv6) return true;
  auto& ip = At<Ipv6Header>(at.l3);
  if (ip.payload_length.get() != 0 || ip.next_header != IpProtocol::kHopByHop) return true;
  const uint32_t option = at.l3 + uint32_t{sizeof(Ipv6Header)};
  constexpr uint32_t kOption = 8;
  if (At<Ipv6Extension>(option).length != 0) return false;

  ip.next_header = At<Ipv6Extension>(option).next_header;
  std::copy(&bytes_[option + kOption], bytes_.data() + length_, &bytes_[option]);
  length_ -= kOption;
  for (uint16_t* offset : {&layers_.outer.l4, &layers_.outer.payload, &layers_.inner_l2, &layers_.inner.l3,
                           &layers_.inner.l4, &layers_.inner.payload}) {
    if (*offset > option) *offset = static_cast<uint16_t>(*offset - kOption);
  }
  return true;
}

void Segmenter::Headers::ReadL3(const LayerOffsets& at, bool fixed_id) {
  if (at.l3_type != L3Type::kIpv4) return;
  auto& ip = At<Ipv4Header>(at.l3);
  const bool stays = fixed_id && ip.dont_fragment();
  ipv4_[ipv4s_++] = {.at = at.l3, .id = ip.id.get(), .step = static_cast<uint16_t>(stays ? 0 : 1), .sum = 0};
  ip.id = ip.checksum = uint16_t{0};
}

void Segmenter::Headers::ReadL4(bool checksum_asked, bool finish_checksums) {
  const LayerOffsets& at = Select(layers_, LayerSet::kInnermost);
  l4_ = at.l4;
  tcp_ = at.l4_type == L4Type::kTcp;
  const size_t field = tcp_ ? offsetof(TcpHeader, checksum) : offsetof(UdpHeader, checksum);
  l4_field_ = l4_ + static_cast<uint32_t>(field);
  const bool none = !tcp_ && !checksum_asked && At<Be16>(l4_field_) == Be16();
  l4_checksum_ = none ? L4Checksum::kNone : finish_checksums ? L4Checksum::kFinish : L4Checksum::kLeave;
  reads_payload_ = finishes_l4();
  flags_ = last_flags_ = 0;
  urges_ = false;
  if (tcp_) ReadTcp();
}

void Segmenter::Headers::ReadTcp() {
  auto& tcp = At<TcpHeader>(l4_);
  last_flags_ = tcp.flags & (TcpHeader::kFin | TcpHeader::kPsh);
  flags_ = tcp.flags ^ last_flags_;
  sequence_ = tcp.sequence.get();
  urgent_ = tcp.urgent.get();
  tcp.flags = 0;
  tcp.sequence = uint32_t{0};
  urges_ = (flags_ & TcpHeader::kUrg) != 0;
  if (urges_) tcp.urgent = uint16_t{0};
}

// The tunnel's own checksum: of outer UDP, where it is not zero, or of GRE.
std::optional<DropReason> Segmenter::Headers::ReadCover() {
  const LayerOffsets& outer = layers_.outer;
  cover_ = 0;
  if (layers_.tunnel == TunnelType::kNone) return std::nullopt;
  if (outer.l4_type == L4Type::kUdp) {
    if (At<UdpHeader>(outer.l4).checksum == Be16()) return std::nullopt;
    cover_ = outer.l4;
    cover_field_ = cover_ + uint32_t{offsetof(UdpHeader, checksum)};
  } else if (IsIp(outer)) {
    const auto& gre = At<GreHeader>(outer.l4);
    if (gre.has(GreHeader::kSequence)) return DropReason::kUnsupportedOffload;
    if (!gre.has(GreHeader::kChecksum)) return std::nullopt;
    cover_ = outer.l4;
    cover_field_ = cover_ + uint32_t{sizeof(GreHeader)};
  }
  if (cover_ != 0 && l4_checksum_ == L4Checksum::kNone) reads_payload_ = true;
  return std::nullopt;
}

// A bit of a packet's address for each doubling of places; they are as far apart as the metadata of neighbours.
void Segmenter::Headers::Spread(size_t headroom, size_t room) {
  headroom_ = headroom;
  constexpr size_t kPlaces = 8;
  const size_t places = std::min((room - room_needed()) / sizeof(Packet) + 1, kPlaces);
  spread_ = (std::bit_floor(places) - 1) * sizeof(Packet);
}

void Segmenter::Headers::SetPayload(uint32_t payload) {
  size_t ipv4 = 0;
  SetL3Length(layers_.outer, payload, ipv4);
  if (layers_.tunnel != TunnelType::kNone) {
    SetL3Length(layers_.inner, payload, ipv4);
    if (layers_.outer.l4_type == L4Type::kUdp) SetUdpLength(layers_.outer.l4, payload);
  }
  if (!tcp_) SetUdpLength(l4_, payload);
  SetL4Checksum(payload);
  if (cover_ != 0) SetCover(payload);
}

void Segmenter::Headers::SetL3Length(const LayerOffsets& at, uint32_t payload, size_t& ipv4) {
  if (at.l3_type == L3Type::kIpv4) {
    auto& ip = At<Ipv4Header>(at.l3);
    ip.total_length = static_cast<uint16_t>(length_ - at.l3 + payload);
    ipv4_[ipv4++].sum = SumOf(at.l3, at.l3 + ip.header_length());
  } else if (at.l3_type == L3Type::kIpv6) {
    At<Ipv6Header>(at.l3).payload_length =
        static_cast<uint16_t>(length_ - at.l3 - sizeof(Ipv6Header) + payload);
  }
}

void Segmenter::Headers::SetUdpLength(uint32_t at, uint32_t payload) {
  At<UdpHeader>(at).length = static_cast<uint16_t>(length_ - at + payload);
}

void Segmenter::Headers::SetL4Checksum(uint32_t payload) {
  At<Be16>(l4_field_) = uint16_t{0};
  if (l4_checksum_ == L4Checksum::kNone) return;
  l4_pseudo_ = PseudoHeaderSum(Select(layers_, LayerSet::kInnermost), payload);
  if (leaves_l4()) At<Be16>(l4_field_) = l4_pseudo_;
  if (finishes_l4()) l4_sum_ = l4_pseudo_ + uint32_t{SumOf(l4_, length_)};
}

// With its checksum finished, an L4 datagram sums to the complement of its pseudo-header, and an IPv4 header to nothing:
// what lies inside of the tunnel is known before it is there. The kernel calls it local checksum offload
// (Documentation/networking/checksum-offloads.rst).
void Segmenter::Headers::SetCover(uint32_t payload) {
  const LayerOffsets& inner = layers_.inner;
  const bool udp = layers_.outer.l4_type == L4Type::kUdp;
  At<Be16>(cover_field_) = uint16_t{0};
  cover_sum_ = SumOf(cover_, inner.l3);
  if (udp) cover_sum_ += PseudoHeaderSum(layers_.outer, payload);
  if (inner.l3_type == L3Type::kIpv6) cover_sum_ += SumOf(inner.l3, inner.l4);
  if (l4_checksum_ == L4Checksum::kNone) {
    cover_sum_ += SumOf(inner.l4, length_);
  } else {
    cover_sum_ += static_cast<uint16_t>(~l4_pseudo_);
    At<Be16>(cover_field_) = ChecksumField(cover_sum_, udp);
  }
}

void Segmenter::Headers::Finish(absl::Span<Packet* const> heads, const uint64_t* sums) const {
  for (size_t i = 0; i < heads.size(); ++i) FinishOne(heads[i]->data(), SwapSum(FoldSum(sums[i])));
}

void Segmenter::Headers::FinishOne(uint8_t* to, uint16_t sum) const {
  if (finishes_l4()) {
    *HeaderAt<Be16>(to, l4_field_) = ChecksumField(l4_sum_ + CountedSum(to) + sum, !tcp_);
  } else {
    *HeaderAt<Be16>(to, cover_field_) =
        ChecksumField(cover_sum_ + sum, layers_.outer.l4_type == L4Type::kUdp);
  }
}

// Of what Write wrote into the L4 header where the template has zeros. A word of 32 bits is as good as its halves: they
// differ by a multiple of 2^16 - 1.
uint64_t Segmenter::Headers::CountedSum(const uint8_t* to) const {
  if (!tcp_) return 0;
  const auto& tcp = *HeaderAt<TcpHeader>(to, l4_);
  const uint64_t sum = uint64_t{tcp.sequence.get()} + tcp.flags;
  return urges_ ? sum + tcp.urgent.get() : sum;
}

// In host order.
uint16_t Segmenter::Headers::SumOf(uint32_t begin, uint32_t end) const {
  ChecksumSum sum;
  sum.Add(absl::MakeConstSpan(&bytes_[begin], end - begin));
  return sum.folded();
}

uint16_t Segmenter::Headers::PseudoHeaderSum(const LayerOffsets& at, uint32_t payload) const {
  const uint32_t length = length_ - at.l4 + payload;
  const IpProtocol protocol = at.l4_type == L4Type::kTcp ? IpProtocol::kTcp : IpProtocol::kUdp;
  if (at.l3_type == L3Type::kIpv4) {
    return PseudoHeader(*HeaderAt<Ipv4Header>(bytes_.data(), at.l3), protocol, length).folded();
  }
  return PseudoHeader(*HeaderAt<Ipv6Header>(bytes_.data(), at.l3), protocol, length).folded();
}

}  // namespace sluice

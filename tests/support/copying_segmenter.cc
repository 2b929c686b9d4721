// SPDX-License-Identifier: Apache-2.0
#include "tests/support/copying_segmenter.h"

#include <algorithm>

#include "sluice/packet/parse.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice::testing {
namespace {

bool IsIp(const LayerOffsets& at) { return at.l3_type == L3Type::kIpv4 || at.l3_type == L3Type::kIpv6; }

// Of the frame from `begin` on, with the pseudo-header of `at` in front unless that is null.
uint16_t ChecksumFrom(const Bytes& frame, size_t begin, const LayerOffsets* at, uint8_t protocol) {
  Bytes bytes;
  if (at != nullptr) {
    const bool v4 = at->l3_type == L3Type::kIpv4;
    const auto addresses = frame.begin() + at->l3 + (v4 ? 12 : 8);
    bytes.assign(addresses, addresses + (v4 ? 8 : 32));
    const size_t length = frame.size() - begin;
    for (const size_t byte : {length >> 24, length >> 16, length >> 8, length}) {
      bytes.push_back(static_cast<uint8_t>(byte));
    }
    bytes.insert(bytes.end(), {0, 0, 0, protocol});
  }
  bytes.insert(bytes.end(), frame.begin() + static_cast<std::ptrdiff_t>(begin), frame.end());
  return SimpleChecksum(bytes);
}

void FillUdp(Bytes& frame, const LayerOffsets& at, bool even_zero) {
  auto* udp = HeaderAt<UdpHeader>(frame.data(), at.l4);
  udp->length = static_cast<uint16_t>(frame.size() - at.l4);
  if (!even_zero && udp->checksum.get() == 0) return;
  udp->checksum = uint16_t{0};
  const uint16_t sum = ChecksumFrom(frame, at.l4, &at, 17);
  udp->checksum = sum == 0 ? uint16_t{0xffff} : sum;
}

void FillTcp(Bytes& frame, const LayerOffsets& at, uint32_t offset, bool last) {
  auto* tcp = HeaderAt<TcpHeader>(frame.data(), at.l4);
  tcp->sequence = tcp->sequence.get() + offset;
  if (offset != 0) tcp->flags &= static_cast<uint8_t>(~TcpHeader::kCwr);
  if (!last) tcp->flags &= static_cast<uint8_t>(~(TcpHeader::kFin | TcpHeader::kPsh));
  if ((tcp->flags & TcpHeader::kUrg) != 0 && offset != 0) {
    const uint32_t pointer = tcp->urgent.get();
    if (pointer <= offset) tcp->flags &= static_cast<uint8_t>(~TcpHeader::kUrg);
    tcp->urgent = static_cast<uint16_t>(pointer > offset ? pointer - offset : 0);
  }
  tcp->checksum = uint16_t{0};
  tcp->checksum = ChecksumFrom(frame, at.l4, &at, 6);
}

// The `number`th of those whose ids count.
void FillIp(Bytes& frame, const LayerOffsets& at, uint32_t number, bool fixed_id) {
  if (at.l3_type == L3Type::kIpv6) {
    HeaderAt<Ipv6Header>(frame.data(), at.l3)->payload_length =
        static_cast<uint16_t>(frame.size() - at.l3 - 40);
  } else if (at.l3_type == L3Type::kIpv4) {
    auto* ip = HeaderAt<Ipv4Header>(frame.data(), at.l3);
    ip->total_length = static_cast<uint16_t>(frame.size() - at.l3);
    if (!fixed_id || !ip->dont_fragment()) ip->id = static_cast<uint16_t>(ip->id.get() + number);
    ip->checksum = uint16_t{0};
    ip->checksum = SimpleChecksum(absl::MakeConstSpan(frame).subspan(at.l3, ip->header_length()));
  }
}

void FillGre(Bytes& frame, const LayerOffsets& outer) {
  const auto* gre = HeaderAt<GreHeader>(frame.data(), outer.l4);
  if (!gre->has(GreHeader::kChecksum)) return;
  auto* field = HeaderAt<Be16>(frame.data(), outer.l4 + sizeof(GreHeader));
  *field = uint16_t{0};
  *field = ChecksumFrom(frame, outer.l4, nullptr, 0);
}

// Inside first, for the outer checksums cover it.
void FillHeaders(Bytes& frame, const Layers& layers, uint32_t number, uint32_t offset, bool last,
                 bool udp_checksum, FixedIds ids) {
  const LayerOffsets& at = Select(layers, LayerSet::kInnermost);
  const bool tunnel = layers.tunnel != TunnelType::kNone;
  FillIp(frame, at, number, tunnel ? ids.inner : ids.outer);
  if (at.l4_type == L4Type::kTcp) FillTcp(frame, at, offset, last);
  if (at.l4_type == L4Type::kUdp) FillUdp(frame, at, udp_checksum);
  if (!tunnel) return;
  FillIp(frame, layers.outer, number, ids.outer);
  if (layers.outer.l4_type == L4Type::kUdp) FillUdp(frame, layers.outer, false);
  if (layers.outer.l4_type == L4Type::kOther && IsIp(layers.outer)) FillGre(frame, layers.outer);
}

}  // namespace

std::vector<Bytes> CopyingSegment(const Bytes& big, const Layers& layers, uint16_t size, bool udp_checksum,
                                  FixedIds ids) {
  const uint32_t headers = Select(layers, LayerSet::kInnermost).payload;
  const uint32_t payload = static_cast<uint32_t>(big.size()) - headers;
  std::vector<Bytes> segments;
  for (uint32_t offset = 0; segments.empty() || offset < payload; offset += size) {
    const uint32_t here = std::min<uint32_t>(size, payload - offset);
    Bytes frame(big.begin(), big.begin() + headers);
    frame.insert(frame.end(), big.begin() + headers + offset, big.begin() + headers + offset + here);
    FillHeaders(frame, layers, static_cast<uint32_t>(segments.size()), offset, offset + here == payload,
                udp_checksum, ids);
    segments.push_back(std::move(frame));
  }
  return segments;
}

}  // namespace sluice::testing

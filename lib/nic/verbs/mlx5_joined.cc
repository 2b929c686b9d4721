// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "nic/verbs/mlx5_joined_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

constexpr uint8_t kPush = 1 << 6;                            // in Mlx5Completion::lro_flags
constexpr uint8_t kAcknowledges = 3, kAcknowledgesData = 4;  // in bits 4 to 6 of Mlx5Completion::headers

bool Acknowledges(const Mlx5Completion& said) {
  const uint8_t l4 = said.headers >> 4 & 7;
  return l4 == kAcknowledges || l4 == kAcknowledgesData;
}

// Where IP starts; nothing where it does not, or in less than 40 bytes.
std::optional<uint16_t> FindIp(absl::Span<const uint8_t> frame) {
  Layers layers;
  (void)Parse(frame, static_cast<uint32_t>(frame.size()), layers);  // lengths are wrong as yet
  const uint16_t l3 = layers.outer.l3;
  if (l3 < sizeof(EthernetHeader) || frame.size() < l3 + sizeof(Ipv6Header)) return std::nullopt;
  return l3;
}

Ethertype TypeBefore(absl::Span<const uint8_t> frame, uint16_t l3) {
  return HeaderAt<BigEndian<Ethertype>>(frame.data(), l3 - sizeof(Ethertype))->get();
}

// Makes the length that of the whole, and returns what it was of the first segment, from IP on.
uint32_t MendLength(absl::Span<uint8_t> frame, uint16_t l3) {
  const size_t length = frame.size() - l3;
  if (TypeBefore(frame, l3) == Ethertype::kIpv4) {
    Be16& total = HeaderAt<Ipv4Header>(frame.data(), l3)->total_length;
    const uint32_t first = total.get();
    total = static_cast<uint16_t>(length);
    return first;
  }
  Be16& payload = HeaderAt<Ipv6Header>(frame.data(), l3)->payload_length;
  const uint32_t first = payload.get() + uint32_t{sizeof(Ipv6Header)};
  payload = static_cast<uint16_t>(length - sizeof(Ipv6Header));
  return first;
}

// Whether all but the last can have had as many bytes, and the last not more.
bool Fits(uint32_t size, uint32_t segments, uint32_t payload) {
  return (segments - 1) * uint64_t{size} < payload && payload <= segments * uint64_t{size};
}

FixedIds MendIp(const Mlx5Completion& said, uint8_t* data, const LayerOffsets& at) {
  if (at.l3_type == L3Type::kIpv6) {
    uint8_t& limit = HeaderAt<Ipv6Header>(data, at.l3)->hop_limit;
    limit = std::min(limit, said.lro_least_ttl);
    return {};
  }
  auto& ip = *HeaderAt<Ipv4Header>(data, at.l3);
  ip.ttl = std::min(ip.ttl, said.lro_least_ttl);
  ip.checksum = uint16_t{0};
  ip.checksum = Checksum({data + at.l3, ip.header_length()});
  return {.outer = ip.dont_fragment() && ip.id.get() == 0};
}

// The last acknowledgment and window are those of the whole, for they are the newest (RFC 9293, 3.10.7.4).
void MendTcp(const Mlx5Completion& said, absl::Span<uint8_t> frame, const LayerOffsets& at) {
  auto& tcp = *HeaderAt<TcpHeader>(frame.data(), at.l4);
  if (Acknowledges(said)) {
    tcp.flags |= TcpHeader::kAck;
    tcp.acknowledgment = said.lro_acknowledged;
    tcp.window = said.lro_window;
  }
  if ((said.lro_flags & kPush) != 0) tcp.flags |= TcpHeader::kPsh;
  const auto length = static_cast<uint32_t>(frame.size()) - at.l4;
  ChecksumSum sum = at.l3_type == L3Type::kIpv6
                        ? PseudoHeader(*HeaderAt<Ipv6Header>(frame.data(), at.l3), IpProtocol::kTcp, length)
                        : PseudoHeader(*HeaderAt<Ipv4Header>(frame.data(), at.l3), IpProtocol::kTcp, length);
  tcp.checksum = uint16_t{0};
  sum.Add(frame.subspan(at.l4, at.payload - at.l4));
  sum.Add16(said.checksum.get());
  tcp.checksum = sum.checksum();
}

}  // namespace

std::optional<Mlx5Joined> MendJoined(const Mlx5Completion& said, absl::Span<uint8_t> frame) {
  const std::optional<uint16_t> l3 = FindIp(frame);
  if (!l3) return std::nullopt;
  const uint32_t first = MendLength(frame, *l3);
  Layers layers;
  if (Parse(frame, static_cast<uint32_t>(frame.size()), layers) != ParseVerdict::kOk) return std::nullopt;
  const LayerOffsets& at = layers.outer;
  const uint32_t segments = said.lro_segments;
  const auto payload = static_cast<uint32_t>(frame.size()) - at.payload;
  if (at.l4_type != L4Type::kTcp || at.payload > kMlx5JoinedHeaders || payload < segments)
    return std::nullopt;
  Mlx5Joined joined{.segments = static_cast<uint16_t>(segments)};
  joined.ids = MendIp(said, frame.data(), at);
  MendTcp(said, frame, at);
  const uint32_t headers = at.payload - at.l3;
  const uint32_t told = first > headers ? first - headers : 0;
  joined.size =
      static_cast<uint16_t>(Fits(told, segments, payload) ? told : (payload + segments - 1) / segments);
  return joined;
}

}  // namespace sluice

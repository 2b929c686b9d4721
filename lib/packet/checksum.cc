// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/checksum.h"

#include <algorithm>
#include <bit>
#include <cstddef>

#include "packet/word_sum_internal.h"

namespace sluice {
namespace {

// Both addresses, which stand one after the other in either header.
template <typename IpHeader>
ChecksumSum AddressSum(const IpHeader& ip) {
  static_assert(offsetof(IpHeader, destination) == offsetof(IpHeader, source) + sizeof(ip.source));
  const auto* header = reinterpret_cast<const uint8_t*>(&ip);
  ChecksumSum sum;
  sum.Add(absl::MakeConstSpan(header + offsetof(IpHeader, source), 2 * sizeof(ip.source)));
  return sum;
}

}  // namespace

void ChecksumSum::Add(absl::Span<const uint8_t> bytes) {
  const uint64_t sum = WordSum(bytes.data(), bytes.size());
  sum_ = word_sum::Add(sum_, odd_ ? ShiftedWordSum(sum) : sum);
  odd_ ^= bytes.size() % 2 != 0;
}

void ChecksumSum::Add16(uint16_t word) { sum_ = word_sum::Add(sum_, SwapSum(word)); }

uint16_t ChecksumSum::folded() const { return SwapSum(FoldSum(sum_)); }

uint16_t ChecksumOfAny(absl::Span<const uint8_t> bytes) {
  ChecksumSum sum;
  sum.Add(bytes);
  return sum.checksum();
}

ChecksumSum PseudoHeader(const Ipv4Header& ip, IpProtocol protocol, uint32_t length) {
  ChecksumSum sum = AddressSum(ip);
  sum.Add32(length);
  sum.Add16(static_cast<uint16_t>(protocol));
  return sum;
}

ChecksumSum PseudoHeader(const Ipv6Header& ip, IpProtocol protocol, uint32_t length) {
  ChecksumSum sum = AddressSum(ip);
  sum.Add32(length);
  sum.Add16(static_cast<uint16_t>(protocol));
  return sum;
}

uint16_t UpdateChecksum(uint16_t checksum, uint16_t before, uint16_t after) {
  const uint16_t old_sum = static_cast<uint16_t>(~checksum);
  const uint16_t minus = static_cast<uint16_t>(~before);
  return static_cast<uint16_t>(~FoldSum(uint64_t{old_sum} + minus + after));
}

uint16_t UpdateChecksum32(uint16_t checksum, uint32_t before, uint32_t after) {
  const uint16_t high =
      UpdateChecksum(checksum, static_cast<uint16_t>(before >> 16), static_cast<uint16_t>(after >> 16));
  return UpdateChecksum(high, static_cast<uint16_t>(before), static_cast<uint16_t>(after));
}

namespace {

// The span of an L4 checksum within a frame, and the place of its field.
struct Covered {
  uint32_t at = 0;
  uint32_t length = 0;
  uint32_t field = 0;
  L4Type type = L4Type::kNone;
};

bool HasChecksum(L4Type type) {
  return type == L4Type::kTcp || type == L4Type::kUdp || type == L4Type::kIcmp || type == L4Type::kIcmpv6;
}

// Bytes from the L4 header to the end of the datagram. Lengths of zero mean the end of the frame: see
// parse_internal.h.
uint32_t L4Length(const Packet& packet, const LayerOffsets& at) {
  const uint8_t* data = packet.data();
  if (at.l4_type == L4Type::kUdp) {
    const uint32_t length = HeaderAt<UdpHeader>(data, at.l4)->length.get();
    return length != 0 ? length : packet.length() - at.l4;
  }
  const uint32_t before_l4 = at.l4 - at.l3;
  if (at.l3_type == L3Type::kIpv4) {
    const uint32_t total = HeaderAt<Ipv4Header>(data, at.l3)->total_length.get();
    return total != 0 ? total - before_l4 : packet.length() - at.l4;
  }
  const uint32_t payload = HeaderAt<Ipv6Header>(data, at.l3)->payload_length.get();
  return payload != 0 ? payload + uint32_t{sizeof(Ipv6Header)} - before_l4 : packet.length() - at.l4;
}

bool Locate(const Packet& packet, const LayerOffsets& at, Covered& covered) {
  if (!HasChecksum(at.l4_type)) return false;
  covered = {.at = at.l4,
             .length = L4Length(packet, at),
             .field = uint32_t{at.l4} + ChecksumOffset(at.l4_type),
             .type = at.l4_type};
  return true;
}

// Adds `bytes` of the frame from `offset`, across fragments.
void AddFrame(const Packet& packet, uint32_t offset, uint32_t bytes, ChecksumSum& sum) {
  for (const Packet* piece = &packet; piece != nullptr && bytes != 0; piece = piece->next()) {
    const uint32_t skipped = std::min(offset, piece->head_length());
    const uint32_t here = std::min(bytes, piece->head_length() - skipped);
    sum.Add(absl::MakeConstSpan(piece->data() + skipped, here));
    offset -= skipped;
    bytes -= here;
  }
}

// Empty for ICMP, which has none (RFC 792).
ChecksumSum PseudoHeaderOf(const Packet& packet, const LayerOffsets& at, const Covered& covered) {
  if (covered.type == L4Type::kIcmp) return {};
  const IpProtocol protocol = ProtocolOf(packet.data(), at);
  if (at.l3_type == L3Type::kIpv4) {
    return PseudoHeader(*HeaderAt<Ipv4Header>(packet.data(), at.l3), protocol, covered.length);
  }
  return PseudoHeader(*HeaderAt<Ipv6Header>(packet.data(), at.l3), protocol, covered.length);
}

ChecksumSum SumOf(const Packet& packet, const LayerOffsets& at, const Covered& covered) {
  ChecksumSum sum = PseudoHeaderOf(packet, at, covered);
  AddFrame(packet, covered.at, covered.length, sum);
  return sum;
}

// Where the sender may leave the UDP checksum out: RFC 768, and RFC 6935, 5 for tunnels over IPv6.
bool MayBeZero(const Packet& packet, LayerSet which) {
  const Layers& layers = packet.layers();
  const LayerOffsets& at = Select(layers, which);
  const bool tunnel = layers.tunnel != TunnelType::kNone && &at == &layers.outer;
  return at.l3_type == L3Type::kIpv4 || tunnel;
}

}  // namespace

// Both fill what they sum around: a field that was just set to zero could not be loaded together with its
// neighbours before the store is done.
bool FillIpv4Checksum(Packet& packet, LayerSet which) {
  const LayerOffsets& at = Select(packet.layers(), which);
  if (at.l3_type != L3Type::kIpv4) return false;
  constexpr size_t kBefore = offsetof(Ipv4Header, checksum);
  constexpr size_t kAfter = kBefore + sizeof(Be16);
  auto* ip = HeaderAt<Ipv4Header>(packet.data(), at.l3);
  ChecksumSum sum;
  sum.Add(absl::MakeConstSpan(packet.data() + at.l3, kBefore));
  sum.Add(absl::MakeConstSpan(packet.data() + at.l3 + kAfter, ip->header_length() - kAfter));
  ip->checksum = sum.checksum();
  return true;
}

bool FillL4Checksum(Packet& packet, LayerSet which) {
  const LayerOffsets& at = Select(packet.layers(), which);
  Covered covered;
  if (!Locate(packet, at, covered)) return false;
  ChecksumSum sum = PseudoHeaderOf(packet, at, covered);
  const uint32_t before = covered.field - covered.at;
  const uint32_t after = before + uint32_t{sizeof(Be16)};
  AddFrame(packet, covered.at, before, sum);
  AddFrame(packet, covered.at + after, covered.length - after, sum);
  const uint16_t checksum = sum.checksum();
  *HeaderAt<Be16>(packet.data(), covered.field) =
      checksum == 0 && covered.type == L4Type::kUdp ? uint16_t{0xffff} : checksum;
  return true;
}

bool StartL4Checksum(Packet& packet, LayerSet which) {
  const LayerOffsets& at = Select(packet.layers(), which);
  Covered covered;
  if (!Locate(packet, at, covered)) return false;
  *HeaderAt<Be16>(packet.data(), covered.field) = PseudoHeaderOf(packet, at, covered).folded();
  return true;
}

ChecksumVerdict VerifyIpv4Checksum(const Packet& packet, LayerSet which) {
  const LayerOffsets& at = Select(packet.layers(), which);
  if (at.l3_type != L3Type::kIpv4) return ChecksumVerdict::kUnknown;
  const uint8_t* ip = packet.data() + at.l3;
  const uint32_t length = HeaderAt<Ipv4Header>(ip, 0)->header_length();
  return Checksum(absl::MakeConstSpan(ip, length)) == 0 ? ChecksumVerdict::kGood : ChecksumVerdict::kBad;
}

ChecksumVerdict VerifyL4Checksum(const Packet& packet, LayerSet which) {
  const LayerOffsets& at = Select(packet.layers(), which);
  Covered covered;
  if (!Locate(packet, at, covered)) return ChecksumVerdict::kUnknown;
  const bool none = covered.type == L4Type::kUdp && *HeaderAt<Be16>(packet.data(), covered.field) == Be16();
  if (none) return MayBeZero(packet, which) ? ChecksumVerdict::kUnknown : ChecksumVerdict::kBad;
  const bool good = SumOf(packet, at, covered).checksum() == 0;
  return good ? ChecksumVerdict::kGood : ChecksumVerdict::kBad;
}

}  // namespace sluice

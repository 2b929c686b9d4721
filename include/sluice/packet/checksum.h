// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_CHECKSUM_H_
#define SLUICE_PACKET_CHECKSUM_H_

// The Internet checksum (RFC 1071): of bytes, of a change to bytes, and of the headers of a packet.
//
// Values are in host order, as Be16::get gives them. Cost: the bytes are read once, at what the processor's
// vectors can add up; nothing allocated.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"
#include "sluice/base/export.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/parse.h"

namespace sluice {

// A sum of 16-bit words, folded to 16 bits with end-around carry. In whichever byte order the words were
// added up: the sum of swapped words is the swapped sum (RFC 1071, 2 (B)). Zero only for zero.
inline uint16_t FoldSum(uint64_t sum) {
  // The upper half of x + rotated x is high + low and the carry of low + high, which is the one that goes
  // around.
  const auto half = static_cast<uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return static_cast<uint16_t>((half + std::rotl(half, 16)) >> 16);
}
// Between the machine's byte order and the network's.
inline uint16_t SwapSum(uint16_t sum) {
  return std::endian::native == std::endian::little ? __builtin_bswap16(sum) : sum;
}

// Adds up pieces of any length as if they were one: a piece that starts at an odd place is swapped (RFC 1071,
// 2 (B)).
class SLUICE_EXPORT ChecksumSum {
 public:
  void Add(absl::Span<const uint8_t> bytes);
  void Add16(uint16_t word);  // only at an even place
  void Add32(uint32_t value) {
    Add16(static_cast<uint16_t>(value >> 16));
    Add16(static_cast<uint16_t>(value));
  }

  // The sum so far, folded to 16 bits: what a pseudo-header leaves in the field of a partial checksum.
  uint16_t folded() const;
  // Its complement: what a header holds.
  uint16_t checksum() const { return static_cast<uint16_t>(~folded()); }

 private:
  uint64_t sum_ = 0;  // of words in the machine's order, with end-around carry
  bool odd_ = false;
};

// What Checksum is made of.
namespace word_sum {

template <typename Word>
inline uint64_t Load(const uint8_t* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// With end-around carry: 2^64 - 1 is a multiple of 2^16 - 1.
inline uint64_t Add(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  return sum + (sum < a ? 1 : 0);
}

// Of at least eight bytes; two sums, so that an addition need not wait for the carry of the one before.
inline uint64_t Sum(const uint8_t* bytes, size_t n) {
  uint64_t even = 0, odd = 0;
  for (; n >= 16; n -= 16, bytes += 16) {
    even = Add(even, Load<uint64_t>(bytes));
    odd = Add(odd, Load<uint64_t>(bytes + 8));
  }
  if (n >= 8) {
    even = Add(even, Load<uint64_t>(bytes));
    n -= 8;
    bytes += 8;
  }
  if (n == 0) return Add(even, odd);
  // The last eight, without those that are added already.
  const uint64_t last = Load<uint64_t>(bytes + n - 8);
  const bool little = std::endian::native == std::endian::little;
  return Add(even, Add(odd, little ? last >> (64 - 8 * n) : last << (64 - 8 * n)));
}

}  // namespace word_sum

// Of bytes that hold no checksum yet; 0 for bytes that hold a right one. Inline for what is short, an IPv4
// header without options first of all.
SLUICE_EXPORT uint16_t ChecksumOfAny(absl::Span<const uint8_t> bytes);
inline uint16_t Checksum(absl::Span<const uint8_t> bytes) {
  constexpr size_t kLeast = 8, kShort = 128;
  uint64_t sum = 0;
  if (bytes.size() == sizeof(Ipv4Header)) {
    for (size_t at = 0; at < sizeof(Ipv4Header); at += 4) sum += word_sum::Load<uint32_t>(bytes.data() + at);
  } else if (bytes.size() - kLeast <= kShort - kLeast) {
    sum = word_sum::Sum(bytes.data(), bytes.size());
  } else {
    return ChecksumOfAny(bytes);
  }
  return static_cast<uint16_t>(~SwapSum(FoldSum(sum)));
}

// Addresses, protocol and `length` of the L4 header with payload: RFC 9293, 3.1; RFC 768; RFC 8200, 8.1.
SLUICE_EXPORT ChecksumSum PseudoHeader(const Ipv4Header& ip, IpProtocol protocol, uint32_t length);
SLUICE_EXPORT ChecksumSum PseudoHeader(const Ipv6Header& ip, IpProtocol protocol, uint32_t length);

// The checksum after a word that it covers, at an even place, changed (RFC 1624, 3, eqn. 3). Not for a UDP
// field of zero, which is no checksum; and a UDP result of zero is to be sent as 0xffff.
SLUICE_EXPORT uint16_t UpdateChecksum(uint16_t checksum, uint16_t before, uint16_t after);
SLUICE_EXPORT uint16_t UpdateChecksum32(uint16_t checksum, uint32_t before, uint32_t after);

// Where the checksum is in a header of TCP, UDP, ICMP or ICMPv6, from its start.
inline uint16_t ChecksumOffset(L4Type type) {
  switch (type) {
    case L4Type::kTcp:
      return offsetof(TcpHeader, checksum);
    case L4Type::kUdp:
      return offsetof(UdpHeader, checksum);
    default:
      return offsetof(IcmpHeader, checksum);
  }
}

// On packets.
// ---------------------------------------------------------------------------------------------------------
// The packet was parsed with verdict kOk and its head holds its headers; payload may lie in fragments. Each
// returns false, and writes nothing, when the layer named has no such checksum: not IPv4; or not TCP, UDP,
// ICMP or ICMPv6, an IP fragment among them.

SLUICE_EXPORT bool FillIpv4Checksum(Packet& packet, LayerSet which);
// A UDP checksum that comes out as zero is written as 0xffff (RFC 768; RFC 8200, 8.1).
SLUICE_EXPORT bool FillL4Checksum(Packet& packet, LayerSet which);
// Writes the pseudo-header's sum into the field of TCP, UDP or ICMP: the state ChecksumVerdict::kPartial,
// which FillL4Checksum or a device finishes.
SLUICE_EXPORT bool StartL4Checksum(Packet& packet, LayerSet which);

// kGood or kBad; kUnknown where there is none to verify: no such layer, or a UDP field of zero where that is
// allowed (IPv4 and the outer header of a tunnel; over IPv6 it is kBad otherwise).
SLUICE_EXPORT ChecksumVerdict VerifyIpv4Checksum(const Packet& packet, LayerSet which);
SLUICE_EXPORT ChecksumVerdict VerifyL4Checksum(const Packet& packet, LayerSet which);

}  // namespace sluice

#endif  // SLUICE_PACKET_CHECKSUM_H_

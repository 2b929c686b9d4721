// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_PARSE_SHAPES_INTERNAL_H_
#define SLUICE_LIB_PACKET_PARSE_SHAPES_INTERNAL_H_

// What makes two frames have the same layers, as tables for byte permutations. A window of up to 63 bytes of
// a frame holds an IP header and the one behind it; a Shape says which of its bytes must have which values,
// and which lengths must not exceed which others:
//
//   window ──left──▶ ((... ^ flip) & care) + add  ┐ in each 32-bit lane of `checked`,
//   window ──right─▶ ...                          ┘ unsigned: the first <= the second
//
// A field that must have a value is one whose difference is <= 0. The first ten lanes of a shape that is not
// the outer one of a tunnel become the FlowKey, and are not checked. Of TCP no two lengths of the frame are
// compared with each other: `right` then is the right side itself, without a permutation.

#include <array>
#include <cstddef>
#include <cstdint>

#include "sluice/packet/headers.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/parse_burst.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {

struct alignas(kCacheLine) Shape {
  std::array<uint8_t, 64> left{};
  std::array<uint8_t, 64> right{};
  std::array<uint8_t, 64> flip{};
  std::array<uint8_t, 64> care{};
  std::array<uint32_t, 16> add{};
  uint64_t window = 0;  // the bytes that are loaded, a bit each
};

// Lanes of the checks. A tunnel's outer headers have those below the FlowKey's end, so that both levels are
// checked at once.
inline constexpr int kPlainLanes = 10;  // and the five behind it
inline constexpr int kTunnelLanes = 0;  // and the five behind it
inline constexpr int kEndLane = 2;      // of them: end of the IP datagram <= what holds it
inline constexpr uint16_t kPlainChecks = 0xfc00;
inline constexpr uint16_t kTunnelChecks = 0x003f;

// The window starts with the Ethernet header, so that it lies in one cache line, where that leaves room.
inline constexpr uint32_t WindowStart(bool ipv6) { return ipv6 ? 12 : 0; }

class ShapeMaker {
 public:
  constexpr ShapeMaker(bool ipv6, int lanes) : ipv6_(ipv6), check_(lanes * 4) {
    shape_.left.fill(kZero);
    shape_.right.fill(kZero);
  }

  // Behind the Ethertype; `header` is the length of the TCP header, or 0 for UDP.
  constexpr void RequireIp(int header) {
    Require(0, L3() - 2, 0xff, ipv6_ ? 0x86 : 0x08);
    Require(1, L3() - 1, 0xff, ipv6_ ? 0xdd : 0x00);
    Require(2, L3(), ipv6_ ? 0xf0 : 0xff, ipv6_ ? 0x60 : 0x45);
    if (!ipv6_) Require(3, L3() + 6, 0x3f, 0);  // no fragment
    if (!ipv6_) Require(4, L3() + 7, 0xff, 0);
    const auto protocol = header == 0 ? IpProtocol::kUdp : IpProtocol::kTcp;
    Require(5, ProtocolAt(), 0xff, static_cast<uint8_t>(protocol));
    if (header != 0) Require(6, L4() + 12, 0xf0, header / 4 << 4);
    if (header != 0) shape_.right.fill(0);  // numbers, not places
    RequireLengths(header);
  }

  // Behind UDP: the port of a tunnel, and a header without options.
  constexpr void RequireTunnel(bool geneve) {
    const int header = L4() + 8;
    const uint16_t port = geneve ? kGenevePort : kVxlanPort;
    Require(7, L4() + 2, 0xff, port >> 8);
    Require(12, L4() + 3, 0xff, port & 0xff);
    if (geneve) {
      const auto type = static_cast<uint16_t>(Ethertype::kBridging);
      Require(13, header, 0xff, 0);
      Require(14, header + 2, 0xff, type >> 8);
      Require(15, header + 3, 0xff, type & 0xff);
    } else {
      Require(13, header, VxlanHeader::kValidVni, VxlanHeader::kValidVni);
    }
    shape_.window = Mask(header + 8);
  }

  // The first ten lanes: a ParsedPacketFlow.
  constexpr void FormFlow() {
    static_assert(offsetof(FlowKey, destination) == 16 && offsetof(FlowKey, source_port) == 32 &&
                  offsetof(FlowKey, destination_port) == 34 && offsetof(FlowKey, protocol) == 36 &&
                  offsetof(FlowKey, ipv6) == 37 && offsetof(ParsedPacketFlow, flow) == 0 &&
                  offsetof(ParsedPacketFlow, has_flow) == 38 && offsetof(ParsedPacketFlow, verdict) == 39);
    static_assert(static_cast<int>(ParseVerdict::kOk) == 0);
    const int size = ipv6_ ? 16 : 4;
    const int source = L3() + (ipv6_ ? 8 : 12);
    for (int i = 0; i < size; ++i) {
      shape_.left[Index(i)] = Index(source + i);
      shape_.left[Index(16 + i)] = Index(source + size + i);
    }
    Number(shape_.left, 32, L4());
    Number(shape_.left, 34, L4() + 2);
    shape_.left[36] = Index(ProtocolAt());
    for (size_t i = 0; i < 40; ++i) shape_.care[i] = 0xff;
    shape_.flip[37] = ipv6_;
    shape_.flip[38] = 1;
  }

  constexpr const Shape& shape() const { return shape_; }

 private:
  static constexpr uint8_t kZero = 63;  // a byte that no window has, and that is loaded as zero

  static constexpr uint8_t Index(int i) { return static_cast<uint8_t>(i); }
  static constexpr uint64_t Mask(int bytes) { return (uint64_t{1} << bytes) - 1; }
  constexpr int L3() const { return 14 - static_cast<int>(WindowStart(ipv6_)); }
  constexpr int L4() const { return L3() + (ipv6_ ? 40 : 20); }
  constexpr int ProtocolAt() const { return L3() + (ipv6_ ? 6 : 9); }
  constexpr int LengthAt() const { return L3() + (ipv6_ ? 4 : 2); }

  constexpr void Require(int check, int at, int care, int value) {
    const auto byte = static_cast<size_t>(check_ + check);
    shape_.left[byte] = Index(at);
    shape_.care[byte] = Index(care);
    shape_.flip[byte] = Index(value);
  }
  // The 16-bit number at `at`, in host order.
  static constexpr void Number(std::array<uint8_t, 64>& bytes, int to, int at) {
    bytes[static_cast<size_t>(to)] = Index(at + 1);
    bytes[static_cast<size_t>(to) + 1] = Index(at);
  }
  // The number at `left` (0 without one) plus `add` must be at most the number at `right`.
  constexpr void AtMost(int lane, int left, int add, int right) {
    const int to = check_ + lane * 4;
    if (left != 0) {
      Number(shape_.left, to, left);
      for (int i = to; i < to + 2; ++i) shape_.care[static_cast<size_t>(i)] = 0xff;
    }
    shape_.add[static_cast<size_t>(to / 4)] = static_cast<uint32_t>(add);
    if (right != 0) Number(shape_.right, to, right);
  }

  // The number at `left` must be at least `least`: its complement at most that of `least`.
  constexpr void AtLeast(int lane, int left, int least) {
    const int to = check_ + lane * 4;
    Number(shape_.left, to, left);
    for (int i = to; i < to + 4; ++i) {
      shape_.care[static_cast<size_t>(i)] = shape_.flip[static_cast<size_t>(i)] = 0xff;
    }
    for (int i = 0; i < 4; ++i) {
      shape_.right[static_cast<size_t>(to + i)] = static_cast<uint8_t>(~least >> (8 * i));
    }
  }

  // What the datagram's end must not exceed is not in the window: the user of the shape fills the right side of
  // kEndLane, and adds to its left the offset of the IP header.
  constexpr void RequireLengths(int header) {
    const int ip = ipv6_ ? 0 : 20;  // of the length field, what is of the IP header
    AtMost(kEndLane, LengthAt(), ipv6_ ? 40 : 0, 0);
    if (header != 0) {
      AtLeast(4, LengthAt(), header + ip);
      shape_.window = Mask(L4() + 20);
    } else {
      AtMost(4, L4() + 4, ip, LengthAt());
      if (check_ == kPlainLanes * 4) AtMost(5, 0, 8, L4() + 4);  // in a tunnel the inner headers need more
      shape_.window = Mask(L4() + 8);
    }
  }

  bool ipv6_;
  int check_;  // first byte of the checks
  Shape shape_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_PARSE_SHAPES_INTERNAL_H_

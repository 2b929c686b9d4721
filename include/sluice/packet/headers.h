// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_HEADERS_H_
#define SLUICE_PACKET_HEADERS_H_

// The headers of Ethernet, IP and transport as they lie in a frame. Laid over the bytes, not copied out of
// them:
//
//   if (packet.layers().outer.l3_type == L3Type::kIpv4) {
//     auto* ip = HeaderAt<Ipv4Header>(packet.data(), packet.layers().outer.l3);
//     if (ip->ttl <= 1) ...
//   }
//
// Every struct has alignment 1 and is trivially copyable. None checks that its bytes are there: Parse
// (parse.h) does. Tunnels have their own: tunnel_headers.h.

#include <cstddef>
#include <cstdint>

#include "sluice/packet/big_endian.h"
#include "sluice/packet/ip_address.h"
#include "sluice/packet/mac_address.h"

namespace sluice {

// The header of type H that starts `offset` bytes after `data`; the caller knows that it lies within.
template <typename H>
H* HeaderAt(uint8_t* data, size_t offset) {
  static_assert(alignof(H) == 1);
  return reinterpret_cast<H*>(data + offset);
}
template <typename H>
const H* HeaderAt(const uint8_t* data, size_t offset) {
  static_assert(alignof(H) == 1);
  return reinterpret_cast<const H*>(data + offset);
}

// IEEE 802 numbers (iana.org/assignments/ieee-802-numbers). Below kFirst the field is the length of an 802.3
// frame.
enum class Ethertype : uint16_t {
  kFirst = 0x0600,
  kIpv4 = 0x0800,
  kArp = 0x0806,
  kBridging = 0x6558,  // an Ethernet frame, in tunnels
  kVlan = 0x8100,      // 802.1Q customer tag
  kIpv6 = 0x86dd,
  kMpls = 0x8847,
  kMplsMulticast = 0x8848,
  kServiceVlan = 0x88a8,  // 802.1ad service tag
  kNsh = 0x894f,
  kOldQinq = 0x9100,  // service tag of switches older than 802.1ad
};

// Whether a VlanTag comes next.
constexpr bool IsVlan(Ethertype type) {
  return type == Ethertype::kVlan || type == Ethertype::kServiceVlan || type == Ethertype::kOldQinq;
}

// Protocol numbers (iana.org/assignments/protocol-numbers); next header values of IPv6 too.
enum class IpProtocol : uint8_t {
  kHopByHop = 0,
  kIcmp = 1,
  kIpv4 = 4,
  kTcp = 6,
  kUdp = 17,
  kIpv6 = 41,
  kRouting = 43,
  kFragment = 44,
  kGre = 47,
  kEsp = 50,
  kAuthentication = 51,
  kIcmpv6 = 58,
  kNoNext = 59,
  kDestinationOptions = 60,
  kSctp = 132,
};

// IEEE 802.3, 3.2.
struct EthernetHeader {
  MacAddress destination;
  MacAddress source;
  BigEndian<Ethertype> type;
};

// IEEE 802.1Q, 9.6: what follows an Ethertype that announces a tag.
struct VlanTag {
  Be16 tci;
  BigEndian<Ethertype> type;  // of what follows

  uint16_t id() const { return tci.get() & 0x0fff; }
  uint8_t priority() const { return static_cast<uint8_t>(tci.get() >> 13); }
};

// RFC 826, of IPv4 over Ethernet.
struct ArpHeader {
  static constexpr uint16_t kRequest = 1;
  static constexpr uint16_t kReply = 2;

  Be16 hardware_type;
  BigEndian<Ethertype> protocol_type;
  uint8_t hardware_length;
  uint8_t protocol_length;
  Be16 operation;
  MacAddress sender_mac;
  Ipv4Address sender_ip;
  MacAddress target_mac;
  Ipv4Address target_ip;
};

// RFC 791, 3.1.
struct Ipv4Header {
  static constexpr uint16_t kDontFragment = 0x4000;
  static constexpr uint16_t kMoreFragments = 0x2000;

  uint8_t version_ihl;
  uint8_t dscp_ecn;
  Be16 total_length;  // bytes, this header included
  Be16 id;
  Be16 flags_offset;
  uint8_t ttl;
  IpProtocol protocol;
  Be16 checksum;
  Ipv4Address source;
  Ipv4Address destination;

  uint8_t version() const { return version_ihl >> 4; }
  uint32_t header_length() const { return (version_ihl & 15u) * 4; }  // bytes, options included
  bool dont_fragment() const { return (flags_offset.get() & kDontFragment) != 0; }
  bool more_fragments() const { return (flags_offset.get() & kMoreFragments) != 0; }
  uint32_t fragment_offset() const { return (flags_offset.get() & 0x1fffu) * 8; }  // bytes
  bool is_fragment() const { return (flags_offset.get() & 0x3fff) != 0; }
};

// RFC 8200, 3.
struct Ipv6Header {
  Be32 version_class_label;
  Be16 payload_length;  // bytes after this header, extension headers included
  IpProtocol next_header;
  uint8_t hop_limit;
  Ipv6Address source;
  Ipv6Address destination;

  uint8_t version() const { return static_cast<uint8_t>(version_class_label.get() >> 28); }
  uint8_t traffic_class() const { return static_cast<uint8_t>(version_class_label.get() >> 20); }
  uint32_t flow_label() const { return version_class_label.get() & 0xfffff; }
};

// RFC 8200, 4: how hop-by-hop, routing and destination options headers start.
struct Ipv6Extension {
  IpProtocol next_header;
  uint8_t length;  // in 8 bytes, without the first 8; of the authentication header in 4 bytes, minus 2 (RFC
                   // 4302, 2.2)
};

// RFC 8200, 4.5.
struct Ipv6Fragment {
  IpProtocol next_header;
  uint8_t reserved;
  Be16 offset_more;
  Be32 id;

  bool more_fragments() const { return (offset_more.get() & 1) != 0; }
  uint32_t fragment_offset() const { return offset_more.get() & 0xfff8u; }  // bytes
  // RFC 6946: a fragment header on a whole datagram.
  bool is_atomic() const { return (offset_more.get() & 0xfff9) == 0; }
};

// RFC 9293, 3.1.
struct TcpHeader {
  static constexpr uint8_t kFin = 1;
  static constexpr uint8_t kSyn = 2;
  static constexpr uint8_t kRst = 4;
  static constexpr uint8_t kPsh = 8;
  static constexpr uint8_t kAck = 16;
  static constexpr uint8_t kUrg = 32;
  static constexpr uint8_t kEce = 64;
  static constexpr uint8_t kCwr = 128;

  Be16 source_port;
  Be16 destination_port;
  Be32 sequence;
  Be32 acknowledgment;
  uint8_t data_offset;  // high half: header length in 4 bytes
  uint8_t flags;
  Be16 window;
  Be16 checksum;
  Be16 urgent;

  uint32_t header_length() const { return (data_offset >> 4) * 4u; }  // bytes, options included
};

// RFC 768.
struct UdpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be16 length;    // bytes, this header included
  Be16 checksum;  // 0 = the sender made none; not allowed over IPv6 but for tunnels (RFC 6935)
};

// RFC 792 and RFC 4443, 2.1; the last four bytes depend on the type.
struct IcmpHeader {
  uint8_t type;
  uint8_t code;
  Be16 checksum;
  Be32 rest;
};

static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);
static_assert(sizeof(VlanTag) == 4 && alignof(VlanTag) == 1);
static_assert(sizeof(ArpHeader) == 28 && alignof(ArpHeader) == 1);
static_assert(sizeof(Ipv4Header) == 20 && alignof(Ipv4Header) == 1);
static_assert(sizeof(Ipv6Header) == 40 && alignof(Ipv6Header) == 1);
static_assert(sizeof(Ipv6Extension) == 2 && alignof(Ipv6Extension) == 1);
static_assert(sizeof(Ipv6Fragment) == 8 && alignof(Ipv6Fragment) == 1);
static_assert(sizeof(TcpHeader) == 20 && alignof(TcpHeader) == 1);
static_assert(sizeof(UdpHeader) == 8 && alignof(UdpHeader) == 1);
static_assert(sizeof(IcmpHeader) == 8 && alignof(IcmpHeader) == 1);
static_assert(std::is_trivially_copyable_v<ArpHeader> && std::is_trivially_copyable_v<Ipv6Header>);

}  // namespace sluice

#endif  // SLUICE_PACKET_HEADERS_H_

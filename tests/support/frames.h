// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_FRAMES_H_
#define SLUICE_TESTS_SUPPORT_FRAMES_H_

// Frames for tests, written as tables:
//
//   UdpFrame({.vlans = {100}, .source = "10.0.0.1", .destination_port = 53, .payload = "hello"})
//   VxlanFrame({.source = "2001:db8::1"}, TcpFrame({.tcp_flags = TcpHeader::kSyn}), 42)
//
// Lengths and checksums are right, and made byte by byte here, apart from the library's own code.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice::testing {

using Bytes = std::vector<uint8_t>;

struct FrameSpec {
  std::string source_mac = "02:00:00:00:00:01";
  std::string destination_mac = "02:00:00:00:00:02";
  std::vector<uint16_t> vlans = {};              // TCIs, outermost first
  Ethertype outer_vlan_type = Ethertype::kVlan;  // of the first tag when there are several

  std::string source = "10.0.0.1";  // with a colon: IPv6; both of one family
  std::string destination = "10.0.0.2";
  uint8_t ttl = 64;
  uint8_t dscp_ecn = 0;
  uint16_t ip_id = 0;
  uint16_t flags_offset = 0;  // of IPv4, as Ipv4Header::flags_offset
  Bytes ip_options = {};      // of IPv4, a multiple of 4
  // IPv6 extension headers, each with its own protocol number; the builder fills the next-header fields.
  struct Extension {
    IpProtocol protocol;
    Bytes bytes;  // first byte is overwritten
  };
  std::vector<Extension> extensions = {};

  uint16_t source_port = 1000;
  uint16_t destination_port = 2000;
  bool zero_udp_checksum = false;
  uint32_t sequence = 1;
  uint32_t acknowledgment = 0;
  uint8_t tcp_flags = TcpHeader::kAck;
  Bytes tcp_options = {};  // a multiple of 4

  std::string payload = "sluice test payload";
  Bytes bytes = {};         // payload instead, when it is not empty
  size_t payload_size = 0;  // that many bytes 0, 1, 2, ... instead, when it is not zero
};

Bytes UdpFrame(const FrameSpec& spec);
Bytes TcpFrame(const FrameSpec& spec);
Bytes IcmpFrame(const FrameSpec& spec);                      // echo request, of either family
Bytes IpFrame(const FrameSpec& spec, IpProtocol protocol);   // the payload alone after IP
Bytes EthernetFrame(const FrameSpec& spec, Ethertype type);  // the payload alone after Ethernet and tags
Bytes ArpFrame(const FrameSpec& spec, uint16_t operation = ArpHeader::kRequest);

// `inner` is an Ethernet frame where the tunnel carries one.
Bytes VxlanFrame(const FrameSpec& outer, const Bytes& inner, uint32_t vni = 1);
Bytes VxlanGpeFrame(const FrameSpec& outer, const Bytes& inner, TunnelProtocol next, uint32_t vni = 1);
Bytes GeneveFrame(const FrameSpec& outer, const Bytes& inner, const Bytes& options = {}, uint32_t vni = 1,
                  Ethertype type = Ethertype::kBridging);
// `flags` as GreHeader::flags: the optional fields that they announce are put in.
Bytes GreFrame(const FrameSpec& outer, const Bytes& inner, Ethertype type = Ethertype::kIpv4,
               uint16_t flags = 0);
Bytes NvgreFrame(const FrameSpec& outer, const Bytes& inner, uint32_t vsid = 1);
Bytes NshFrame(const FrameSpec& outer, const Bytes& inner, TunnelProtocol next = TunnelProtocol::kEthernet);
Bytes MplsFrame(const FrameSpec& outer, const Bytes& inner, const std::vector<uint32_t>& labels = {16});
Bytes MplsUdpFrame(const FrameSpec& outer, const Bytes& inner, const std::vector<uint32_t>& labels = {16});

// Headers without the frame around them.
Bytes NshBytes(const Bytes& inner, TunnelProtocol next);
Bytes MplsBytes(const Bytes& inner, const std::vector<uint32_t>& labels);
// What follows the Ethernet header of an untagged frame.
Bytes WithoutEthernet(const Bytes& frame);
Bytes Padded(Bytes frame, size_t length = 60);
Bytes Cut(Bytes frame, size_t length);

// A packet of `pool` that holds `bytes`, in fragments of at most `piece` bytes (0 = as many as fit a buffer).
// Null when the pool is dry.
PacketPtr MakePacket(PacketPool& pool, absl::Span<const uint8_t> bytes, size_t piece = 0);
// The frame of a packet, across fragments.
Bytes BytesOf(const Packet& packet);

// The plain sum of RFC 1071, one byte after the other.
uint16_t SimpleChecksum(absl::Span<const uint8_t> bytes);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_FRAMES_H_

// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "sluice/packet/parse.h"
#include "tests/packet/parsed_packet.h"
#include "tests/support/frames.h"
#include "tests/support/layers_text.h"
#include "tests/support/wire_invariants.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // the frame builder's words

struct Case {
  const char* sentence;
  Bytes frame;
  const char* layers;
};

void CheckAll(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    INFO(c.sentence);
    CHECK(ParsedText(c.frame) == c.layers);
    CHECK(BrokenWireInvariant(c.frame, static_cast<uint32_t>(c.frame.size())) == "");
  }
}

Bytes With(Bytes frame, size_t at, int value) {
  frame.at(at) = static_cast<uint8_t>(value);
  return frame;
}

const FrameSpec kIpv6 = {.source = "2001:db8::1", .destination = "2001:db8::2"};
const Bytes kInner = TcpFrame({.source = "192.168.0.1", .destination = "192.168.0.2"});
const Bytes kInnerIp = WithoutEthernet(kInner);

TEST_CASE("VXLAN is found by its port and looked into") {
  const FrameSpec tagged = {.vlans = {5}};
  CheckAll({
      {"v4 in v4", VxlanFrame({}, kInner),
       "ipv4@14 udp@34 payload@42 vxlan ethernet@50 ipv4@64 tcp@84 payload@104"},
      {"v6 in v6", VxlanFrame(kIpv6, UdpFrame(kIpv6)),
       "ipv6@14 udp@54 payload@62 vxlan ethernet@70 ipv6@84 udp@124 payload@132"},
      {"tags outside and inside", VxlanFrame(tagged, UdpFrame(tagged)),
       "vlan*1 ipv4@18 udp@38 payload@46 vxlan ethernet@54 ipv4@72 udp@92 payload@100"},
      {"ARP inside", VxlanFrame({}, ArpFrame({})),
       "ipv4@14 udp@34 payload@42 vxlan ethernet@50 arp@64 payload@92"},
      {"without its I flag", With(VxlanFrame({}, kInner), 42, 0),
       "ipv4@14 udp@34 payload@42 vxlan malformed payload@42"},
      {"a tunnel in the tunnel is payload", VxlanFrame({}, VxlanFrame({}, kInner)),
       "ipv4@14 udp@34 payload@42 vxlan ethernet@50 ipv4@64 udp@84 payload@92"},
      {"too short for its header", UdpFrame({.destination_port = kVxlanPort, .payload = "1234567"}),
       "ipv4@14 udp@34 payload@42 vxlan malformed payload@42"},
      {"nothing inside", VxlanFrame({}, {}), "ipv4@14 udp@34 payload@42 vxlan malformed payload@50"},
  });
}

TEST_CASE("VXLAN-GPE says what is inside") {
  const Bytes nsh = NshBytes(kInner, TunnelProtocol::kEthernet);
  CheckAll({
      {"IPv4", VxlanGpeFrame({}, kInnerIp, TunnelProtocol::kIpv4),
       "ipv4@14 udp@34 payload@42 vxlan ipv4@50 tcp@70 payload@90"},
      {"Ethernet", VxlanGpeFrame({}, kInner, TunnelProtocol::kEthernet),
       "ipv4@14 udp@34 payload@42 vxlan ethernet@50 ipv4@64 tcp@84 payload@104"},
      {"NSH", VxlanGpeFrame({}, nsh, TunnelProtocol::kNsh),
       "ipv4@14 udp@34 payload@42 nsh ethernet@74 ipv4@88 tcp@108 payload@128"},
      {"MPLS", VxlanGpeFrame({}, MplsBytes(kInnerIp, {16}), TunnelProtocol::kMpls),
       "ipv4@14 udp@34 payload@42 mpls ipv4@54 tcp@74 payload@94"},
      {"something else", VxlanGpeFrame({}, kInnerIp, TunnelProtocol(99)),
       "ipv4@14 udp@34 payload@42 vxlan other@50 payload@50"},
      {"another version is not understood",
       With(VxlanGpeFrame({}, kInner, TunnelProtocol::kEthernet), 42, 0x1c), "ipv4@14 udp@34 payload@42"},
  });
}

TEST_CASE("Geneve is found with its options, which must add up") {
  const Bytes options = {0, 1, 0, 1, 1, 2, 3, 4, 0, 1, 0x80, 0};  // 4 bytes of data, then none
  CheckAll({
      {"no options", GeneveFrame({}, kInner),
       "ipv4@14 udp@34 payload@42 geneve ethernet@50 ipv4@64 tcp@84 payload@104"},
      {"two options", GeneveFrame({}, kInner, options),
       "ipv4@14 udp@34 payload@42 geneve ethernet@62 ipv4@76 tcp@96 payload@116"},
      {"IPv6 without Ethernet", GeneveFrame(kIpv6, WithoutEthernet(UdpFrame(kIpv6)), {}, 1, Ethertype::kIpv6),
       "ipv6@14 udp@54 payload@62 geneve ipv6@70 udp@110 payload@118"},
      {"an option longer than all options", With(GeneveFrame({}, kInner, options), 53, 3),
       "ipv4@14 udp@34 payload@42 geneve malformed payload@42"},
      {"options longer than the datagram", With(GeneveFrame({}, {}, options), 42, 0x3f),
       "ipv4@14 udp@34 payload@42 geneve malformed payload@42"},
      {"another version is not understood", With(GeneveFrame({}, kInner), 42, 0x40),
       "ipv4@14 udp@34 payload@42"},
  });
}

TEST_CASE("GRE is found with any of its optional fields, and NVGRE told apart") {
  CheckAll({
      {"plain", GreFrame({}, kInnerIp), "ipv4@14 other@34 payload@34 gre ipv4@38 tcp@58 payload@78"},
      {"over IPv6", GreFrame(kIpv6, kInnerIp), "ipv6@14 other@54 payload@54 gre ipv4@58 tcp@78 payload@98"},
      {"checksum", GreFrame({}, kInnerIp, Ethertype::kIpv4, 0x8000),
       "ipv4@14 other@34 payload@34 gre ipv4@42 tcp@62 payload@82"},
      {"checksum, key and sequence", GreFrame({}, kInnerIp, Ethertype::kIpv4, 0xb000),
       "ipv4@14 other@34 payload@34 gre ipv4@50 tcp@70 payload@90"},
      {"Ethernet without key", GreFrame({}, kInner, Ethertype::kBridging),
       "ipv4@14 other@34 payload@34 gre ethernet@38 ipv4@52 tcp@72 payload@92"},
      {"NVGRE", NvgreFrame({}, kInner),
       "ipv4@14 other@34 payload@34 nvgre ethernet@42 ipv4@56 tcp@76 payload@96"},
      {"MPLS", GreFrame({}, MplsBytes(kInnerIp, {16, 17}), Ethertype::kMpls),
       "ipv4@14 other@34 payload@34 mpls ipv4@46 tcp@66 payload@86"},
      {"version 1 is not understood", GreFrame({}, kInnerIp, Ethertype(0x880b), 0x2001),
       "ipv4@14 other@34 payload@34"},
      {"routing is not understood", With(GreFrame({}, kInnerIp), 34, 0x40), "ipv4@14 other@34 payload@34"},
      {"something else inside", GreFrame({}, kInnerIp, Ethertype(0x88be)),
       "ipv4@14 other@34 payload@34 gre other@38 payload@38"},
      {"cut in an optional field", IpFrame({.bytes = {0x20, 0, 8, 0, 0, 0}}, IpProtocol::kGre),
       "ipv4@14 other@34 payload@34 gre malformed payload@34"},
  });
}

TEST_CASE("NSH and MPLS are found right after Ethernet") {
  CheckAll({
      {"NSH with Ethernet", NshFrame({}, kInner), "payload@14 nsh ethernet@38 ipv4@52 tcp@72 payload@92"},
      {"NSH with IPv4", NshFrame({}, kInnerIp, TunnelProtocol::kIpv4),
       "payload@14 nsh ipv4@38 tcp@58 payload@78"},
      {"NSH shorter than its fixed part", With(NshFrame({}, kInner), 15, 0xc1),
       "payload@14 nsh malformed payload@14"},
      {"another NSH version is not understood", With(NshFrame({}, kInner), 14, 0x4f), "payload@14"},
      {"one label", MplsFrame({}, kInnerIp), "payload@14 mpls ipv4@18 tcp@38 payload@58"},
      {"three labels in a VLAN", MplsFrame({.vlans = {3}}, WithoutEthernet(UdpFrame(kIpv6)), {1, 2, 3}),
       "vlan*1 payload@18 mpls ipv6@30 udp@70 payload@78"},
      {"over UDP", MplsUdpFrame({}, kInnerIp), "ipv4@14 udp@34 payload@42 mpls ipv4@46 tcp@66 payload@86"},
      {"nine labels are too many", MplsFrame({}, kInnerIp, std::vector<uint32_t>(9, 16)),
       "payload@14 mpls other@46 payload@46"},
      {"a pseudowire is not looked into", MplsFrame({}, {0, 0, 0, 0, 1, 2, 3}),
       "payload@14 mpls other@18 payload@18"},
      {"a stack without a bottom", MplsFrame({}, {}, {}), "payload@14 mpls truncated payload@14"},
  });
}

TEST_CASE("a bad frame in a tunnel leaves the frame around it good") {
  ParsedPacket packet(VxlanFrame({}, With(kInner, 14, 0x44)));
  CHECK(packet.verdict() == ParseVerdict::kOk);
  CHECK(packet->layers().inner_verdict == ParseVerdict::kMalformed);
  CHECK(&Select(packet->layers(), LayerSet::kInnermost) == &packet->layers().outer);
}

TEST_CASE("an inner length past the outer datagram is malformed, though the frame has the bytes") {
  const Bytes frame = VxlanFrame({}, With(kInner, 17, 60));
  CHECK(ParsedText(Padded(frame, 200)) == "ipv4@14 udp@34 payload@42 vxlan malformed ethernet@50 payload@64");
}

}  // namespace
}  // namespace sluice

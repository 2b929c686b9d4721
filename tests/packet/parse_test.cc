// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/parse.h"

#include <catch2/catch.hpp>

#include "tests/support/frames.h"
#include "tests/support/layers_text.h"
#include "tests/support/seed.h"
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

// `frame` with the byte at `at` replaced.
Bytes With(Bytes frame, size_t at, int value) {
  frame.at(at) = static_cast<uint8_t>(value);
  return frame;
}

const FrameSpec kIpv6 = {.source = "2001:db8::1", .destination = "2001:db8::2"};

FrameSpec Ipv6With(std::vector<FrameSpec::Extension> extensions) {
  FrameSpec spec = kIpv6;
  spec.extensions = std::move(extensions);
  return spec;
}

FrameSpec::Extension Options(IpProtocol protocol, size_t units = 1) {
  Bytes bytes(8 * units);
  bytes[1] = static_cast<uint8_t>(units - 1);
  return {protocol, bytes};
}

FrameSpec::Extension FragmentHeader(uint16_t offset_more) {
  return {IpProtocol::kFragment,
          {0, 0, static_cast<uint8_t>(offset_more >> 8), static_cast<uint8_t>(offset_more), 0, 0, 0, 7}};
}

TEST_CASE("plain frames have their layers found") {
  CheckAll({
      {"TCP", TcpFrame({}), "ipv4@14 tcp@34 payload@54"},
      {"UDP", UdpFrame({}), "ipv4@14 udp@34 payload@42"},
      {"ICMP", IcmpFrame({}), "ipv4@14 icmp@34 payload@42"},
      {"ICMPv6", IcmpFrame(kIpv6), "ipv6@14 icmpv6@54 payload@62"},
      {"ARP", ArpFrame({}), "arp@14 payload@42"},
      {"TCP options", TcpFrame({.tcp_options = Bytes(40, 1)}), "ipv4@14 tcp@34 payload@94"},
      {"IPv4 options", UdpFrame({.ip_options = Bytes(40, 1)}), "ipv4@14 udp@74 payload@82"},
      {"no payload", UdpFrame({.payload = ""}), "ipv4@14 udp@34 payload@42"},
      {"padding to the Ethernet minimum", Padded(TcpFrame({.payload = ""})), "ipv4@14 tcp@34 payload@54"},
      {"another protocol over IP", IpFrame({}, IpProtocol::kSctp), "ipv4@14 other@34 payload@34"},
      {"another Ethertype", EthernetFrame({}, Ethertype(0x88cc)), "other@14 payload@14"},
      {"the length field of 802.3", EthernetFrame({}, Ethertype(64)), "other@14 payload@14"},
      {"ICMP over IPv6 is no ICMPv6", IpFrame(kIpv6, IpProtocol::kIcmp), "ipv6@14 other@54 payload@54"},
  });
}

TEST_CASE("VLAN tags of every kind are passed, up to four") {
  const FrameSpec one = {.vlans = {100}};
  const FrameSpec service = {.vlans = {100, 200}, .outer_vlan_type = Ethertype::kServiceVlan};
  const FrameSpec old = {.vlans = {100, 200}, .outer_vlan_type = Ethertype::kOldQinq};
  CheckAll({
      {"one", UdpFrame(one), "vlan*1 ipv4@18 udp@38 payload@46"},
      {"802.1ad", UdpFrame(service), "vlan*2 ipv4@22 udp@42 payload@50"},
      {"0x9100", UdpFrame(old), "vlan*2 ipv4@22 udp@42 payload@50"},
      {"four", UdpFrame({.vlans = {1, 2, 3, 4}}), "vlan*4 ipv4@30 udp@50 payload@58"},
      {"a fifth is not understood", UdpFrame({.vlans = {1, 2, 3, 4, 5}}), "vlan*4 other@30 payload@30"},
      {"cut in the tag", Cut(UdpFrame(one), 16), "truncated payload@14"},
      {"ARP in a VLAN", ArpFrame(one), "vlan*1 arp@18 payload@46"},
  });
}

TEST_CASE("IPv6 extension headers are passed in any mixture, up to eight") {
  const auto hop = Options(IpProtocol::kHopByHop);
  const auto options = Options(IpProtocol::kDestinationOptions);
  const auto routing = Options(IpProtocol::kRouting, 3);
  const FrameSpec::Extension authentication = {IpProtocol::kAuthentication, Bytes{0, 4}};
  FrameSpec::Extension ah = authentication;
  ah.bytes.resize(24);  // (4 + 2) * 4
  CheckAll({
      {"none", TcpFrame(kIpv6), "ipv6@14 tcp@54 payload@74"},
      {"hop-by-hop", UdpFrame(Ipv6With({hop})), "ipv6@14 udp@62 payload@70"},
      {"all", UdpFrame(Ipv6With({hop, options, routing, ah})), "ipv6@14 udp@118 payload@126"},
      {"eight", UdpFrame(Ipv6With(std::vector(8, options))), "ipv6@14 udp@118 payload@126"},
      {"a ninth is not understood", UdpFrame(Ipv6With(std::vector(9, options))),
       "ipv6@14 other@118 payload@118"},
      {"hop-by-hop not first", UdpFrame(Ipv6With({options, hop})), "malformed payload@14"},
      {"nothing after", IpFrame(kIpv6, IpProtocol::kNoNext), "ipv6@14 other@54 payload@54"},
      {"an extension longer than the datagram", With(UdpFrame(Ipv6With({options})), 14 + 40 + 1, 200),
       "malformed payload@14"},
  });
}

TEST_CASE("of fragments no ports are read, not even of the first") {
  CheckAll({
      {"first, IPv4", UdpFrame({.flags_offset = Ipv4Header::kMoreFragments}),
       "ipv4@14 fragment@34 payload@34"},
      {"later, IPv4", UdpFrame({.flags_offset = 185}), "ipv4@14 fragment@34 payload@34"},
      {"don't fragment is no fragment", UdpFrame({.flags_offset = Ipv4Header::kDontFragment}),
       "ipv4@14 udp@34 payload@42"},
      {"first, IPv6", UdpFrame(Ipv6With({FragmentHeader(1)})), "ipv6@14 fragment@62 payload@62"},
      {"later, IPv6", UdpFrame(Ipv6With({FragmentHeader(1480)})), "ipv6@14 fragment@62 payload@62"},
      {"atomic, IPv6", UdpFrame(Ipv6With({FragmentHeader(0)})), "ipv6@14 udp@62 payload@70"},
      {"later fragment to the port of VXLAN", VxlanFrame({.flags_offset = 185}, UdpFrame({})),
       "ipv4@14 fragment@34 payload@34"},
      {"a fragment of 3 bytes", IpFrame({.flags_offset = 185, .bytes = {1, 2, 3}}, IpProtocol::kTcp),
       "ipv4@14 fragment@34 payload@34"},
  });
}

TEST_CASE("contradicting lengths are malformed") {
  const Bytes udp = UdpFrame({.payload = "12345678"});  // 14 + 20 + 8 + 8
  const Bytes tcp = TcpFrame({.payload = ""});
  CheckAll({
      {"IHL of 4 words", With(udp, 14, 0x44), "malformed payload@14"},
      {"IHL past the total length", With(tcp, 14, 0x4f), "malformed payload@14"},
      {"IP version 5", With(udp, 14, 0x55), "malformed payload@14"},
      {"total length one past the frame", With(udp, 17, 37), "malformed payload@14"},
      {"total length below the header's", With(udp, 17, 19), "malformed payload@14"},
      {"total length zero in a small frame", With(udp, 17, 0), "malformed payload@14"},
      {"total length cuts the UDP header", With(udp, 17, 24), "malformed ipv4@14 payload@34"},
      {"UDP length past the datagram", With(udp, 39, 17), "malformed ipv4@14 payload@34"},
      {"UDP length below its header's", With(udp, 39, 7), "malformed ipv4@14 payload@34"},
      {"UDP length shorter than the datagram", With(udp, 39, 9), "ipv4@14 udp@34 payload@42"},
      {"TCP data offset of 4 words", With(tcp, 46, 0x40), "malformed ipv4@14 payload@34"},
      {"TCP data offset past the datagram", With(tcp, 46, 0x60), "malformed ipv4@14 payload@34"},
      {"IPv6 with version 4", With(UdpFrame(kIpv6), 14, 0x40), "malformed payload@14"},
      {"IPv6 payload length past the frame", With(UdpFrame(kIpv6), 18, 1), "malformed payload@14"},
      {"IPv6 payload length zero",
       With(UdpFrame({.source = "::1", .destination = "::2", .payload = ""}), 19, 0),
       "malformed ipv6@14 payload@54"},
      {"ICMP of 4 bytes", IpFrame({.payload = "1234"}, IpProtocol::kIcmp), "malformed ipv4@14 payload@34"},
  });
}

TEST_CASE("a frame cut anywhere is truncated where its headers are cut, and never read past the cut") {
  const FrameSpec outer = {.vlans = {1}};
  for (const Bytes& frame : {TcpFrame({.tcp_options = Bytes(12, 1)}), ArpFrame({}),
                             UdpFrame(Ipv6With({Options(IpProtocol::kHopByHop), FragmentHeader(0)})),
                             VxlanFrame(outer, TcpFrame(kIpv6))}) {
    const auto whole = static_cast<uint32_t>(frame.size());
    const std::string expected = ParsedText(frame);
    for (uint32_t length = 0; length <= whole; ++length) {
      const std::string text = ParsedText(Cut(frame, length), whole);
      INFO(length << ": " << text);
      CHECK((text == expected || text.find("truncated") != std::string::npos));
      CHECK(BrokenWireInvariant(Cut(frame, length), whole) == "");
      CHECK(BrokenWireInvariant(Cut(frame, length), length) == "");
    }
  }
}

TEST_CASE("a frame that is too short for its first header is truncated") {
  CheckAll({
      {"empty", {}, "truncated payload@0"},
      {"13 bytes", Bytes(13), "truncated payload@0"},
      {"IPv4 cut", Cut(UdpFrame({}), 33), "truncated payload@14"},
      {"IPv6 cut", Cut(UdpFrame(kIpv6), 53), "truncated payload@14"},
      {"ARP cut", Cut(ArpFrame({}), 41), "truncated payload@14"},
  });
}

// RFC 2675, and the kernel's BIG TCP: lengths that do not fit 16 bits.
TEST_CASE("frames above 64 KiB may have a length field of zero") {
  const Bytes big = With(With(TcpFrame({.payload_size = 100}), 16, 0), 17, 0);
  const Bytes big6 =
      With(With(TcpFrame({.source = "::1", .destination = "::2", .payload_size = 100}), 18, 0), 19, 0);
  CHECK(ParsedText(big, 100'000) == "ipv4@14 tcp@34 payload@54");
  CHECK(ParsedText(big, 65'549) == "malformed payload@14");
  CHECK(ParsedText(big6, 100'000) == "ipv6@14 tcp@54 payload@74");

  FrameSpec::Extension jumbo = {IpProtocol::kHopByHop, {0, 0, 0xc2, 4, 0, 1, 0, 8}};  // 65536 + 8
  const Bytes with_option = With(With(TcpFrame(Ipv6With({jumbo})), 18, 0), 19, 0);
  CHECK(ParsedText(with_option, 14 + 40 + 65544) == "ipv6@14 tcp@62 payload@82");
  CHECK(ParsedText(with_option, 14 + 40 + 65543) == "malformed payload@14");
  jumbo.bytes = {0, 0, 0xc2, 4, 0, 0, 0xff, 0xff};
  CHECK(ParsedText(With(With(TcpFrame(Ipv6With({jumbo})), 18, 0), 19, 0), 100'000) == "malformed payload@14");
  jumbo.bytes = {0, 0, 1, 4, 0, 0, 0, 0};
  CHECK(ParsedText(With(With(TcpFrame(Ipv6With({jumbo})), 18, 0), 19, 0), 100'000) == "malformed payload@14");
}

TEST_CASE("random damage to any frame breaks no property of the parser") {
  Random random(PrintedSeed());
  const FrameSpec outer = {.vlans = {7}};
  const std::vector<Bytes> frames = {
      TcpFrame({}),
      UdpFrame(Ipv6With({Options(IpProtocol::kHopByHop), Options(IpProtocol::kRouting), FragmentHeader(0)})),
      VxlanFrame(outer, TcpFrame(kIpv6)),
      GeneveFrame(kIpv6, UdpFrame({}), Bytes{0, 1, 0, 1, 0, 0, 0, 0}),
      GreFrame({}, MplsBytes(WithoutEthernet(TcpFrame({})), {1, 2}), Ethertype::kMpls, 0xb000),
      NshFrame({}, WithoutEthernet(UdpFrame({})), TunnelProtocol::kIpv4),
  };
  for (int round = 0; round < 20'000; ++round) {
    Bytes frame = frames[Below(random, frames.size())];
    for (uint64_t n = Below(random, 4); n > 0; --n) {
      frame[Below(random, frame.size())] = static_cast<uint8_t>(random());
    }
    const auto length = static_cast<uint32_t>(frame.size() + Below(random, 3) * Below(random, 100'000));
    const std::string broken = BrokenWireInvariant(Cut(frame, Below(random, frame.size() + 1)), length);
    if (!broken.empty()) FAIL(broken);
  }
}

}  // namespace
}  // namespace sluice

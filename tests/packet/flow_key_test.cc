// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/flow_key.h"

#include <catch2/catch.hpp>

#include "absl/container/flat_hash_map.h"
#include "tests/packet/parsed_packet.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // the frame builder's words

std::string OuterFlow(const Bytes& frame) {
  ParsedPacket packet(frame);
  FlowKey key;
  return ExtractFlowKey(*packet, key) ? key.ToString() : "none";
}

std::string InnerFlow(const Bytes& frame) {
  ParsedPacket packet(frame);
  FlowKey key;
  return ExtractInnerFlowKey(*packet, key) ? key.ToString() : "none";
}

TEST_CASE("the flow key of a packet names its addresses, protocol and ports") {
  CHECK(OuterFlow(TcpFrame({})) == "10.0.0.1:1000 > 10.0.0.2:2000 tcp");
  CHECK(OuterFlow(UdpFrame({.source = "2001:db8::1", .destination = "::2"})) ==
        "[2001:db8::1]:1000 > [::2]:2000 udp");
  CHECK(OuterFlow(IcmpFrame({})) == "10.0.0.1:0 > 10.0.0.2:0 icmp");
  CHECK(OuterFlow(IpFrame({}, IpProtocol::kEsp)) == "10.0.0.1:0 > 10.0.0.2:0 protocol 50");
  CHECK(OuterFlow(ArpFrame({})) == "none");
}

TEST_CASE("all fragments of a datagram have one flow key") {
  const std::string flow = "10.0.0.1:0 > 10.0.0.2:0 udp";
  CHECK(OuterFlow(UdpFrame({.flags_offset = Ipv4Header::kMoreFragments})) == flow);
  CHECK(OuterFlow(UdpFrame({.flags_offset = Ipv4Header::kMoreFragments | 10})) == flow);
  CHECK(OuterFlow(UdpFrame({.flags_offset = 20})) == flow);
}

TEST_CASE("the protocol is the one after all extension headers") {
  FrameSpec spec{.source = "::1", .destination = "::2"};
  spec.extensions = {{IpProtocol::kHopByHop, Bytes(8)},
                     {IpProtocol::kAuthentication, {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}};
  CHECK(OuterFlow(TcpFrame(spec)) == "[::1]:1000 > [::2]:2000 tcp");
  CHECK(OuterFlow(IpFrame(spec, IpProtocol::kSctp)) == "[::1]:0 > [::2]:0 protocol 132");
  spec.extensions = {{IpProtocol::kFragment, {0, 0, 0, 9, 0, 0, 0, 1}}};
  CHECK(OuterFlow(UdpFrame(spec)) == "[::1]:0 > [::2]:0 udp");
}

TEST_CASE("a tunnel has an outer and an inner flow") {
  const Bytes frame = VxlanFrame({.source_port = 50000}, TcpFrame({.source = "1.1.1.1"}));
  CHECK(OuterFlow(frame) == "10.0.0.1:50000 > 10.0.0.2:4789 udp");
  CHECK(InnerFlow(frame) == "1.1.1.1:1000 > 10.0.0.2:2000 tcp");
  CHECK(InnerFlow(TcpFrame({})) == "none");
}

TEST_CASE("flow keys of a map are equal only when every field is") {
  const FlowKey key{.source = {1},
                    .destination = {2},
                    .source_port = 3,
                    .destination_port = 4,
                    .protocol = IpProtocol::kTcp};
  std::vector<FlowKey> keys(7, key);
  keys[1].source[15] = 1;
  keys[2].destination[0] = 9;
  keys[3].source_port = 9;
  keys[4].destination_port = 9;
  keys[5].protocol = IpProtocol::kUdp;
  keys[6].ipv6 = true;
  absl::flat_hash_map<FlowKey, int> map;
  for (const FlowKey& k : keys) ++map[k];
  CHECK(map.size() == 7);
  CHECK(key.Reversed().Reversed() == key);
  CHECK(key.Reversed() != key);
}

}  // namespace
}  // namespace sluice

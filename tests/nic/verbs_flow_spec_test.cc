// SPDX-License-Identifier: Apache-2.0
// Rules in the words of ibv_create_flow(3). Needs no device.
#include <endian.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "nic/verbs/flow_spec_internal.h"
#include "sluice/base/status.h"

namespace sluice::testing {
namespace {

// The specs of a rule, one by one, and whether the whole has the size that it says.
std::vector<ibv_flow_spec> SpecsOf(const std::string& text) {
  absl::StatusOr<FlowSpec> flow = FlowSpec::Of(*Rule::Parse(text), 1);
  if (!flow.ok()) FAIL(flow.status().ToString());
  const uint8_t* at = reinterpret_cast<const uint8_t*>(flow->attr() + 1);
  std::vector<ibv_flow_spec> specs(flow->attr()->num_of_specs);
  for (ibv_flow_spec& spec : specs) {
    std::memcpy(&spec, at, sizeof(spec.hdr));
    REQUIRE(spec.hdr.size <= sizeof(spec));
    std::memcpy(&spec, at, spec.hdr.size);
    at += spec.hdr.size;
  }
  CHECK(static_cast<size_t>(at - reinterpret_cast<const uint8_t*>(flow->attr())) == flow->attr()->size);
  return specs;
}

ibv_flow_spec OnlyOf(const std::string& pattern, size_t at = 0) {
  const std::vector<ibv_flow_spec> specs = SpecsOf("pattern " + pattern + " end actions queue index 0 / end");
  REQUIRE(specs.size() > at);
  return specs[at];
}

TEST_CASE("Ethernet and its tag are one spec, in network order") {
  const ibv_flow_spec spec = OnlyOf("eth dst is 02:00:00:00:00:07 type is 0x86dd / vlan vid is 5 pcp is 6 /");
  REQUIRE(spec.hdr.type == IBV_FLOW_SPEC_ETH);
  CHECK(spec.eth.val.dst_mac[5] == 7);
  CHECK(spec.eth.mask.dst_mac[5] == 0xff);
  CHECK(spec.eth.mask.src_mac[0] == 0);
  CHECK(be16toh(spec.eth.val.ether_type) == 0x86dd);
  CHECK(be16toh(spec.eth.val.vlan_tag) == 0xc005);
  CHECK(be16toh(spec.eth.mask.vlan_tag) == 0xefff);
}

TEST_CASE("IPv4 goes as the extended spec, fragments as the flags of verbs") {
  const ibv_flow_spec spec = OnlyOf(
      "ipv4 src is 10.1.2.3 src prefix 8 dst is 10.0.0.2 proto is 6 tos is 0xb8 ttl is 3 fragment_offset is "
      "0x2000 "
      "fragment_offset mask 0x6000 /");
  REQUIRE(spec.hdr.type == IBV_FLOW_SPEC_IPV4_EXT);
  CHECK(be32toh(spec.ipv4_ext.val.src_ip) == 0x0a000000);
  CHECK(be32toh(spec.ipv4_ext.mask.src_ip) == 0xff000000);
  CHECK(be32toh(spec.ipv4_ext.val.dst_ip) == 0x0a000002);
  CHECK(spec.ipv4_ext.val.proto == 6);
  CHECK(spec.ipv4_ext.val.tos == 0xb8);
  CHECK(spec.ipv4_ext.val.ttl == 3);
  CHECK(spec.ipv4_ext.val.flags == 4);   // more fragments
  CHECK(spec.ipv4_ext.mask.flags == 6);  // and don't fragment
}

TEST_CASE("IPv6 and ports keep their order of bytes") {
  const ibv_flow_spec ip =
      OnlyOf("ipv6 dst is 2001:db8::9 flow is 0x12345 tc is 1 hop is 2 proto is 17 / udp dst is 53 /");
  CHECK(ip.ipv6.val.dst_ip[0] == 0x20);
  CHECK(ip.ipv6.val.dst_ip[15] == 9);
  CHECK(be32toh(ip.ipv6.val.flow_label) == 0x12345);
  CHECK(ip.ipv6.val.next_hdr == 17);
  const ibv_flow_spec udp = OnlyOf("ipv6 / udp dst is 53 /", 1);
  REQUIRE(udp.hdr.type == IBV_FLOW_SPEC_UDP);
  CHECK(be16toh(udp.tcp_udp.val.dst_port) == 53);
  CHECK(udp.tcp_udp.mask.src_port == 0);
}

TEST_CASE("what is inside a tunnel follows it, marked as inner") {
  const std::vector<ibv_flow_spec> specs = SpecsOf(
      "pattern udp dst is 4789 / vxlan vni is 7 / eth / ipv4 / tcp / end actions queue index 0 / end");
  REQUIRE(specs.size() == 5);
  CHECK(specs[1].hdr.type == IBV_FLOW_SPEC_VXLAN_TUNNEL);
  CHECK(be32toh(specs[1].tunnel.val.tunnel_id) == 7);
  CHECK(be32toh(specs[1].tunnel.mask.tunnel_id) == 0xffffff);
  CHECK(static_cast<uint32_t>(specs[2].hdr.type) == (IBV_FLOW_SPEC_ETH | IBV_FLOW_SPEC_INNER));
  CHECK(static_cast<uint32_t>(specs[4].hdr.type) == (IBV_FLOW_SPEC_TCP | IBV_FLOW_SPEC_INNER));
}

TEST_CASE("a GRE key asks for its bit, and a label fills its entry") {
  const ibv_flow_spec gre = OnlyOf("gre protocol is 0x8847 / gre_key value is 9 /");
  CHECK(be16toh(gre.gre.val.c_ks_res0_ver) == 0x2000);
  CHECK(be16toh(gre.gre.val.protocol) == 0x8847);
  CHECK(be32toh(gre.gre.val.key) == 9);
  const ibv_flow_spec mpls = OnlyOf("mpls label is 16 tc is 5 s is 1 ttl is 64 /");
  CHECK(be32toh(mpls.mpls.val.label) == 0x00010b40);
  CHECK(be32toh(mpls.mpls.mask.label) == 0xffffffff);
}

TEST_CASE("kind, priority, direction and passing on are attributes") {
  const auto attr = [](const std::string& text) { return *FlowSpec::Of(*Rule::Parse(text), 2)->attr(); };
  CHECK(attr("all_default pattern end actions queue index 0 / end").type == IBV_FLOW_ATTR_ALL_DEFAULT);
  CHECK(attr("multicast_default pattern end actions queue index 0 / end").type == IBV_FLOW_ATTR_MC_DEFAULT);
  CHECK(attr("sniffer pattern end actions queue index 0 / end").type == IBV_FLOW_ATTR_SNIFFER);
  CHECK(attr("sniffer pattern end actions queue index 0 / end").num_of_specs == 0);
  const ibv_flow_attr normal = attr("egress priority 9 pattern end actions passthru / end");
  CHECK(normal.type == IBV_FLOW_ATTR_NORMAL);
  CHECK(normal.priority == 9);
  CHECK(normal.port == 2);
  CHECK(normal.flags == (IBV_FLOW_ATTR_FLAGS_EGRESS | IBV_FLOW_ATTR_FLAGS_DONT_TRAP));
  CHECK(normal.num_of_specs == 1);  // an Ethernet header with nothing asked of it
}

TEST_CASE("actions that are not where the frame goes are specs") {
  const std::vector<ibv_flow_spec> specs = SpecsOf("pattern eth / end actions drop / mark id 77 / end");
  REQUIRE(specs.size() == 3);
  CHECK(specs[1].hdr.type == IBV_FLOW_SPEC_ACTION_TAG);
  CHECK(specs[1].flow_tag.tag_id == 77);
  CHECK(specs[2].hdr.type == IBV_FLOW_SPEC_ACTION_DROP);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// A rule and its text: the same thing, both ways.
#include <catch2/catch.hpp>

#include "sluice/base/status.h"
#include "sluice/flow/rule.h"
#include "tests/flow/simple_match.h"

namespace sluice::testing {
namespace {

Rule MustParse(const std::string& text) {
  const absl::StatusOr<Rule> rule = Rule::Parse(text);
  if (!rule.ok()) FAIL(rule.status().ToString());
  return *rule;
}

TEST_CASE("a rule is its text: every one that makes sense is read back as it was written") {
  Random random(PrintedSeed());
  for (int i = 0; i < 3000; ++i) {
    const Rule rule = RandomRule(random);
    INFO(rule.ToString());
    REQUIRE(CheckRule(rule) == absl::OkStatus());
    REQUIRE(MustParse(rule.ToString()) == rule);
  }
}

TEST_CASE("the text of a rule that names everything has the words of rte_flow") {
  const std::string text =
      "egress priority 7 pattern eth dst is 02:00:00:00:00:02 src is 02:00:00:00:00:01 type is 0x800 / "
      "vlan vid is 5 pcp is 3 dei is 1 / "
      "ipv4 src is 10.0.0.0 src mask 255.255.255.0 dst is 10.0.1.2 proto is 17 tos is 0xb8 ttl is 64 "
      "fragment_offset is 0x0 fragment_offset mask 0x3fff / udp src is 1000 dst is 4789 / vxlan vni is 7 / "
      "eth has_vlan is 1 / vlan vid is 0 vid mask 0xf / "
      "ipv6 src is 2001:db8:: src mask ffff:ffff:: dst is ::1 proto is 6 tc is 0x1 flow is 0xfffff hop is "
      "255 / "
      "tcp dst is 80 / end actions queue index 3 / mark id 7 / count / passthru / end";
  CHECK(MustParse(text).ToString() == text);
}

TEST_CASE("what was written in another way is written in one way") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"pattern end actions end", "ingress pattern end actions rss / end"},
      {"ingress  priority 0x10\tpattern\nend actions rss / end",
       "ingress priority 16 pattern end actions rss / end"},
      {"pattern eth / end actions count / mark id 1 / end",
       "ingress pattern eth / end actions mark id 1 / count / rss / end"},
      {"pattern ipv4 src is 10.1.2.3 src prefix 8 / end actions drop / end",
       "ingress pattern ipv4 src is 10.0.0.0 src mask 255.0.0.0 / end actions drop / end"},
      {"pattern vlan vid is 5 vid mask 0xfff / end actions end",
       "ingress pattern vlan vid is 5 / end actions rss / end"},
      {"pattern udp dst is 53 dst mask 0 / end actions end", "ingress pattern udp / end actions rss / end"},
      {"sniffer pattern end actions queue index 0 / end",
       "ingress sniffer pattern end actions queue index 0 / end"},
      {"pattern gre c_rsvd0_ver is 0x2000 / gre_key value is 9 / mpls label is 16 s is 1 / ipv4 / end "
       "actions end",
       "ingress pattern gre c_rsvd0_ver is 0x2000 / gre_key value is 9 / mpls label is 16 s is 1 / ipv4 / "
       "end actions "
       "rss / end"}};
  for (const auto& [text, canonical] : cases) {
    INFO(text);
    CHECK(MustParse(text).ToString() == canonical);
  }
}

struct WrongText {
  std::string text;
  int column;
  std::string expected;  // is in the remedy
};

TEST_CASE("a wrong text is refused with the column and what was expected there") {
  const std::vector<WrongText> cases = {
      {"", 1, "\"pattern\""},
      {"ingress pat end", 9, "\"pattern\""},
      {"priority -1 pattern", 10, "a number from 0 to 4294967295"},
      {"priority 4294967296 pattern", 10, "a number from 0 to 4294967295"},
      {"pattern eht / end", 9, "one of eth, vlan, ipv4, ipv6, tcp, udp, vxlan, gre, gre_key, mpls, end"},
      {"pattern ipv4 / eth / end", 16, "one of tcp, udp, vxlan, gre, gre_key, mpls, end"},
      {"pattern ipv4 / ipv6 / end", 16, "one of tcp, udp, vxlan, gre, gre_key, mpls, end"},
      {"pattern eth dts is 1 / end", 13, "one of dst, src, type, has_vlan, /"},
      {"pattern eth dst 02:00:00:00:00:01 / end", 17, "\"is\""},
      {"pattern eth dst is 02:00 / end", 20, "a MAC address"},
      {"pattern ipv4 src is ::1 / end", 21, "an IPv4 address"},
      {"pattern ipv6 src is 1.2.3.4 / end", 21, "an IPv6 address"},
      {"pattern vlan vid is 4096 / end", 21, "a number from 0 to 4095"},
      {"pattern ipv4 src is 1.2.3.4 src prefix 33 / end", 40, "a number from 0 to 32"},
      {"pattern udp dst is 5 dst to 6 / end", 26, "one of mask, prefix"},
      {"pattern udp dst is 5 dst mask 0xff dst is 6 / end", 40, "another field"},
      {"pattern udp dst is 5x / end", 20, "a number from 0 to 65535"},
      {"pattern udp dst is 0x / end", 20, "a number from 0 to 65535"},
      {"pattern eth", 12, "one of dst"},
      {"pattern end actions queue 3 / end", 27, "\"index\""},
      {"pattern end actions jump / end", 21, "one of queue, drop, rss, mark, count, passthru, end"},
      {"pattern end actions drop end", 26, "\"/\""},
      {"pattern end actions end end", 25, "the end of the text"}};
  for (const WrongText& c : cases) {
    INFO(c.text);
    const absl::Status refused = Rule::Parse(c.text).status();
    REQUIRE(refused.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(ProblemOf(refused)->what, Catch::StartsWith("column " + std::to_string(c.column) + ": "));
    CHECK_THAT(ProblemOf(refused)->remedy, Catch::Contains(c.expected));
  }
}

TEST_CASE("a rule that makes no sense is refused, made or read") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"pattern end actions drop / queue index 1 / end", "drop and a queue"},
      {"pattern end actions drop / passthru / end", "drop and passthru"},
      {"pattern vlan vid is 4095 / end actions end", "VLAN 4095"},
      {"pattern eth has_vlan is 0 / vlan / end actions end", "vlan, and has_vlan is 0"},
      {"pattern mpls / vxlan / end actions end", "vxlan and another tunnel"},
      {"all_default pattern eth / end actions end", "all_default with a pattern"},
      {"multicast_default pattern end actions passthru / end", "multicast_default with passthru"},
      {"egress sniffer pattern end actions end", "sniffer on egress"}};
  for (const auto& [text, what] : cases) {
    const absl::Status refused = Rule::Parse(text).status();
    REQUIRE(refused.code() == absl::StatusCode::kInvalidArgument);
    CHECK(ProblemOf(refused)->what == what);
  }
  const HeadersMatch both_ip = {.ipv4 = Ipv4Match{}, .ipv6 = Ipv6Match{}};
  const HeadersMatch both_ports = {.tcp = PortsMatch{}, .udp = PortsMatch{}};
  CHECK_FALSE(CheckRule({.match = {.outer = both_ip}}).ok());
  CHECK_FALSE(CheckRule({.match = {.outer = both_ports}}).ok());
  CHECK_FALSE(CheckRule({.match = {.inner = {.udp = PortsMatch{}}}}).ok());
  CHECK_FALSE(CheckRule({.match = {.vxlan = VxlanMatch{.vni = 1u << 24}}}).ok());
}

TEST_CASE("what a mask leaves out of a value makes no difference") {
  CHECK(Masked<uint16_t>(0x1234, 0xff00) == Masked<uint16_t>(0x12ff, 0xff00));
  CHECK(Masked<uint16_t>(5, 0xffff) == Masked<uint16_t>(5));
  CHECK(Masked<uint16_t, 12>(5).mask() == 0x0fff);
  CHECK(Masked<uint16_t, 12>::Leading(4) == 0x0f00);
  const Ipv4Address address({10, 1, 2, 3});
  CHECK(Prefix(address, 9) == Masked<Ipv4Address>(Ipv4Address({10, 0, 0, 0}), Ipv4Address({255, 128, 0, 0})));
  CHECK(Prefix(address, 0).any());
  CHECK(Prefix(address, 32).exact());
  CHECK(Prefix(address, 24).Accepts(Ipv4Address({10, 1, 2, 9})));
  CHECK_FALSE(Prefix(address, 24).Accepts(Ipv4Address({10, 1, 3, 3})));
}

}  // namespace
}  // namespace sluice::testing

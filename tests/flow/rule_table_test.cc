// SPDX-License-Identifier: Apache-2.0
// Which rules a frame meets, and in what order.
#include "sluice/flow/rule_table.h"

#include <catch2/catch.hpp>

#include "sluice/packet/parse.h"
#include "tests/flow/simple_match.h"
#include "tests/packet/parsed_packet.h"
#include "tests/support/random_frames.h"

namespace sluice::testing {
namespace {

using Ids = std::vector<uint64_t>;

Ids Lookup(const RuleTable& table, Packet& packet, RuleDirection direction = RuleDirection::kIngress) {
  Ids ids;
  table.Match(packet, direction, [&](const TableRule& rule) { ids.push_back(rule.id.value()); });
  return ids;
}

// Rules by their text, with ids 1, 2, 3 ...; "2: text" is a rule of owner 2.
RuleTable TableOf(const std::vector<std::string>& texts) {
  RuleTable table;
  for (const std::string& text : texts) {
    const bool owned = text[1] == ':';
    const absl::StatusOr<Rule> rule = Rule::Parse(owned ? text.substr(2) : text);
    if (!rule.ok()) FAIL(rule.status().ToString());
    const uint64_t owner = owned ? static_cast<uint64_t>(text[0] - '0') : 0;
    absl::StatusOr<RuleTable> more =
        table.With({.id = RuleId{table.size() + 1}, .rule = *rule, .owner = owner});
    REQUIRE(more.ok());
    table = *std::move(more);
  }
  return table;
}

bool Matches(const std::string& pattern, const Bytes& frame) {
  ParsedPacket packet(frame);
  return Lookup(TableOf({"pattern " + pattern + " end actions end"}), *packet) == Ids{1};
}

Bytes AnyFrame(Random& random) {
  const Bytes inner = RandomFrame(random, {.most_payload = 100, .tunnels = false});
  switch (Below(random, 6)) {
    case 0:
      return MplsFrame({}, inner, {static_cast<uint32_t>(Below(random, 1 << 20))});
    case 1:
      return MplsUdpFrame({}, inner, {static_cast<uint32_t>(Below(random, 1 << 20)), 17});
    case 2:
      return GreFrame({}, MplsBytes(inner, {16}), Ethertype::kMpls, GreHeader::kKey);
    default:
      return RandomFrame(random, {.most_payload = 100});
  }
}

TEST_CASE("a look-up finds the rules that asking each by itself finds, in the same order") {
  Random random(PrintedSeed());
  size_t met = 0;
  for (int round = 0; round < 400; ++round) {
    ParsedPacket packet(AnyFrame(random));
    const RuleMatch portrait = PortraitOf(*packet);
    ParsedPacket other(AnyFrame(random));
    const RuleMatch other_portrait = PortraitOf(*other);
    RuleTable table;
    std::vector<TableRule> rules;
    for (uint64_t id = 1; id <= Below(random, 24); ++id) {
      Rule rule = !rules.empty() && Below(random, 3) == 0 ? rules[Below(random, rules.size())].rule
                                                          : RandomRule(random, portrait);
      rule.actions = RandomRule(random).actions;
      if (rule.kind != RuleKind::kNormal) rule.actions.pass_on = false;
      rules.push_back({.id = RuleId{id}, .rule = rule, .owner = Below(random, 3)});
      table = *table.With(rules.back());
    }
    for (const RuleDirection direction : {RuleDirection::kIngress, RuleDirection::kEgress}) {
      const auto ids = [](const std::vector<RuleId>& from) {
        Ids values;
        for (const RuleId id : from) values.push_back(id.value());
        return values;
      };
      const Ids expected = ids(SimpleLookup(rules, portrait, direction));
      met += expected.size();
      REQUIRE(Lookup(table, *packet, direction) == expected);
      REQUIRE(Lookup(table, *other, direction) == ids(SimpleLookup(rules, other_portrait, direction)));
    }
  }
  CHECK(met > 400);
}

TEST_CASE("every field of every header of a frame tells it from others") {
  Random random(PrintedSeed());
  for (int round = 0; round < 300; ++round) {
    ParsedPacket packet(AnyFrame(random));
    const RuleMatch portrait = PortraitOf(*packet);
    INFO(Rule{.match = portrait}.ToString());
    const RuleTable whole = *RuleTable().With({.id = RuleId{1}, .rule = {.match = portrait}});
    REQUIRE(Lookup(whole, *packet) == Ids{1});
  }
}

TEST_CASE("a header that is named has to be there, whatever its fields") {
  const Bytes udp = UdpFrame({});
  const Bytes vxlan = VxlanFrame({}, TcpFrame({.vlans = {9}}), 77);
  CHECK(Matches("", udp));
  CHECK(Matches("eth / ipv4 / udp /", udp));
  CHECK_FALSE(Matches("tcp /", udp));
  CHECK_FALSE(Matches("vlan /", udp));
  CHECK_FALSE(Matches("ipv6 /", udp));
  CHECK_FALSE(Matches("vxlan /", udp));
  CHECK(Matches("vxlan /", vxlan));
  CHECK(Matches("vxlan vni is 77 / eth / vlan vid is 9 / ipv4 / tcp /", vxlan));
  CHECK_FALSE(Matches("vxlan / udp /", vxlan));
  CHECK_FALSE(Matches("vxlan vni is 78 /", vxlan));
  CHECK(Matches("eth has_vlan is 0 /", udp));
  CHECK_FALSE(Matches("eth has_vlan is 1 /", udp));
  CHECK(Matches("eth has_vlan is 1 /", UdpFrame({.vlans = {0}})));
}

TEST_CASE("the type of Ethernet is that behind the tags, and the tag the outermost") {
  const Bytes tagged = UdpFrame({.vlans = {0xa005, 7}, .outer_vlan_type = Ethertype::kServiceVlan});
  CHECK(Matches("eth type is 0x0800 / vlan vid is 5 pcp is 5 dei is 0 /", tagged));
  CHECK_FALSE(Matches("vlan vid is 7 /", tagged));
}

TEST_CASE("a fragment has no ports, but its protocol") {
  const Bytes fragment = UdpFrame({.flags_offset = Ipv4Header::kMoreFragments});
  CHECK_FALSE(Matches("udp /", fragment));
  CHECK(Matches("ipv4 proto is 17 fragment_offset is 0x2000 fragment_offset mask 0x3fff /", fragment));
}

TEST_CASE("the protocol of IPv6 is the one behind the extension headers") {
  const Bytes frame = UdpFrame(
      {.source = "::1", .destination = "::2", .extensions = {{IpProtocol::kDestinationOptions, Bytes(8)}}});
  CHECK(Matches("ipv6 proto is 17 / udp dst is 2000 /", frame));
  CHECK_FALSE(Matches("ipv6 proto is 60 /", frame));
}

TEST_CASE("a frame that ends early, or was never parsed, matches by what is there") {
  const RuleTable table = TableOf({"pattern eth dst is 02:00:00:00:00:02 / end actions end"});
  CHECK_FALSE(table.needs_layers());
  CHECK(TableOf({"pattern udp / end actions end"}).needs_layers());
  for (const size_t length : {14, 15, 16, 17, 18, 30}) {
    ParsedPacket packet(Cut(UdpFrame({.vlans = {5}}), length));
    packet->layers().outer = {.l3 = 60000, .l3_type = L3Type::kIpv4};  // left by somebody else
    CHECK(Lookup(table, *packet) == Ids{1});
  }
  ParsedPacket nothing(Cut(UdpFrame({}), 13));
  CHECK(Lookup(table, *nothing).empty());
}

TEST_CASE("a tag that was stripped still counts") {
  ParsedPacket packet(UdpFrame({}));
  packet->vlan_stripped = true;
  packet->vlan_tci = 0x6005;
  CHECK(Lookup(TableOf({"pattern vlan vid is 5 pcp is 3 / end actions end"}), *packet) == Ids{1});
}

struct OrderCase {
  std::string claim;
  std::vector<std::string> rules;
  Ids ids;
};

TEST_CASE("rules apply by priority and age, and the first ends it") {
  const std::vector<OrderCase> cases = {
      {"the smallest priority",
       {"priority 5 pattern end actions end", "priority 3 pattern end actions end"},
       {2}},
      {"of equal ones the oldest", {"pattern eth / end actions end", "pattern ipv4 / end actions end"}, {1}},
      {"what does not match is passed by",
       {"pattern tcp / end actions end", "pattern udp / end actions end"},
       {2}},
      {"a sniffer takes a copy of all",
       {"pattern end actions drop / end", "sniffer pattern end actions end"},
       {2, 1}},
      {"equal rules of several owners share",
       {"1:pattern udp / end actions end", "2:pattern udp / end actions end",
        "1:pattern udp / end actions end"},
       {1, 2}},
      {"rules that differ do not",
       {"1:pattern udp / end actions end", "2:pattern ipv4 / end actions end"},
       {1}},
      {"passing on leads to the next priority, not to the next rule",
       {"pattern udp / end actions passthru / end", "pattern ipv4 / end actions end",
        "priority 1 pattern end actions end"},
       {1, 3}},
      {"who shares and does not pass on ends it",
       {"1:pattern end actions passthru / end", "2:pattern end actions end",
        "priority 1 pattern end actions end"},
       {1, 2}},
      {"default rules take what no other ended",
       {"all_default pattern end actions end", "priority 9 pattern udp / end actions passthru / end"},
       {2, 1}},
      {"and nothing else",
       {"all_default pattern end actions end", "priority 9 pattern udp / end actions end"},
       {2}},
      {"the multicast one only multicast", {"multicast_default pattern end actions end"}, {}},
      {"default rules of several owners share",
       {"1:all_default pattern end actions end", "2:all_default pattern end actions end",
        "2:all_default pattern end actions end", "3:all_default priority 1 pattern end actions end"},
       {1, 2}},
      {"egress rules are not for what arrives", {"egress pattern end actions end"}, {}}};
  for (const OrderCase& c : cases) {
    INFO(c.claim);
    ParsedPacket packet(UdpFrame({}));
    CHECK(Lookup(TableOf(c.rules), *packet) == c.ids);
  }
}

TEST_CASE("multicast that nobody took goes to both kinds of default rule, once to each owner") {
  ParsedPacket packet(UdpFrame({.destination_mac = "01:00:5e:00:00:01"}));
  const RuleTable table =
      TableOf({"1:multicast_default pattern end actions end", "2:all_default pattern end actions end",
               "1:all_default pattern end actions end"});
  CHECK(Lookup(table, *packet) == Ids{1, 2});
}

TEST_CASE("egress rules and sniffers meet what is sent, default rules do not") {
  ParsedPacket packet(UdpFrame({}));
  const RuleTable table =
      TableOf({"pattern end actions end", "egress pattern udp / end actions passthru / end",
               "sniffer pattern end actions end", "all_default pattern end actions end"});
  CHECK(Lookup(table, *packet, RuleDirection::kEgress) == Ids{3, 2});
}

TEST_CASE("the flow of a packet makes a match of that flow") {
  Random random(PrintedSeed());
  for (int i = 0; i < 200; ++i) {
    ParsedPacket packet(AnyFrame(random));
    ParsedPacket other(AnyFrame(random));
    FlowKey flow, other_flow;
    if (!ExtractFlowKey(*packet, flow) || !ExtractFlowKey(*other, other_flow)) continue;
    const RuleTable table = *RuleTable().With({.id = RuleId{1}, .rule = {.match = MatchFlow(flow)}});
    REQUIRE(Lookup(table, *packet) == Ids{1});
    if (flow.source_port != 0) REQUIRE(Lookup(table, *other).empty() == (flow != other_flow));
  }
}

// The table as a value.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("a change makes another table and leaves the first as it was") {
  ParsedPacket packet(UdpFrame({}));
  const RuleTable one = TableOf({"pattern end actions end"});
  const RuleTable two =
      *one.With({.id = RuleId{9}, .rule = {.priority = 0, .actions = {.pass_on = true}}, .owner = 5});
  CHECK(Lookup(one, *packet) == Ids{1});
  CHECK(Lookup(two, *packet) == Ids{1, 9});
  CHECK(Lookup(*two.Without(RuleId{1}), *packet) == Ids{9});
  const RuleTable dropping = *two.WithActions(RuleId{9}, {.drop = true});
  CHECK(dropping.Find(RuleId{9})->rule.actions.drop);
  CHECK_FALSE(two.Find(RuleId{9})->rule.actions.drop);
  CHECK(dropping.Find(RuleId{9})->hits == two.Find(RuleId{9})->hits);
}

TEST_CASE("a change that cannot be is refused") {
  const RuleTable table = TableOf({"pattern end actions end"});
  CHECK(table.With({.id = RuleId{1}, .rule = {}}).status().code() == absl::StatusCode::kAlreadyExists);
  CHECK(table.Without(RuleId{2}).status().code() == absl::StatusCode::kNotFound);
  CHECK(table.WithActions(RuleId{2}, {}).status().code() == absl::StatusCode::kNotFound);
  const RuleActions senseless = {.queue = QueueId{1}, .drop = true};
  CHECK(table.With({.id = RuleId{2}, .rule = {.actions = senseless}}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(table.WithActions(RuleId{1}, senseless).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a table saved and restored is the same table (I10)") {
  Random random(PrintedSeed());
  for (int round = 0; round < 50; ++round) {
    RuleTable table;
    for (uint64_t id = 1; id <= 20; ++id) {
      const TableRule rule = {.id = RuleId{id}, .rule = RandomRule(random), .owner = Below(random, 3)};
      rule.hits->packets.Add(Below(random, 100));
      rule.hits->bytes.Add(Below(random, 100));
      table = *table.With(rule);
    }
    const absl::StatusOr<RuleTableState> state = LoadState<RuleTableState>(SaveState(table.Save()));
    REQUIRE(state.ok());
    const RuleTable again = *RuleTable::Restore(*state);
    REQUIRE(again.size() == table.size());
    for (size_t i = 0; i < table.size(); ++i) {
      CHECK(again.rule(i).id == table.rule(i).id);
      CHECK(again.rule(i).owner == table.rule(i).owner);
      CHECK(again.rule(i).rule == table.rule(i).rule);
      CHECK(again.rule(i).hits->packets.value() == table.rule(i).hits->packets.value());
      CHECK(again.rule(i).hits->bytes.value() == table.rule(i).hits->bytes.value());
    }
  }
}

TEST_CASE("a saved table that no table saves is refused") {
  RuleTableState state;
  state.rules = {{.id = RuleId{1}}, {.id = RuleId{1}}};
  CHECK(RuleTable::Restore(state).status().code() == absl::StatusCode::kInvalidArgument);
  state.rules = {{.id = RuleId{1}, .rule = {.actions = {.queue = QueueId{1}, .drop = true}}}};
  CHECK(RuleTable::Restore(state).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(LoadState<RuleTableState>(SaveState(state)).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sluice::testing

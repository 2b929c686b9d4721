// SPDX-License-Identifier: Apache-2.0
// Rules and RSS of the model: who gets which frame, and when a change is in force.
#include <catch2/catch.hpp>

#include "sluice/base/status.h"
#include "sluice/packet/parse.h"
#include "tests/nic/model_pair.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kQueues = 4;

ModelPairOptions FourQueues(ModelNicOptions b = {}) {
  ModelPairOptions options;
  options.b = std::move(b);
  options.b_queues = {.rx_queues = kQueues};
  return options;
}

Bytes FlowFrame(uint16_t source_port) { return UdpFrame({.source_port = source_port}); }

FlowKey KeyOf(const Bytes& frame, ModelPair& pair) {
  const PacketPtr packet = pair.Packet(frame);
  FlowKey key;
  REQUIRE(Parse(*packet) == ParseVerdict::kOk);
  REQUIRE(ExtractFlowKey(*packet, key));
  return key;
}

// Sends the frame; on which queue it came out, or nothing.
std::optional<uint16_t> QueueOf(ModelPair& pair, const Bytes& frame) {
  pair.Send(frame);
  for (uint16_t queue = 0; queue < pair.b().rx_count(); ++queue) {
    if (const PacketPtr arrived = pair.ReceiveOne(queue)) {
      CHECK(arrived->ingress_queue == QueueId{queue});
      return queue;
    }
  }
  return std::nullopt;
}

// What RSS alone would do, by the library's function on a packet of its own.
uint16_t Predicted(ModelPair& pair, const RssConfig& rss, const Bytes& frame) {
  const PacketPtr packet = pair.Packet(frame);
  const uint32_t hash = Parse(*packet) == ParseVerdict::kOk ? RssHash(rss, *packet).hash : 0;
  return rss.QueueFor(hash).value();
}

RuleMatch ByDestination(const MacAddress& mac) {
  return {.outer = {.ethernet = EthernetMatch{.destination = mac}}};
}
RuleMatch ByVlan(uint16_t vid) { return {.outer = {.vlan = VlanMatch{.vid = vid}}}; }
RuleMatch Untagged() { return {.outer = {.ethernet = EthernetMatch{.has_vlan = uint8_t{0}}}}; }

RuleId MustInstall(ModelPair& pair, const Rule& rule) {
  const absl::StatusOr<RuleId> id = pair.b().InstallRule(rule);
  REQUIRE(id.ok());
  return *id;
}

Bytes RandomFrame(Random& random) {
  const FrameSpec spec = {.source = "10.0.0." + std::to_string(Below(random, 256)),
                          .source_port = static_cast<uint16_t>(Below(random, 65536)),
                          .destination_port = static_cast<uint16_t>(Below(random, 65536))};
  const FrameSpec spec6 = {.source = "2001:db8::" + std::to_string(Below(random, 9999)),
                           .destination = "2001:db8::2",
                           .source_port = spec.source_port};
  switch (Below(random, 6)) {
    case 0:
      return TcpFrame(spec);
    case 1:
      return UdpFrame(spec6);
    case 2:
      return Padded(ArpFrame({}));
    case 3:
      return Cut(TcpFrame(spec), 14 + Below(random, 30));
    case 4:
      return TcpFrame(spec6);
    default:
      return UdpFrame(spec);
  }
}

TEST_CASE("RSS puts every frame where its hash says, whatever the frame and the table (I5)") {
  Random random(PrintedSeed());
  ModelPair pair(FourQueues());
  RssConfig rss = RssConfig::Spread(kQueues);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 40; ++i) {
      const Bytes frame = RandomFrame(random);
      INFO("frame of " << frame.size() << " bytes");
      CHECK(QueueOf(pair, frame) == Predicted(pair, rss, frame));
    }
    std::vector<QueueId> table(size_t{1} << Below(random, 8));
    for (QueueId& queue : table) queue = QueueId{static_cast<uint16_t>(Below(random, kQueues))};
    rss = *rss.WithTable(std::move(table));
    REQUIRE(pair.b().SetRss(rss) == absl::OkStatus());
  }
}

TEST_CASE("frames of a burst go where each would go alone, in order, around those that are dropped") {
  Random random(PrintedSeed());
  ModelPair pair(FourQueues({.hardware = {.max_frame = 1514}}));
  MustInstall(pair, {.match = MatchFlow(KeyOf(FlowFrame(3), pair)), .actions = {.drop = true}});
  const RssConfig rss = RssConfig::Spread(kQueues);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::vector<Bytes>> expected(kQueues);
    Burst burst;
    while (burst.room() > 0) {
      const uint64_t fate = Below(random, 8);
      const Bytes frame = fate == 0   ? UdpFrame({.payload_size = 1600})
                          : fate == 1 ? FlowFrame(3)
                                      : RandomFrame(random);
      if (fate > 1) expected[Predicted(pair, rss, frame)].push_back(frame);
      burst.Push(pair.Packet(frame));
    }
    pair.a().tx(QueueId{0}).Send(burst);
    std::vector<std::vector<Bytes>> arrived(kQueues);
    for (uint16_t queue = 0; queue < kQueues; ++queue) {
      Burst received;
      pair.b().rx(QueueId{queue}).Receive(received);
      for (const Packet* packet : received) arrived[queue].push_back(BytesOf(*packet));
    }
    CHECK((arrived == expected));
  }
}

TEST_CASE("arrivals that RSS spread carry their hash and its type") {
  ModelPair pair(FourQueues());
  const RssConfig rss = RssConfig::Spread(kQueues);
  const Bytes frame = FlowFrame(5);
  pair.Send(frame);
  const PacketPtr arrived = pair.ReceiveOne(Predicted(pair, rss, frame));
  REQUIRE(arrived != nullptr);
  CHECK(arrived->rss_type == RssType::kIpv4Udp);
  CHECK(rss.QueueFor(arrived->rss_hash) == arrived->ingress_queue);
}

TEST_CASE("hardware without RSS puts on queue 0 what no rule sends elsewhere") {
  ModelPair pair(FourQueues({.hardware = {.rss_table_size = 0}}));
  for (uint16_t port = 0; port < 20; ++port) CHECK(QueueOf(pair, FlowFrame(port)) == 0);
}

struct MatchCase {
  std::string claim;
  Bytes frame;
  bool matches;
};

void CheckMatches(ModelPair& pair, const RuleMatch& match, const std::vector<MatchCase>& cases) {
  const RuleId id = MustInstall(pair, {.match = match, .actions = {.mark = 7}});
  for (const MatchCase& c : cases) {
    INFO(c.claim);
    const uint64_t before = pair.b().QueryRule(id)->packets;
    pair.Send(c.frame);
    PacketPtr arrived;
    for (uint16_t queue = 0; arrived == nullptr && queue < kQueues; ++queue) arrived = pair.ReceiveOne(queue);
    REQUIRE(arrived != nullptr);
    CHECK(arrived->mark() == (c.matches ? 7u : 0u));
    CHECK(pair.b().QueryRule(id)->packets - before == (c.matches ? 1u : 0u));
  }
}

TEST_CASE("a match is the conjunction of its fields") {
  ModelPair pair(FourQueues({.strip_vlan = GENERATE(false, true)}));
  const MacAddress mac = *MacAddress::Parse("02:00:00:00:00:02");
  SECTION("an empty one matches everything") {
    CheckMatches(pair, {}, {{"UDP", UdpFrame({}), true}, {"14 bytes", Cut(UdpFrame({}), 14), true}});
  }
  SECTION("by destination MAC") {
    CheckMatches(pair, ByDestination(mac),
                 {{"the address", UdpFrame({}), true},
                  {"another", UdpFrame({.destination_mac = "02:00:00:00:00:03"}), false}});
  }
  SECTION("by VLAN") {
    CheckMatches(pair, ByVlan(100),
                 {{"the VLAN, whatever the priority", UdpFrame({.vlans = {0x6064}}), true},
                  {"another", UdpFrame({.vlans = {101}}), false},
                  {"none", UdpFrame({}), false},
                  {"the inner tag does not count", UdpFrame({.vlans = {5, 100}}), false}});
  }
  SECTION("VLAN 0 is a priority tag") {
    CheckMatches(pair, ByVlan(0),
                 {{"none", UdpFrame({}), false},
                  {"priority tag", UdpFrame({.vlans = {0x6000}}), true},
                  {"a VLAN", UdpFrame({.vlans = {1}}), false}});
  }
  SECTION("by no tag") {
    CheckMatches(pair, Untagged(),
                 {{"none", UdpFrame({}), true},
                  {"priority tag", UdpFrame({.vlans = {0x6000}}), false},
                  {"a VLAN", UdpFrame({.vlans = {1}}), false}});
  }
  SECTION("by flow") {
    CheckMatches(pair, MatchFlow(KeyOf(FlowFrame(9), pair)),
                 {{"the flow", FlowFrame(9), true},
                  {"with a tag", UdpFrame({.vlans = {3}, .source_port = 9}), true},
                  {"another port", FlowFrame(10), false},
                  {"another protocol", TcpFrame({.source_port = 9}), false},
                  {"not IP", Padded(ArpFrame({})), false}});
  }
  SECTION("by all of them") {
    RuleMatch all = MatchFlow(KeyOf(FlowFrame(9), pair));
    all.outer.ethernet = EthernetMatch{.destination = mac};
    all.outer.vlan = VlanMatch{.vid = 3};
    CheckMatches(pair, all,
                 {{"all", UdpFrame({.vlans = {3}, .source_port = 9}), true},
                  {"all but the VLAN", FlowFrame(9), false}});
  }
}

TEST_CASE("the smallest priority wins, and among equal ones the oldest rule") {
  ModelPair pair(FourQueues());
  MustInstall(pair, {.priority = 5, .actions = {.queue = QueueId{1}}});
  const RuleId second = MustInstall(pair, {.priority = 3, .actions = {.queue = QueueId{2}}});
  MustInstall(pair, {.priority = 3, .actions = {.queue = QueueId{3}}});
  CHECK(QueueOf(pair, FlowFrame(1)) == 2);
  CHECK(pair.b().RemoveRule(second) == absl::OkStatus());
  CHECK(QueueOf(pair, FlowFrame(1)) == 3);
}

TEST_CASE("a rule that passes on marks, and the next priority decides") {
  ModelPair pair(FourQueues());
  MustInstall(pair, {.actions = {.mark = 7, .pass_on = true}});
  MustInstall(pair, {.priority = 1, .match = ByVlan(3), .actions = {.queue = QueueId{3}}});
  MustInstall(pair, {.kind = RuleKind::kAllDefault, .actions = {.queue = QueueId{1}}});
  pair.Send(UdpFrame({.vlans = {3}}));
  pair.Send(FlowFrame(1));
  CHECK(pair.ReceiveOne(3)->mark() == 7);
  CHECK(pair.ReceiveOne(1)->mark() == 7);
}

TEST_CASE("a rule that drops is counted as such") {
  ModelPair pair(FourQueues());
  const RuleId id =
      MustInstall(pair, {.match = MatchFlow(KeyOf(FlowFrame(9), pair)), .actions = {.drop = true}});
  CHECK(QueueOf(pair, FlowFrame(9)) == std::nullopt);
  CHECK(QueueOf(pair, FlowFrame(10)).has_value());
  CHECK(pair.b().drops()[DropReason::kRule] == 1);
  CHECK(pair.b().QueryRule(id)->packets == 1);
}

TEST_CASE("an update changes what a rule does, and keeps its place and its counts") {
  ModelPair pair(FourQueues());
  const RuleId id = MustInstall(pair, {.actions = {.queue = QueueId{1}}});
  CHECK(QueueOf(pair, FlowFrame(1)) == 1);
  CHECK(pair.b().UpdateRule(id, {.queue = QueueId{2}}) == absl::OkStatus());
  CHECK(QueueOf(pair, FlowFrame(1)) == 2);
  CHECK(pair.b().QueryRule(id)->packets == 2);
}

struct RefusalCase {
  ModelHardware hardware;
  Rule rule;
  std::string capability;
};

TEST_CASE("a rule that the hardware cannot hold is refused by the name of what is missing") {
  const MacAddress mac = *MacAddress::Parse("02:00:00:00:00:02");
  const std::vector<RefusalCase> cases = {
      {{.max_rules = 0}, {}, "steering rules"},
      {{.match_ethernet = false}, {.match = ByDestination(mac)}, "match by Ethernet header"},
      {{.match_vlan = false}, {.match = ByVlan(5)}, "match by VLAN"},
      {{.match_flow = false}, {.match = MatchFlow({})}, "match by flow"},
      {{.match_tunnel = false}, {.match = {.vxlan = VxlanMatch{}}}, "match by tunnel"},
      {{}, {.kind = RuleKind::kSniffer}, "copies of a frame"},
      {{}, {.actions = {.queue = QueueId{1}, .pass_on = true}}, "copies of a frame"},
      {{}, {.direction = RuleDirection::kEgress}, "egress rules"}};
  for (const RefusalCase& c : cases) {
    ModelPair pair(FourQueues({.hardware = c.hardware}));
    const absl::Status refused = pair.b().InstallRule(c.rule).status();
    CHECK(refused.code() == absl::StatusCode::kUnimplemented);
    CHECK(ProblemOf(refused)->capability == c.capability);
  }
}

TEST_CASE("a rule that makes no sense is refused, and no rule is in force then") {
  ModelPair pair(FourQueues());
  CHECK(pair.b().InstallRule({.actions = {.queue = QueueId{kQueues}}}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(pair.b().InstallRule({.actions = {.queue = QueueId{1}, .drop = true}}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(pair.b().InstallRule({.match = ByVlan(4095)}).status().code() == absl::StatusCode::kInvalidArgument);
  const RuleId id = MustInstall(pair, {.actions = {.queue = QueueId{1}}});
  CHECK(pair.b().UpdateRule(id, {.queue = QueueId{9}}).code() == absl::StatusCode::kInvalidArgument);
  CHECK(QueueOf(pair, FlowFrame(1)) == 1);
}

TEST_CASE("hardware has room for so many rules and no more") {
  ModelPair pair(FourQueues({.hardware = {.max_rules = 2}}));
  const RuleId first = MustInstall(pair, {});
  MustInstall(pair, {});
  CHECK(pair.b().InstallRule({}).status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(pair.b().RemoveRule(first) == absl::OkStatus());
  MustInstall(pair, {});
}

TEST_CASE("hardware that cannot update in place says what to do instead") {
  ModelPair pair(FourQueues({.hardware = {.rule_update = false}}));
  const RuleId id = MustInstall(pair, {.priority = 5, .actions = {.queue = QueueId{1}}});
  const absl::Status refused = pair.b().UpdateRule(id, {.queue = QueueId{2}});
  CHECK(refused.code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOf(refused)->capability == "in-place rule update");
  // The remedy works: there is no moment without a rule.
  MustInstall(pair, {.priority = 4, .actions = {.queue = QueueId{2}}});
  CHECK(QueueOf(pair, FlowFrame(1)) == 2);
  CHECK(pair.b().RemoveRule(id) == absl::OkStatus());
  CHECK(QueueOf(pair, FlowFrame(1)) == 2);
}

TEST_CASE("hardware that takes no RSS table while running keeps that of Start") {
  ModelPair pair(FourQueues({.hardware = {.rss_update = false}}));
  CHECK(pair.b().SetRss(RssConfig::Spread(2)).code() == absl::StatusCode::kUnimplemented);
  const RssConfig start = RssConfig::Spread(kQueues);
  CHECK(QueueOf(pair, FlowFrame(3)) == Predicted(pair, start, FlowFrame(3)));
}

TEST_CASE("an RSS table larger than the hardware's is refused") {
  ModelPair pair(FourQueues({.hardware = {.rss_table_size = 16}}));
  CHECK(pair.b().SetRss(RssConfig::Spread(4)).code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("rules and RSS end with Stop") {
  ModelPair pair(FourQueues());
  const RuleId id = MustInstall(pair, {.actions = {.drop = true}});
  REQUIRE(pair.b().Stop() == absl::OkStatus());
  CHECK(pair.b().rss_generation() == 0);
  REQUIRE(pair.b().Start({.rx_queues = kQueues, .pool = &pair.pool()}) == absl::OkStatus());
  CHECK(pair.b().RemoveRule(id).code() == absl::StatusCode::kNotFound);
  CHECK(QueueOf(pair, FlowFrame(1)).has_value());
}

// Late table writes.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("a late table write takes effect after so many arrivals") {
  ModelPair pair(FourQueues({.table_write_delay = {.arrivals = 3}}));
  const Bytes frame = FlowFrame(1);
  const uint16_t before = Predicted(pair, RssConfig::Spread(kQueues), frame);
  const uint16_t after = static_cast<uint16_t>((before + 1) % kQueues);
  MustInstall(pair, {.actions = {.queue = QueueId{after}}});
  for (int i = 0; i < 3; ++i) CHECK(QueueOf(pair, frame) == before);
  CHECK(QueueOf(pair, frame) == after);
}

TEST_CASE("a late table write falls between two packets of one burst") {
  ModelPair pair({.b = {.table_write_delay = {.arrivals = 5}}});
  REQUIRE(pair.b().InstallRule({.actions = {.mark = 1}}).ok());
  for (int i = 0; i < 10; ++i) pair.Send(FlowFrame(1));
  Burst burst;
  REQUIRE(pair.b().rx(QueueId{0}).Receive(burst) == 10);
  for (size_t i = 0; i < 10; ++i) CHECK(burst[i].mark() == (i < 5 ? 0u : 1u));
}

TEST_CASE("a late table write takes effect after so much time of the virtual clock") {
  ManualClock clock;
  ModelPair pair(FourQueues({.clock = &clock, .table_write_delay = {.time = absl::Milliseconds(2)}}));
  const RssConfig to_three = *RssConfig::Spread(kQueues).WithTable({QueueId{3}});
  REQUIRE(pair.b().SetRss(to_three) == absl::OkStatus());
  clock.Advance(absl::Milliseconds(2) - absl::Nanoseconds(1));
  QueueOf(pair, FlowFrame(1));
  CHECK(pair.b().rss_generation() == 1);
  clock.Advance(absl::Nanoseconds(1));
  CHECK(QueueOf(pair, FlowFrame(1)) == 3);
  CHECK(pair.b().rss_generation() == to_three.generation());
}

TEST_CASE("late table writes take effect in their order, each in its time") {
  ModelPair pair(FourQueues({.table_write_delay = {.arrivals = 2}}));
  const RuleId id = MustInstall(pair, {.actions = {.queue = QueueId{1}}});
  QueueOf(pair, FlowFrame(1));
  CHECK(pair.b().UpdateRule(id, {.queue = QueueId{2}}) == absl::OkStatus());
  QueueOf(pair, FlowFrame(1));
  CHECK(QueueOf(pair, FlowFrame(1)) == 1);
  CHECK(QueueOf(pair, FlowFrame(1)) == 2);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// The words of rules that verbs have beyond a match and a queue: copies, defaults, egress, and what cards lack.
#include <algorithm>
#include <catch2/catch.hpp>

#include "sluice/base/status.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/frames.h"
#include "tests/support/nic_bench.h"

namespace sluice::testing {
namespace {

constexpr QueueId kFirst{0};
constexpr uint16_t kQueues = 3;
const std::string kFar = "02:00:00:00:00:02";

// Two ports; b has three queues, which are not spread over but by rules.
class Ports {
 public:
  explicit Ports(const VerbsNicOptions& options = {})
      : bench(VerbsSubject({.hardware = {.max_work_queues = 0}}, options)) {
    QueueOptions there = bench.OptionsB();
    there.rx_queues = kQueues;
    bench.Start(bench.OptionsA(), there);
  }

  static absl::StatusOr<RuleId> Install(Nic& nic, const std::string& text) {
    return nic.InstallRule(*Rule::Parse(text));
  }
  RuleId OnA(const std::string& text) { return Must(Install(bench.a(), text)); }
  RuleId OnB(const std::string& text) { return Must(Install(bench.b(), text)); }

  // How many copies come out of each queue of b.
  std::vector<size_t> Deliver(const Bytes& frame) {
    Burst burst;
    burst.Push(MakePacket(bench.pool_a(), frame));
    CHECK(bench.a().tx(kFirst).Send(burst) == 1);
    return Received();
  }
  std::vector<size_t> Received() {
    std::vector<size_t> counts(kQueues);
    for (uint16_t i = 0; i < kQueues; ++i) {
      Burst arrived;
      counts[i] = bench.b().rx(QueueId{i}).Receive(arrived);
    }
    return counts;
  }

  NicBench bench;

 private:
  static RuleId Must(const absl::StatusOr<RuleId>& id) {
    if (!id.ok()) FAIL(id.status().ToString());
    return *id;
  }
};

using Counts = std::vector<size_t>;
const Bytes kFrame = UdpFrame({.destination_mac = kFar});
const Bytes kGroupFrame = UdpFrame({.destination_mac = "01:00:5e:00:00:01"});

TEST_CASE("a rule of a verbs port that passes on delivers a copy, and the frame goes its way") {
  Ports ports;
  const RuleId id = ports.OnB("priority 1 pattern ipv4 / end actions queue index 1 / count / passthru / end");
  CHECK(ports.Deliver(kFrame) == Counts{1, 1, 0});
  ports.OnB("priority 2 pattern ipv4 / end actions queue index 2 / end");
  CHECK(ports.Deliver(kFrame) == Counts{0, 1, 1});
  CHECK(ports.bench.b().QueryRule(id)->packets == 2);
  REQUIRE(ports.bench.b().RemoveRule(id) == absl::OkStatus());
  CHECK(ports.Deliver(kFrame) == Counts{0, 0, 1});
}

TEST_CASE("a sniffer of a verbs port gets a copy of what comes and of what is sent") {
  Ports ports;
  ports.OnB("sniffer pattern end actions queue index 2 / end");
  CHECK(ports.Deliver(kFrame) == Counts{1, 0, 1});
  Burst back;
  back.Push(MakePacket(ports.bench.pool_b(), kFrame));
  CHECK(ports.bench.b().tx(kFirst).Send(back) == 1);
  CHECK(ports.Received() == Counts{0, 0, 1});
  Burst arrived;
  CHECK(ports.bench.a().rx(kFirst).Receive(arrived) == 1);
}

TEST_CASE("default rules of a verbs port take what no other takes") {
  Ports ports({.take = VerbsTake::kNothing});
  CHECK(ports.Deliver(kFrame) == Counts{0, 0, 0});
  const RuleId all = ports.OnB("all_default priority 1 pattern end actions queue index 0 / end");
  ports.OnB("multicast_default pattern end actions queue index 1 / end");
  CHECK(ports.Deliver(kFrame) == Counts{1, 0, 0});
  CHECK(ports.Deliver(kGroupFrame) == Counts{0, 1, 0});
  ports.OnB("priority 9 pattern ipv4 / end actions queue index 2 / end");
  CHECK(ports.Deliver(kGroupFrame) == Counts{0, 0, 1});
  REQUIRE(ports.bench.b().RemoveRule(all) == absl::OkStatus());
  CHECK(ports.Deliver(EthernetFrame({.destination_mac = kFar}, Ethertype{0x88b6})) == Counts{0, 0, 0});
}

TEST_CASE("a rule of egress counts what is sent, and drops it") {
  Ports ports;
  const RuleId counts = ports.OnA("egress priority 2 pattern ipv4 / end actions count / passthru / end");
  CHECK(ports.Deliver(kFrame) == Counts{1, 0, 0});
  CHECK(ports.bench.a().QueryRule(counts)->packets == 1);
  const RuleId drops = ports.OnA("egress priority 1 pattern ipv4 / udp / end actions drop / end");
  CHECK(ports.Deliver(kFrame) == Counts{0, 0, 0});
  CHECK(ports.Deliver(TcpFrame({.destination_mac = kFar})) == Counts{1, 0, 0});
  REQUIRE(ports.bench.a().RemoveRule(drops) == absl::OkStatus());
  CHECK(ports.Deliver(kFrame) == Counts{1, 0, 0});
}

TEST_CASE("rules of a verbs port that would mean something else on the card are refused") {
  Ports ports;
  const auto refused = [&ports](const std::string& text) {
    return ProblemOf(Ports::Install(ports.bench.b(), text).status())->capability;
  };
  CHECK(refused("pattern ipv4 / end actions count / passthru / end") == "rules that only pass on");
  CHECK(refused("sniffer pattern end actions rss / end") == "RSS");
  CHECK(refused("priority 32765 pattern end actions queue index 0 / end") == "priority 32765");
  ports.OnB("priority 32764 pattern end actions queue index 0 / end");
}

const VerbsCapability& Find(const VerbsNic& nic, const std::string& name) {
  const auto& all = nic.described();
  const auto at = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
  if (at == all.end()) FAIL(name);
  return *at;
}

TEST_CASE("a verbs port knows from trials which rules its card takes, and why not others") {
  SoftContext good({}, MakeNullWire());
  const auto nic = OpenOn(good, {.device = "soft0"});
  for (const char* name : {"rules", "rules by VLAN", "rules by IPv4", "rules by IPv6", "rules by TCP port",
                           "rules by VXLAN", "rules by GRE", "rules by inner headers", "rules that drop",
                           "rules that mark", "rules that pass on", "rules of egress"}) {
    INFO(name);
    CHECK(Find(*nic, name).found);
  }
  SoftContext poor({.hardware = {.max_rules = 0}}, MakeNullWire());
  const auto without = OpenOn(poor, {.device = "soft0"});
  CHECK_FALSE(Find(*without, "rules").found);
  CHECK_THAT(Find(*without, "rules").detail, Catch::Contains("ibv_create_flow: "));
}

}  // namespace
}  // namespace sluice::testing

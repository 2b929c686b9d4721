// SPDX-License-Identifier: Apache-2.0
// The verbs backend over software verbs devices, through genuine libibverbs.
#include "sluice/nic/verbs_nic.h"

#include <catch2/catch.hpp>

#include "sluice/base/status.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/frames.h"
#include "tests/support/nic_bench.h"

namespace sluice::testing {
namespace {

TEST_CASE("a verbs port keeps the promises of a Nic", "[conformance]") {
  Subject subject = VerbsSubject({});
  subject.ring = 1024;  // more than the cable holds
  CheckConformance(subject);
}

TEST_CASE("a verbs port keeps the promises of a Nic on the poorest device", "[conformance]") {
  Subject subject = VerbsSubject({.hardware = SoftwareVerbsHardware::Poor()});
  subject.back_pressure = false;  // the cable holds four times the longest ring
  CheckConformance(subject);
}

TEST_CASE("a verbs port keeps the promises of a Nic on devices that lack this or that", "[conformance]") {
  const SoftwareVerbsHardware hardware =
      GENERATE(SoftwareVerbsHardware{.max_work_queues = 0}, SoftwareVerbsHardware{.extended_send = false},
               SoftwareVerbsHardware{.max_pieces = 1, .max_segmented = 0},
               SoftwareVerbsHardware{.send_checksums = false, .receive_checksums = false});
  Subject subject = VerbsSubject({.hardware = hardware});
  subject.ring = 1024;
  subject.restarts = 10;
  CheckConformance(subject);
}

TEST_CASE("a verbs port keeps the promises of a Nic with plain completions and frames in descriptors",
          "[conformance]") {
  Subject subject = VerbsSubject({}, {.max_inline = 128, .marks = false});
  subject.ring = 1024;
  CheckConformance(subject);
}

constexpr QueueId kFirst{0};
constexpr QueueId kSecond{1};

// Two ports with two queues each, started, on a bench of numbered frames.
class Ports {
 public:
  Ports() : bench(VerbsSubject({})) {
    QueueOptions options = bench.OptionsB();
    options.rx_queues = 2;
    bench.Start(bench.OptionsA(), options);
  }

  RuleId Install(const std::string& text) {
    const absl::StatusOr<RuleId> id = bench.b().InstallRule(*Rule::Parse(text));
    if (!id.ok()) FAIL(id.status().ToString());
    return *id;
  }
  // How many of ten frames come out of b's second queue.
  uint64_t OnSecond() {
    const uint64_t before = bench.b().rx(kSecond).stats().packets;
    bench.SendAll(0, 10);
    (void)bench.Collect(10);
    return bench.b().rx(kSecond).stats().packets - before;
  }

  NicBench bench;
};

TEST_CASE("rules of a verbs port steer by priority, until they are removed") {
  Ports ports;
  CHECK(ports.OnSecond() == 0);
  const RuleId low =
      ports.Install("priority 5 pattern eth dst is 02:00:00:00:00:02 / end actions queue index 1 / end");
  CHECK(ports.OnSecond() == 10);
  const RuleId high = ports.Install("priority 4 pattern end actions queue index 0 / end");
  CHECK(ports.OnSecond() == 0);
  CHECK(ports.bench.b().RemoveRule(high) == absl::OkStatus());
  CHECK(ports.OnSecond() == 10);
  CHECK(ports.bench.b().RemoveRule(low) == absl::OkStatus());
  CHECK(ports.OnSecond() == 0);
}

TEST_CASE("a rule of a verbs port that drops lets nothing come") {
  Ports ports;
  ports.Install("pattern eth dst is 02:00:00:00:00:02 / end actions drop / end");
  Burst burst = ports.bench.Frames(0, 10);
  CHECK(ports.bench.a().tx(kFirst).Send(burst) == 10);
  CHECK(ports.bench.b().rx(kFirst).Receive(burst) == 0);
}

TEST_CASE("a rule that verbs cannot say, or a port cannot do, is refused with its name") {
  Ports ports;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"pattern eth has_vlan is 0 / end actions queue index 0 / end", "match by presence of a tag"},
      {"pattern vlan / end actions queue index 0 / end", "match by presence of a tag"},
      {"pattern ipv4 fragment_offset is 1 / end actions queue index 0 / end", "match by fragment offset"},
      {"priority 65536 pattern end actions queue index 0 / end", "priority 65536"},
      {"pattern end actions rss / end", "RSS of frames of any kind"}};
  for (const auto& [text, capability] : cases) {
    const absl::Status refused = ports.bench.b().InstallRule(*Rule::Parse(text)).status();
    CHECK(refused.code() == absl::StatusCode::kUnimplemented);
    CHECK(ProblemOf(refused)->capability == capability);
  }
  CHECK(ports.bench.b().InstallRule({.actions = {.queue = QueueId{2}}}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("arrivals carry the mark of the rule that they met, and no other") {
  Ports ports;
  ports.Install("pattern eth dst is 02:00:00:00:00:02 / end actions queue index 1 / mark id 77 / end");
  Burst burst = ports.bench.Frames(0, 3);
  burst.Push(MakePacket(ports.bench.pool_a(), UdpFrame({.destination_mac = "02:00:00:00:00:09"})));
  CHECK(ports.bench.a().tx(kFirst).Send(burst) == 4);
  Burst marked, plain;
  CHECK(ports.bench.b().rx(kSecond).Receive(marked) == 3);
  CHECK(ports.bench.b().rx(kFirst).Receive(plain) == 1);
  for (const Packet* packet : marked) CHECK(packet->mark() == 77);
  CHECK(plain[0].mark() == 0);
}

TEST_CASE("a rule that comes while frames do marks all that it takes from then on") {
  Ports ports;
  Burst before, after;
  ports.bench.SendAll(0, 10);
  while (before.size() < 10) (void)ports.bench.b().rx(kFirst).Receive(before);
  ports.Install("pattern eth dst is 02:00:00:00:00:02 / end actions queue index 1 / mark id 5 / end");
  ports.bench.SendAll(10, 10);
  while (after.size() < 10) (void)ports.bench.b().rx(kSecond).Receive(after);
  for (const Packet* packet : before) CHECK(packet->mark() == 0);
  for (const Packet* packet : after) CHECK(packet->mark() == 5);
}

TEST_CASE("a verbs port that is not to tell marks refuses rules that mark") {
  NicBench bench(VerbsSubject({}, {.marks = false}));
  bench.Start();
  const absl::Status refused = bench.b().InstallRule({.actions = {.queue = kFirst, .mark = 1}}).status();
  CHECK(refused.code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOf(refused)->capability == "marks");
}

TEST_CASE("a verbs port does not hear what it sends to all") {
  const auto hardware = GENERATE(SoftwareVerbsHardware{}, SoftwareVerbsHardware::Poor());
  Subject subject = VerbsSubject({.hardware = hardware});
  subject.ring = 64;
  NicBench bench(subject);
  bench.Start();
  Burst burst;
  burst.Push(MakePacket(bench.pool_a(), UdpFrame({.destination_mac = "ff:ff:ff:ff:ff:ff"})));
  REQUIRE(bench.a().tx(kFirst).Send(burst) == 1);
  Burst heard, own;
  REQUIRE(bench.Until([&] { return bench.b().rx(kFirst).Receive(heard) == 1; }));
  CHECK(bench.a().rx(kFirst).Receive(own) == 0);
}

TEST_CASE("a verbs port that takes nothing gets what rules say") {
  const auto take = GENERATE(VerbsTake::kNothing, VerbsTake::kOwnAddress);
  NicBench bench(VerbsSubject({}, {.take = take}));
  bench.Start();
  Burst burst = bench.Frames(0, 5);
  bench.a().tx(kFirst).Send(burst);
  CHECK(bench.b().rx(kFirst).Receive(burst) == (take == VerbsTake::kOwnAddress ? 5u : 0u));
  REQUIRE(bench.b().InstallRule({.actions = {.queue = kFirst}}).ok());
  bench.SendAll(5, 5);
  CHECK(bench.Collect(5).size() == 5);
}

TEST_CASE("the link of a verbs port goes down with its peer, and what is sent then is counted") {
  NicBench bench(VerbsSubject({}));
  bench.Start();
  bench.SendAll(0, 1);
  CHECK(bench.Collect(1) == Numbers{0});
  (void)bench.TakeEvents();
  REQUIRE(bench.b().Stop() == absl::OkStatus());
  Burst nothing;
  REQUIRE(bench.Until(
      [&] { return bench.a().rx(kFirst).Receive(nothing) == 0 && bench.a().link() == LinkState::kDown; }));
  const std::vector<NicEvent> events = bench.TakeEvents();
  REQUIRE_FALSE(events.empty());
  CHECK(events.back().kind == NicEvent::Kind::kLinkDown);
  Burst burst = bench.Frames(1, 3);
  CHECK(bench.a().tx(kFirst).Send(burst) == 3);
  CHECK(bench.a().tx(kFirst).stats().drops[DropReason::kLinkDown] == 3);
}

TEST_CASE("a verbs port says of each capability whether it is there, or what is missing") {
  const Rig poor = VerbsRig({.hardware = SoftwareVerbsHardware::Poor()});
  const auto& described = static_cast<const VerbsNic&>(*poor.a).described();
  REQUIRE_FALSE(described.empty());
  for (const VerbsCapability& capability : described) {
    INFO(capability.name);
    CHECK((capability.found || !capability.detail.empty()));
  }
  CHECK_FALSE(described[0].found);
  CHECK(described[0].detail == "raw_packet_caps has no IP_CSUM");
  CHECK_FALSE(poor.a->capabilities().send_l4_checksum);
}

TEST_CASE("a verbs port that cannot be is refused with what there is") {
  const absl::Status refused = OpenVerbsNic({.device = "rdma:no_such_0/1"}).status();
  CHECK(refused.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(ProblemOf(refused)->what, Catch::Contains("no such RDMA device"));
  CHECK(OpenVerbsNic({.device = "mlx5_0/x"}).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sluice::testing

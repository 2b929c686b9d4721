// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/faulty_wire.h"

#include <catch2/catch.hpp>
#include <set>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kPackets = 2048;
using Numbers = std::vector<uint32_t>;

// A pair wire, the sending end of which is faulty; and the receiving one, when `receive` says so.
struct FaultyCable {
  explicit FaultyCable(FaultyWireOptions sender, FaultyWireOptions receiver = {}, uint32_t ring = 256) {
    auto made = PacketPool::Create({.packets = kPackets, .huge_pages = HugePages::kOff});
    REQUIRE(made.ok());
    pool = *std::move(made);
    auto [here, there] = MakeWirePair();
    sender.clock = receiver.clock = &clock;
    a = MakeFaultyWire(std::move(here), sender);
    b = MakeFaultyWire(std::move(there), receiver);
    REQUIRE(a->Open({.ring = ring, .pool = pool.get()}) == absl::OkStatus());
    REQUIRE(b->Open({.ring = ring, .pool = pool.get()}) == absl::OkStatus());
  }
  ~FaultyCable() {
    a.reset();
    b.reset();
    CHECK(pool->available() == kPackets);
  }

  // Frames numbered from `first`; how many were taken.
  size_t Send(uint32_t first, size_t count) {
    Burst burst;
    REQUIRE(pool->Get(burst, count) == count);
    for (size_t i = 0; i < count; ++i) {
      burst[i].SetLength(64);
      const uint32_t number = first + static_cast<uint32_t>(i);
      std::memcpy(burst[i].data(), &number, sizeof(number));
    }
    return a->Transmit(0, burst);
  }
  Numbers Receive() {
    Numbers numbers;
    Burst burst;
    while (b->Receive(burst) > 0) {
      for (uint32_t number; !burst.empty(); burst.PopFront()) {
        std::memcpy(&number, burst[0].data(), sizeof(number));
        numbers.push_back(number);
      }
    }
    return numbers;
  }

  ManualClock clock;
  std::unique_ptr<PacketPool> pool;
  std::unique_ptr<FaultyWire> a;
  std::unique_ptr<FaultyWire> b;
};

TEST_CASE("a scripted loss takes the frame of that number, and counts it") {
  FaultyCable cable({.transmit = {.lose = {3, 5}}});
  CHECK(cable.Send(1, 6) == 6);
  CHECK(cable.Receive() == Numbers{1, 2, 4, 6});
  CHECK(cable.a->transmit_counts().lost == 2);
  CHECK(cable.a->drops()[DropReason::kFault] == 2);
}

TEST_CASE("a scripted duplicate comes right behind its original") {
  FaultyCable cable({.transmit = {.duplicate = {2}}});
  CHECK(cable.Send(1, 3) == 3);
  CHECK(cable.Receive() == Numbers{1, 2, 2, 3});
  CHECK(cable.a->transmit_counts().duplicated == 1);
}

TEST_CASE("a re-ordered frame is overtaken by so many, and stays until they come") {
  FaultyCable cable({.transmit = {.reorder = {2}, .reorder_by = 3}});
  CHECK(cable.Send(1, 4) == 4);
  CHECK(cable.Receive() == Numbers{1, 3, 4});
  CHECK(cable.a->transmit_counts().held == 1);
  CHECK(cable.Send(5, 2) == 2);
  CHECK(cable.Receive() == Numbers{5, 2, 6});
}

TEST_CASE(
    "another plan holds from the next frame on, by the numbers of all frames, and what is held stays so") {
  FaultyCable cable({.transmit = {.reorder = {2}, .reorder_by = 2}});
  CHECK(cable.Send(1, 2) == 2);
  cable.a->SetPlans({.lose = {4}}, {}, 1);
  CHECK(cable.Send(3, 2) == 2);
  cable.a->SetPlans({}, {}, 1);
  CHECK(cable.Send(5, 1) == 1);
  CHECK(cable.Receive() == Numbers{1, 3, 5, 2});
  const FaultCounts counts = cable.a->transmit_counts();
  CHECK((counts.injected == 5 && counts.delivered == 4 && counts.lost == 1 && counts.held == 0));
}

TEST_CASE("a delayed frame holds up what comes behind, until its time") {
  FaultyCable cable({.transmit = {.delay = {2}, .delay_time = absl::Microseconds(50)}});
  CHECK(cable.Send(1, 4) == 4);
  CHECK(cable.Receive() == Numbers{1});
  cable.clock.Advance(absl::Microseconds(50) - absl::Nanoseconds(1));
  cable.a->Reclaim(0);
  CHECK(cable.Receive().empty());
  cable.clock.Advance(absl::Nanoseconds(1));
  cable.a->Reclaim(0);
  CHECK(cable.Receive() == Numbers{2, 3, 4});
}

TEST_CASE("slow completions fill the ring: the sender is refused until they are through") {
  FaultyCable cable({.transmit = {.delay_chance = 1}}, {}, 8);
  CHECK(cable.Send(1, 20) == 8);
  CHECK(cable.Send(9, 5) == 0);
  cable.clock.Advance(absl::Microseconds(50));
  CHECK(cable.Send(9, 5) == 5);
  CHECK(cable.Receive() == Numbers{1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("faults of receiving befall arrivals, and held arrivals keep their receiver awake") {
  FaultyCable cable({}, {.receive = {.lose = {1}, .delay = {3}}});
  CHECK(cable.Send(1, 4) == 4);
  CHECK(cable.Receive() == Numbers{2});
  CHECK_FALSE(cable.b->Arm());
  cable.clock.Advance(absl::Microseconds(50));
  CHECK(cable.Receive() == Numbers{3, 4});
  CHECK(cable.b->Arm());
}

TEST_CASE("the link is down at the times that were given, takes nothing then, and loses what arrives") {
  FaultyCable cable({.outages = {{.from = 1000, .to = 2000}}}, {.outages = {{.from = 1000, .to = 2000}}});
  CHECK(cable.Send(1, 2) == 2);
  CHECK(cable.a->link() == LinkState::kUp);
  cable.clock.Advance(absl::Nanoseconds(1000));
  CHECK(cable.a->link() == LinkState::kDown);
  CHECK(cable.Send(3, 2) == 0);
  CHECK(cable.Receive().empty());
  CHECK(cable.b->drops()[DropReason::kLinkDown] == 2);
  cable.clock.Advance(absl::Nanoseconds(1000));
  CHECK(cable.Send(5, 1) == 1);
  CHECK(cable.Receive() == Numbers{5});
}

TEST_CASE("why the link is down, where the wire knows, is told with the model NIC's event") {
  ManualClock clock;
  auto pool = std::move(PacketPool::Create({.packets = kPackets, .huge_pages = HugePages::kOff})).value();
  const FaultyWireOptions script = {.outages = {{.from = 1000, .to = 2000}}, .clock = &clock};
  auto nic = std::move(ModelNic::Open({}, MakeFaultyWire(MakeLoopWire(), script))).value();
  REQUIRE(nic->Start({.pool = pool.get()}) == absl::OkStatus());
  const auto told = [&nic] {
    const std::vector<NicEvent> events = nic->TakeEvents();
    return events.size() == 1 ? events[0].detail : "";
  };
  CHECK(told() == "the peer is there");
  clock.Advance(absl::Nanoseconds(1000));
  CHECK(told() == "a scripted outage");
}

TEST_CASE("what is held when the wire is closed is counted as stopped") {
  FaultyCable cable({.transmit = {.delay_chance = 1}});
  CHECK(cable.Send(1, 5) == 5);
  cable.a->Close();
  CHECK(cable.a->drops()[DropReason::kStopped] == 5);
  CHECK(cable.a->transmit_counts().held == 0);
}

TEST_CASE("the same seed gives the same faults") {
  const FaultyWireOptions options = {
      .transmit = {.lose_chance = 0.2, .duplicate_chance = 0.1, .reorder_chance = 0.1}, .seed = 42};
  FaultyCable one(options);
  FaultyCable two(options);
  one.Send(0, 64);
  two.Send(0, 64);
  const Numbers received = one.Receive();
  CHECK(received == two.Receive());
  CHECK(received.size() != 64);
}

FaultPlan RandomPlan(Random& random) {
  const auto chance = [&random] { return static_cast<double>(Below(random, 30)) / 100; };
  FaultPlan plan = {.lose_chance = chance(),
                    .duplicate_chance = chance(),
                    .reorder_chance = chance(),
                    .delay_chance = chance(),
                    .reorder_by = static_cast<uint32_t>(1 + Below(random, 6))};
  for (auto* script : {&plan.lose, &plan.duplicate, &plan.reorder, &plan.delay}) {
    for (uint64_t i = Below(random, 4); i > 0; --i) script->push_back(1 + Below(random, 100));
  }
  return plan;
}

void CheckAccounts(const FaultCounts& counts) {
  CHECK(counts.injected + counts.duplicated == counts.delivered + counts.lost + counts.held);
}

TEST_CASE("injected and duplicated = delivered + lost + held, at any moment of any script (I2)") {
  Random random(PrintedSeed());
  for (int script = 0; script < 30; ++script) {
    FaultyCable cable({.transmit = RandomPlan(random), .seed = random()},
                      {.receive = RandomPlan(random), .seed = random()}, 64);
    uint64_t sent = 0;
    std::multiset<uint32_t> received;
    for (int step = 0; step < 60; ++step) {
      sent += cable.Send(static_cast<uint32_t>(sent), Below(random, 20));
      if (Below(random, 3) == 0) cable.clock.Advance(absl::Microseconds(Below(random, 80)));
      if (Below(random, 2) == 0) {
        for (const uint32_t number : cable.Receive()) received.insert(number);
      }
      CheckAccounts(cable.a->transmit_counts());
      CheckAccounts(cable.b->receive_counts());
    }
    const FaultCounts out = cable.a->transmit_counts();
    const FaultCounts in = cable.b->receive_counts();
    CHECK(out.injected == sent);
    CHECK(in.delivered == received.size());
    CHECK(cable.a->drops()[DropReason::kFault] == out.lost);
    for (const uint32_t number : received) CHECK(received.count(number) <= 4);
  }
}

}  // namespace
}  // namespace sluice::testing

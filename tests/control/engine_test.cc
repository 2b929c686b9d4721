// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/engine.h"

#include "sluice/base/status.h"
#include "tests/control/engine_rig.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/lender.h"

namespace sluice::testing {
namespace {

using Frames = std::vector<Bytes>;

TEST_CASE("guests on one engine reach each other, and once learned nobody else hears them") {
  EngineRig rig;
  FarEnd one = rig.Add("one"), two = rig.Add("two"), three = rig.Add("three");
  one.Send(*rig.pool, FrameBetween(1, 2));
  rig.Settle();
  CHECK(two.Receive() == Frames{FrameBetween(1, 2)});
  CHECK(three.Receive() == Frames{FrameBetween(1, 2)});  // unknown: flooded
  two.Send(*rig.pool, FrameBetween(2, 1));
  rig.Settle();
  CHECK(one.Receive() == Frames{FrameBetween(2, 1)});
  CHECK(three.Receive().empty());
}

TEST_CASE("a worker without a transmit queue hands its packets to the one that has it, in order") {
  EngineRig rig(2);
  FarEnd one = rig.Add("one"), two = rig.Add("two", {.max_tx_queues = 1});
  two.Send(*rig.pool, FrameBetween(2, 1));
  rig.Settle();
  Frames sent;
  for (int i = 0; i < 200; ++i) {
    sent.push_back(FrameBetween(1, 2, "number " + std::to_string(i)));
    one.Send(*rig.pool, sent.back());
  }
  // Whichever worker received them, both polled in turn.
  rig.Settle();
  CHECK(two.Receive() == sent);
  CHECK(BalanceOf(rig.engine->snapshot()).difference() == 0);
}

TEST_CASE("with one transmit queue for many workers, packets are handed over") {
  EngineRig rig(3);
  FarEnd one = rig.Add("one", {}, {.rx_queues = 3}), two = rig.Add("two", {.max_tx_queues = 1});
  for (uint16_t port = 0; port < 300; ++port) {  // many flows, so that every receive queue gets some
    one.Send(*rig.pool, FlowBetween(1, 2, port));
    if (port % 50 == 0) rig.Settle();
  }
  rig.Settle();
  CHECK(two.Receive().size() == 300);
  uint64_t handed_over = 0;
  for (const WorkerSnapshot& worker : rig.engine->snapshot().workers) handed_over += worker.stats.handed_over;
  CHECK(handed_over > 0);
}

struct Stillness {
  ManualClock clock;
};

// A port that takes nothing, and frames for it that are lent: more than anybody holds. Time stands still until told.
struct StuckPort : Stillness, EngineRig {
  static constexpr size_t kFrames = 500;

  // The sender's packets come to the second worker. It hands them over to the first, or sends them itself.
  StuckPort(bool hands_over, size_t payload)
      : EngineRig(2, {.mode = WorkerMode::kInterrupt}, clock),
        stuck(Add("stuck", {.max_tx_queues = hands_over ? uint16_t{1} : uint16_t{2}}, {.tx_ring = 8})),
        sender(Add("sender")),
        frame(UdpFrame(
            {.source_mac = MacOfGuest(2), .destination_mac = MacOfGuest(1), .payload_size = payload})) {
    stuck.Send(*pool, FrameBetween(1, 2));
    Settle();
    for (size_t i = 0; i < kFrames; ++i) {
      Burst burst;
      burst.Push(guest.Lend(*pool, frame, 64));
      REQUIRE(sender.nic->tx(QueueId{0}).Send(burst) == 1);
      if (i % 50 == 0) Settle();
    }
    Settle();
  }
  void Wait() {
    clock.Advance(absl::Milliseconds(11));
    Settle();
  }
  size_t Waiting() const {
    const PortSnapshot port = engine->snapshot().ports[0];
    return port.handed_over + port.switching.held;
  }
  // How many come when the port takes frames again.
  size_t Drain() {
    size_t came = 0;
    for (Frames got = stuck.Receive(); !got.empty(); got = stuck.Receive()) {
      came += static_cast<size_t>(std::count(got.begin(), got.end(), frame));
      Settle();
    }
    return came;
  }
  bool Balanced() const { return BalanceOf(engine->snapshot()).difference() == 0; }

  FarEnd stuck, sender;
  CountingLender guest;
  Bytes frame;
};

TEST_CASE("what waits for a port that takes nothing borrows no more, whichever worker has it") {
  const bool hands_over = GENERATE(false, true);
  const size_t payload = GENERATE(size_t{1400}, size_t{9000});
  CAPTURE(hands_over, payload);
  StuckPort rig(hands_over, payload);
  const size_t dropped = rig.guest.returned;
  const size_t waiting = rig.Waiting();
  CHECK(waiting >= (hands_over ? StuckPort::kFrames / 2 : 64));

  rig.Wait();
  CHECK(rig.guest.returned == dropped + waiting);
  CHECK(rig.Waiting() == waiting);
  CHECK(rig.Drain() == StuckPort::kFrames - dropped);
  CHECK(rig.guest.returned == StuckPort::kFrames);
  CHECK(rig.Balanced());
}

TEST_CASE("what waits for a port and finds no buffers is dropped, counted, also when the port is gone") {
  const bool hands_over = GENERATE(false, true);
  CAPTURE(hands_over);
  StuckPort rig(hands_over, 9000);
  std::vector<PacketPtr> hoard;
  while (rig.pool->available() >= rig.pool->options().packets / 4) hoard.push_back(rig.pool->GetOne());
  const size_t dropped = rig.guest.returned;
  rig.Wait();
  CHECK(rig.guest.returned >= dropped + 64);
  CHECK(rig.Balanced());
  const auto drops = [&] {
    const Snapshot now = rig.engine->snapshot();
    return now.dropped_between[DropReason::kNoBuffer] + now.l2_switch.drops[DropReason::kNoBuffer];
  };
  const uint64_t before = drops();
  CHECK(before == rig.guest.returned - dropped);
  REQUIRE(rig.engine->RemovePort(rig.stuck.port).ok());
  CHECK(drops() == before);
  CHECK(rig.Balanced());
}

TEST_CASE("a removed port takes its packets with it, counted, and the others go on") {
  EngineRig rig;
  FarEnd one = rig.Add("one"), two = rig.Add("two"), three = rig.Add("three");
  one.Send(*rig.pool, FrameBetween(1, 2));
  rig.Settle();
  REQUIRE(rig.engine->RemovePort(two.port).ok());
  CHECK(rig.engine->nic(two.port) == nullptr);
  one.Send(*rig.pool, FrameBetween(1, 3));
  rig.Settle();
  CHECK(three.Receive().size() == 2);
  const Snapshot after = rig.engine->snapshot();
  CHECK(after.ports.size() == 2);
  CHECK(after.departed.sent == 1);
  CHECK(BalanceOf(after).difference() == 0);
}

TEST_CASE("ports come and go under traffic, and every packet is accounted for") {
  EngineRig rig(2, {.mode = WorkerMode::kAdaptive});
  FarEnd one = rig.Add("one"), two = rig.Add("two");
  {
    RunningWorkers running(*rig.engine);
    for (int round = 0; round < 60; ++round) {
      FarEnd passing = rig.Add("passing", {.max_tx_queues = round % 2 == 0 ? uint16_t{1} : uint16_t{2}});
      for (int i = 0; i < 30; ++i) {
        one.Send(*rig.pool, FrameBetween(1, 9));  // nobody has it: to every port, each time
        two.Receive();
      }
      REQUIRE(rig.engine->RemovePort(passing.port).ok());
    }
  }
  rig.Settle();
  const Balance balance = BalanceOf(rig.engine->snapshot());
  CHECK(balance.received == 60 * 30);
  CHECK(balance.difference() == 0);
}

TEST_CASE("an engine gives every buffer back") {
  EngineRig rig(2);
  {
    FarEnd one = rig.Add("one"), two = rig.Add("two");
    for (int i = 0; i < 100; ++i) one.Send(*rig.pool, FrameBetween(1, 2));
    rig.Settle();
    rig.engine.reset();
  }
  CHECK(rig.pool->available() == rig.pool->options().packets);
}

TEST_CASE("what cannot be added is refused with a remedy, and nothing has changed") {
  EngineRig rig;
  FarEnd one = rig.Add("one");
  const auto refused = [&](const PortOptions& options) {
    auto [here, there] = MakeWirePair();
    return rig.engine->AddPort(ModelNic::Open({.name = "x"}, std::move(here)).value(), options).status();
  };
  for (const absl::Status& status :
       {refused({.switching = {.name = "one"}}), refused({.rx_ring = 1000}), refused({.rx_queues = 1000}),
        rig.engine->AddPort(nullptr, {}).status(), rig.engine->RemovePort(PortId{7}),
        Engine::Create({.pool = nullptr}).status(),
        Engine::Create({.pool = rig.pool.get(), .workers = 0}).status()}) {
    INFO(status);
    REQUIRE(ProblemOf(status).has_value());
    CHECK_FALSE(ProblemOf(status)->remedy.empty());
  }
  CHECK(rig.engine->snapshot().ports.size() == 1);
  CHECK(rig.engine->l2_switch().ports().size() == 1);
}

TEST_CASE("a link that goes down is told as an event of its port") {
  EngineRig rig;
  FarEnd one = rig.Add("one");
  rig.engine->TakeEvents();
  REQUIRE(one.nic->Stop().ok());
  const std::vector<PortEvent> events = rig.engine->TakeEvents();
  REQUIRE(events.size() == 1);
  CHECK(events[0].port == one.port);
  CHECK(events[0].event.kind == NicEvent::Kind::kLinkDown);
}

TEST_CASE("a device that is gone is told once, and the snapshot shows it until its port is removed") {
  EngineRig rig;
  FarEnd one = rig.Add("one"), two = rig.Add("two");
  rig.engine->TakeEvents();
  CHECK_FALSE(rig.engine->snapshot().ports[0].gone);
  one.nic.reset();
  const std::vector<PortEvent> events = rig.engine->TakeEvents();
  REQUIRE(events.size() == 2);
  CHECK(events[0].event.kind == NicEvent::Kind::kLinkDown);
  CHECK(events[1].event.kind == NicEvent::Kind::kRemoved);
  CHECK(events[1].port == one.port);
  CHECK(rig.engine->TakeEvents().empty());
  CHECK(rig.engine->snapshot().ports[0].gone);
  CHECK_FALSE(rig.engine->snapshot().ports[1].gone);
  CHECK(rig.engine->RemovePort(one.port).ok());
  CHECK(rig.engine->snapshot().ports.size() == 1);
}

TEST_CASE("carrying packets allocates nothing") {
  EngineRig rig;
  FarEnd one = rig.Add("one"), two = rig.Add("two");
  two.Send(*rig.pool, FrameBetween(2, 1));
  rig.Settle();
  for (int i = 0; i < 500; ++i) one.Send(*rig.pool, FrameBetween(1, 2));
  const AllocationCounter counter;
  rig.Settle();
  CHECK(counter.allocations() == 0);
  CHECK(two.Receive().size() == 500);
}

}  // namespace
}  // namespace sluice::testing

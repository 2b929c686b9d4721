// SPDX-License-Identifier: Apache-2.0
#include "sluice/control/worker.h"

#include <poll.h>

#include "tests/control/engine_rig.h"

namespace sluice::testing {
namespace {

bool Readable(int fd) {
  pollfd watched = {fd, POLLIN, 0};
  return poll(&watched, 1, 0) == 1;
}

// Waits for one frame; the bound is only for a test that fails.
bool ReceivesOne(FarEnd& guest) {
  const Nanoseconds give_up = Clock::Monotonic().Now() + 20'000'000'000;
  while (guest.Receive().empty()) {
    if (Clock::Monotonic().Now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("no wake-up is lost, whenever the packet comes") {
  const WorkerMode mode = GENERATE(WorkerMode::kInterrupt, WorkerMode::kAdaptive);
  EngineRig rig(2, {.mode = mode, .idle_before_sleep = absl::Microseconds(5)});
  FarEnd one = rig.Add("one"), two = rig.Add("two", {.max_tx_queues = 1});
  {
    RunningWorkers running(*rig.engine);  // they sleep a minute at a time: a lost wake-up fails the test
    for (uint16_t i = 0; i < 2000; ++i) {
      one.Send(*rig.pool, FlowBetween(1, 2, i));
      REQUIRE(ReceivesOne(two));
      for (int pause = 0; pause < i % 97; ++pause) std::this_thread::yield();  // towards the edge of sleep
    }
  }
  // Both received some, and the one without the transmit queue had to wake the other.
  CHECK(rig.engine->worker(WorkerId{0}).stats().packets > 100);
  CHECK(rig.engine->worker(WorkerId{1}).stats().handed_over > 100);
}

TEST_CASE("a sleeping worker is woken for what another hands over to it") {
  EngineRig rig(2);
  FarEnd two = rig.Add("two", {.max_tx_queues = 1}), one = rig.Add("one", {.max_rx_queues = 1});
  Worker& sender = rig.engine->worker(WorkerId{0});
  Worker& receiver = rig.engine->worker(WorkerId{1});
  while (!sender.PrepareToSleep()) sender.PollOnce();
  one.Send(*rig.pool, FrameBetween(1, 2));
  CHECK_FALSE(Readable(sender.fd()));
  REQUIRE(receiver.PollOnce() == 1);
  CHECK(Readable(sender.fd()));
  CHECK_FALSE(sender.PrepareToSleep());
  sender.PollOnce();
  CHECK(two.Receive().size() == 1);
}

TEST_CASE("an idle worker that may sleep makes few polls, and is still there for a packet") {
  EngineRig rig(1, {.mode = WorkerMode::kAdaptive, .idle_before_sleep = absl::ZeroDuration()});
  FarEnd one = rig.Add("one"), two = rig.Add("two");
  RunningWorkers running(*rig.engine);
  one.Send(*rig.pool, FrameBetween(1, 2));
  REQUIRE(ReceivesOne(two));
  const Worker& worker = rig.engine->worker(WorkerId{0});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the thing under test is time spent idle
  const uint64_t before = worker.stats().polls;
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  CHECK(worker.stats().polls - before < 50);
  one.Send(*rig.pool, FrameBetween(1, 2));
  CHECK(ReceivesOne(two));
}

TEST_CASE("PrepareToSleep is true only when nothing waits, and then the descriptor wakes") {
  EngineRig rig;
  FarEnd one = rig.Add("one"), two = rig.Add("two");
  Worker& worker = rig.engine->worker(WorkerId{0});
  rig.Settle();
  while (!worker.PrepareToSleep()) worker.PollOnce();
  CHECK_FALSE(Readable(worker.fd()));
  one.Send(*rig.pool, FrameBetween(1, 2));
  CHECK(Readable(worker.fd()));
  CHECK_FALSE(worker.PrepareToSleep());
  CHECK(worker.PollOnce() == 1);
  CHECK(two.Receive().size() == 1);
}

TEST_CASE("a port that is added wakes a sleeping worker, which then serves it") {
  EngineRig rig;
  Worker& worker = rig.engine->worker(WorkerId{0});
  while (!worker.PrepareToSleep()) worker.PollOnce();
  FarEnd one = rig.Add("one");
  CHECK(Readable(worker.fd()));
  while (!worker.PrepareToSleep()) worker.PollOnce();
  one.Send(*rig.pool, FrameBetween(1, 2));
  CHECK(Readable(worker.fd()));
}

TEST_CASE("Wake ends the sleep of now or the next one, and only that") {
  EngineRig rig;
  Worker& worker = rig.engine->worker(WorkerId{0});
  worker.PrepareToSleep();
  while (!worker.PrepareToSleep()) worker.PollOnce();
  worker.Wake();
  CHECK(Readable(worker.fd()));
  CHECK_FALSE(worker.PrepareToSleep());
  CHECK(worker.PrepareToSleep());
  CHECK_FALSE(Readable(worker.fd()));
}

TEST_CASE("packets held for a port that takes none make the worker look again by itself") {
  EngineRig rig;
  FarEnd one = rig.Add("one"), two = rig.Add("two", {}, {.tx_ring = 8});
  two.Send(*rig.pool, FrameBetween(2, 1));
  rig.Settle();
  for (int i = 0; i < 20; ++i) one.Send(*rig.pool, FrameBetween(1, 2));
  rig.Settle();
  Worker& worker = rig.engine->worker(WorkerId{0});
  while (!worker.PrepareToSleep()) worker.PollOnce();
  CHECK(worker.needs_tick());
  CHECK(two.Receive().size() == 8);
  rig.Settle();
  CHECK(two.Receive().size() == 8);
  rig.Settle();
  CHECK(two.Receive().size() == 4);
}

}  // namespace
}  // namespace sluice::testing

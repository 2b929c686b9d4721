// SPDX-License-Identifier: Apache-2.0
// What happens to verbs ports by itself: sleepers that are woken, queues that fail, links and devices that go.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "nic/softverbs/private_abi_internal.h"
#include "nic/verbs/verbs_nic_internal.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/nic_bench.h"

namespace sluice::testing {
namespace {

constexpr QueueId kFirst{0};

bool Readable(int fd, int milliseconds = 0) {
  pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&entry, 1, milliseconds) == 1;
}

// Devices whose contexts are at hand, and ports on them.
class Ports {
 public:
  Ports() : bench(VerbsSubject()) { bench.Start(); }

  VerbsNicImpl& a() { return static_cast<VerbsNicImpl&>(bench.a()); }
  SoftContext& soft_a() { return *around().first; }
  ibv_context* context_a() { return soft_a().context(); }

  // As the device would tell it.
  void Tell(ibv_event_type type, const void* element) {
    const VerbsAsyncRecord record{
        .element = reinterpret_cast<uintptr_t>(element), .type = static_cast<uint32_t>(type), .reserved = 0};
    REQUIRE(write(context_a()->async_fd, &record, sizeof(record)) == sizeof(record));
  }
  size_t Count(NicEvent::Kind kind) {
    const std::vector<NicEvent> events = bench.a().TakeEvents();
    return static_cast<size_t>(std::count_if(events.begin(), events.end(),
                                             [kind](const NicEvent& one) { return one.kind == kind; }));
  }
  void Exchange() {
    bench.SendAll(7, 20);
    CHECK(bench.Collect(20) == Consecutive(7, 20));
    CHECK(SendFromPeer(bench, 9, 20) == Consecutive(9, 20));
  }

  NicBench bench;

 private:
  using Around = std::pair<std::unique_ptr<SoftContext>, std::unique_ptr<SoftContext>>;
  Around& around() { return *static_cast<Around*>(bench.rig().around.get()); }
};

TEST_CASE("a worker that sleeps between frames is woken for each") {
  constexpr uint32_t kFrames = 300;
  Ports ports;
  RxQueue& rx = ports.bench.b().rx(kFirst);
  REQUIRE(rx.fd() >= 0);
  std::atomic<uint32_t> received{0};
  std::atomic<bool> overslept{false};
  std::thread worker([&] {
    while (received < kFrames && !overslept) {
      Burst burst;
      received += static_cast<uint32_t>(rx.Receive(burst));
      if (burst.empty() && rx.Arm() && received < kFrames) overslept = !Readable(rx.fd(), 20'000);
    }
  });
  for (uint32_t i = 0; i < kFrames && !overslept; ++i) {
    Burst burst = ports.bench.Frames(i, 1);
    while (!burst.empty()) ports.bench.a().tx(kFirst).Send(burst);
    // Some at the heels of the last, others after its receiver may have gone to sleep.
    while (i % 3 != 0 && received <= i && !overslept) ports.bench.a().tx(kFirst).Reclaim();
  }
  worker.join();
  CHECK_FALSE(overslept);
  CHECK(received == kFrames);
}

TEST_CASE("a cable that is pulled and put back shows as events of the link, on a descriptor") {
  Ports ports;
  (void)ports.bench.TakeEvents();
  CHECK_FALSE(Readable(ports.a().event_fd()));
  for (const bool plugged : {false, true}) {
    ports.soft_a().device().PlugCable(plugged);
    CHECK(Readable(ports.a().event_fd()));
    CHECK(ports.Count(plugged ? NicEvent::Kind::kLinkUp : NicEvent::Kind::kLinkDown) == 1);
    CHECK_FALSE(Readable(ports.a().event_fd()));
  }
  ports.Exchange();
}

// Stops a queue of a, as a card does that cannot go on.
void Break(Ports& ports, bool receive) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_ERR;
  ibv_qp& pair = receive ? ports.a().receiver(kFirst).pair() : ports.a().sender(kFirst);
  REQUIRE(ibv_modify_qp(&pair, &attr, IBV_QP_STATE) == 0);
}

TEST_CASE("a queue of a verbs port that fails is mended, told of once, and carries on") {
  const bool receive = GENERATE(true, false);
  Ports ports;
  for (int round = 0; round < 5; ++round) {
    ports.Exchange();
    (void)ports.bench.TakeEvents();
    Break(ports, receive);
    Burst burst = ports.bench.Frames(0, 3);
    ports.bench.a().tx(kFirst).Send(burst);
    Burst none;
    ports.bench.Until([&] {
      ports.bench.a().rx(kFirst).Receive(none);
      ports.bench.a().tx(kFirst).Reclaim();
      return Readable(ports.a().event_fd());
    });
    CHECK(ports.Count(NicEvent::Kind::kQueueError) == 1);
    CHECK(ports.Count(NicEvent::Kind::kQueueError) == 0);
    CHECK_FALSE(Readable(ports.a().event_fd()));
    (void)ports.bench.Collect(receive ? 3 : 0);
  }
  ports.Exchange();
}

TEST_CASE("each frame that is under way on a transmit queue that fails arrives, or is counted, once") {
  Ports ports;
  TxQueue& tx = ports.bench.a().tx(kFirst);
  uint32_t taken = 0;
  for (int round = 0; round < 20; ++round) {
    Burst burst = ports.bench.Frames(taken, 40);
    taken += static_cast<uint32_t>(tx.Send(burst));
    Break(ports, false);
    burst = ports.bench.Frames(taken, 5);
    taken += static_cast<uint32_t>(tx.Send(burst));
    if (round % 3 == 0) ports.bench.PollB();
    tx.Reclaim();
  }
  const uint64_t lost = tx.stats().drops.total();
  CHECK(lost == tx.stats().drops[DropReason::kDeviceError]);
  Numbers arrived = ports.bench.Collect(taken - lost);
  CHECK(arrived.size() == taken - lost);
  CHECK(std::is_sorted(arrived.begin(), arrived.end()));
  CHECK(std::adjacent_find(arrived.begin(), arrived.end()) == arrived.end());
  ports.bench.PollB();
  CHECK(ports.bench.Collect(0).empty());
}

TEST_CASE("a queue pair that the card calls failed is mended, though nothing comes back from it") {
  Ports ports;
  (void)ports.bench.TakeEvents();
  ports.Tell(IBV_EVENT_QP_FATAL, &ports.a().sender(kFirst));
  ports.Tell(IBV_EVENT_QP_FATAL, &ports.a().receiver(kFirst).pair());
  CHECK(ports.Count(NicEvent::Kind::kQueueError) == 0);  // the queues do it, when they are polled
  Burst none;
  ports.bench.a().rx(kFirst).Receive(none);
  ports.bench.a().tx(kFirst).Reclaim();
  CHECK(Readable(ports.a().event_fd()));
  CHECK(ports.Count(NicEvent::Kind::kQueueError) == 2);
  ports.Exchange();
}

TEST_CASE("a device that goes is told of once, and what is sent to it is counted") {
  Ports ports;
  (void)ports.bench.TakeEvents();
  ports.Tell(IBV_EVENT_DEVICE_FATAL, nullptr);
  ports.Tell(IBV_EVENT_DEVICE_FATAL, nullptr);
  CHECK(Readable(ports.a().event_fd()));
  CHECK(ports.Count(NicEvent::Kind::kRemoved) == 1);
  CHECK(ports.Count(NicEvent::Kind::kRemoved) == 0);
  CHECK(ports.a().link() == LinkState::kDown);
  Burst burst = ports.bench.Frames(0, 5);
  CHECK(ports.bench.a().tx(kFirst).Send(burst) == 5);
  CHECK(ports.bench.a().drops()[DropReason::kLinkDown] == 5);
}

}  // namespace
}  // namespace sluice::testing

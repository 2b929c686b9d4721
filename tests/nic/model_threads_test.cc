// SPDX-License-Identifier: Apache-2.0
// The model under many threads: a poller for each queue, a sender for each lane, and a control thread that changes the
// tables all the while.
#include <poll.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "sluice/packet/headers.h"
#include "tests/support/frames.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kQueues = 3;
constexpr uint16_t kLanes = 2;
constexpr uint16_t kFlows = 8;  // of each lane
constexpr uint32_t kFramesPerFlow = 400;
constexpr size_t kNumberAt = 42;  // behind UDP over IPv4

Bytes FlowFrame(uint16_t flow) {
  return UdpFrame({.source_port = flow, .zero_udp_checksum = true, .payload_size = 18});
}

// What one poller saw, flow by flow.
struct Seen {
  std::vector<uint32_t> next = std::vector<uint32_t>(kLanes * kFlows);  // the least number that may come
  uint64_t packets = 0;
  bool in_order = true;

  void Add(const Packet& packet) {
    const uint16_t flow = HeaderAt<UdpHeader>(packet.data(), 34)->source_port.get();
    const uint32_t number = HeaderAt<Be32>(packet.data(), kNumberAt)->get();
    in_order &= number >= next[flow];
    next[flow] = number + 1;
    ++packets;
  }
};

class Arena {
 public:
  explicit Arena(bool lossless) {
    auto made = PacketPool::Create({.packets = 8192, .huge_pages = HugePages::kOff});
    REQUIRE(made.ok());
    pool = *std::move(made);
    auto [here, there] = MakeWirePair();
    a = Open({}, std::move(here), {.tx_queues = kLanes, .tx_ring = 256, .pool = pool.get()});
    b = Open({.lossless = lossless}, std::move(there),
             {.rx_queues = kQueues, .rx_ring = 128, .pool = pool.get()});
  }
  ~Arena() {
    CHECK(a->Stop() == absl::OkStatus());
    CHECK(b->Stop() == absl::OkStatus());
    CHECK(pool->available() == pool->options().packets);
  }
  static std::unique_ptr<ModelNic> Open(const ModelNicOptions& options, std::unique_ptr<Wire> wire,
                                        const QueueOptions& queues) {
    auto nic = ModelNic::Open(options, std::move(wire));
    REQUIRE(nic.ok());
    REQUIRE((*nic)->Start(queues) == absl::OkStatus());
    return *std::move(nic);
  }

  // Sends every flow of the lane, in turn, each numbered.
  void SendLane(uint16_t lane) {
    std::vector<Bytes> frames;
    for (uint16_t f = 0; f < kFlows; ++f)
      frames.push_back(FlowFrame(static_cast<uint16_t>(lane * kFlows + f)));
    for (uint32_t number = 0; number < kFramesPerFlow; ++number) {
      Burst burst;
      for (const Bytes& frame : frames) {
        PacketPtr packet;
        while ((packet = MakePacket(*pool, frame)) == nullptr) std::this_thread::yield();
        *HeaderAt<Be32>(packet->data(), kNumberAt) = number;
        burst.Push(std::move(packet));
      }
      while (!burst.empty()) {
        if (a->tx(QueueId{lane}).Send(burst) == 0) std::this_thread::yield();
      }
    }
  }

  bool AllDone() const {
    const uint64_t total = kLanes * kFlows * uint64_t{kFramesPerFlow};
    return received.load(std::memory_order_acquire) + b->drops().total() >= total;
  }

  std::unique_ptr<PacketPool> pool;
  std::unique_ptr<ModelNic> a;
  std::unique_ptr<ModelNic> b;
  std::atomic<uint64_t> received{0};
};

size_t PollOnce(Arena& arena, uint16_t queue, Seen& seen) {
  Burst burst;
  const size_t got = arena.b->rx(QueueId{queue}).Receive(burst);
  for (const Packet* packet : burst) seen.Add(*packet);
  arena.received.fetch_add(got, std::memory_order_release);
  return got;
}

std::vector<std::thread> StartSenders(Arena& arena) {
  std::vector<std::thread> senders;
  for (uint16_t lane = 0; lane < kLanes; ++lane)
    senders.emplace_back([&arena, lane] { arena.SendLane(lane); });
  return senders;
}

void JoinAll(std::vector<std::thread>& threads) {
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE(
    "every flow keeps its order and no packet is lost or doubled, with a poller for each queue (I1, I2)") {
  const bool lossless = GENERATE(true, false);
  Arena arena(lossless);
  std::vector<Seen> seen(kQueues);
  std::vector<std::thread> threads = StartSenders(arena);
  for (uint16_t queue = 0; queue < kQueues; ++queue) {
    threads.emplace_back([&arena, queue, &mine = seen[queue]] {
      while (!arena.AllDone()) {
        if (PollOnce(arena, queue, mine) == 0) std::this_thread::yield();
      }
    });
  }
  JoinAll(threads);
  uint64_t packets = 0;
  for (const Seen& one : seen) {
    CHECK(one.in_order);
    packets += one.packets;
  }
  CHECK(packets + arena.b->drops().total() == kLanes * kFlows * kFramesPerFlow);
  if (lossless) CHECK(arena.b->drops().total() == 0);
}

TEST_CASE("rules and RSS change under traffic, and each packet meets one whole table (I5)") {
  // In every table, frames of a flow go to the queue that their mark names: a mixture of two tables would show.
  Arena arena(true);
  std::atomic<bool> mixed = false;
  std::vector<std::thread> threads = StartSenders(arena);
  for (uint16_t queue = 0; queue < kQueues; ++queue) {
    threads.emplace_back([&, queue] {
      Burst burst;
      while (!arena.AllDone()) {
        const size_t got = arena.b->rx(QueueId{queue}).Receive(burst);
        for (const Packet* packet : burst) {
          if (packet->mark() != 0 && packet->mark() != queue + 1u) mixed.store(true);
        }
        burst.Clear();
        arena.received.fetch_add(got, std::memory_order_release);
        if (got == 0) std::this_thread::yield();
      }
    });
  }
  RssConfig rss = RssConfig::Spread(kQueues);
  const RuleId id = *arena.b->InstallRule({.priority = 1});
  for (uint32_t round = 0; !arena.AllDone(); ++round) {
    const QueueId queue{static_cast<uint16_t>(round % kQueues)};
    CHECK(arena.b->UpdateRule(id, {.queue = queue, .mark = queue.value() + 1u}) == absl::OkStatus());
    rss = *rss.WithTable({queue});
    CHECK(arena.b->SetRss(rss) == absl::OkStatus());
    std::this_thread::yield();
  }
  JoinAll(threads);
  CHECK_FALSE(mixed.load());
}

TEST_CASE("queues that sleep when idle miss nothing, though they wake each other") {
  Arena arena(true);
  std::atomic<bool> slept_through = false;
  std::vector<Seen> seen(kQueues);
  std::vector<std::thread> threads = StartSenders(arena);
  for (uint16_t queue = 0; queue < kQueues; ++queue) {
    threads.emplace_back([&, queue] {
      RxQueue& rx = arena.b->rx(QueueId{queue});
      while (!arena.AllDone()) {
        if (PollOnce(arena, queue, seen[queue]) > 0 || !rx.Arm()) continue;
        pollfd entry = {.fd = rx.fd(), .events = POLLIN, .revents = 0};
        // The end of the traffic wakes nobody: a short sleep ends it. Only a long one with work waiting is a fault.
        for (int nap = 0; poll(&entry, 1, 20) == 0 && !arena.AllDone(); ++nap) {
          if (nap == 250) return slept_through.store(true);
        }
      }
    });
  }
  JoinAll(threads);
  CHECK_FALSE(slept_through.load());
  for (const Seen& one : seen) CHECK(one.in_order);
}

}  // namespace
}  // namespace sluice::testing

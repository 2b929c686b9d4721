// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/pair_wire.h"

#include <poll.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <thread>

#include "nic/model/packet_ring_internal.h"
#include "sluice/base/status.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kPackets = 2048;

struct Cable {
  explicit Cable(const WireOptions& shape = {.ring = 64}) : pool(MakePool()), options(shape) {
    std::tie(a, b) = MakeWirePair();
    options.pool = pool.get();
    REQUIRE(a->Open(options) == absl::OkStatus());
    REQUIRE(b->Open(options) == absl::OkStatus());
  }
  ~Cable() {
    a.reset();
    b.reset();
    CHECK(pool->available() == kPackets);
  }
  static std::unique_ptr<PacketPool> MakePool() {
    auto made = PacketPool::Create({.packets = kPackets, .huge_pages = HugePages::kOff});
    REQUIRE(made.ok());
    return *std::move(made);
  }

  // A packet of length 100 + number; only its metadata counts here.
  Burst Packets(uint32_t first, size_t count) {
    Burst burst;
    REQUIRE(pool->Get(burst, count) == count);
    for (size_t i = 0; i < count; ++i) burst[i].SetLength(100 + first + static_cast<uint32_t>(i));
    return burst;
  }
  size_t Send(uint32_t first, size_t count, uint16_t lane = 0) {
    Burst burst = Packets(first, count);
    return a->Transmit(lane, burst);
  }
  std::vector<uint32_t> Receive() {
    std::vector<uint32_t> numbers;
    Burst burst;
    while (b->Receive(burst) > 0) {
      for (; !burst.empty(); burst.PopFront()) numbers.push_back(burst[0].length() - 100);
    }
    return numbers;
  }

  std::unique_ptr<PacketPool> pool;
  WireOptions options;
  std::unique_ptr<Wire> a;
  std::unique_ptr<Wire> b;
};

bool Readable(int fd) {
  pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 0) == 1;
}

using Numbers = std::vector<uint32_t>;

TEST_CASE("a lane that is full takes what fits, and the rest when there is room") {
  Cable cable({.ring = 8});
  Burst burst = cable.Packets(0, 12);
  CHECK(cable.a->Transmit(0, burst) == 8);
  CHECK(burst.size() == 4);
  CHECK(cable.Receive() == Numbers{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(cable.a->Transmit(0, burst) == 4);
  CHECK(cable.Receive() == Numbers{8, 9, 10, 11});
}

TEST_CASE("no packet is copied on a pair wire") {
  Cable cable;
  Burst burst = cable.Packets(0, 3);
  const Packet* const second = &burst[1];
  cable.a->Transmit(0, burst);
  cable.b->Receive(burst);
  CHECK(&burst[1] == second);
}

TEST_CASE("the lanes of a wire keep their order, and none starves another") {
  Cable cable({.lanes = 3, .ring = 64});
  for (uint16_t lane = 0; lane < 3; ++lane) CHECK(cable.Send(lane * 100u, 64, lane) == 64);
  std::map<uint32_t, uint32_t> next;
  for (int turn = 0; turn < 3; ++turn) {
    Burst burst;
    REQUIRE(cable.b->Receive(burst) == Burst::kCapacity);
    CHECK(next.count((burst[0].length() - 100) / 100) == 0);
    for (; !burst.empty(); burst.PopFront()) {
      const uint32_t number = burst[0].length() - 100;
      CHECK(number % 100 == next[number / 100]++);
    }
  }
}

TEST_CASE("the link is up while both ends are open") {
  auto [a, b] = MakeWirePair();
  CHECK(a->link() == LinkState::kDown);
  REQUIRE(a->Open({}) == absl::OkStatus());
  CHECK(a->link() == LinkState::kDown);
  REQUIRE(b->Open({}) == absl::OkStatus());
  CHECK(a->link() == LinkState::kUp);
  b.reset();
  CHECK(a->link() == LinkState::kDown);
}

TEST_CASE("an end that closes loses what it did not receive, and not what it sent") {
  Cable cable;
  CHECK(cable.Send(0, 5) == 5);
  cable.a->Close();
  CHECK(cable.Receive() == Numbers{0, 1, 2, 3, 4});

  REQUIRE(cable.a->Open(cable.options) == absl::OkStatus());
  CHECK(cable.Send(5, 5) == 5);
  cable.b->Close();
  CHECK(cable.b->drops()[DropReason::kStopped] == 5);
  CHECK(cable.pool->available() == kPackets);
  CHECK(cable.Send(10, 5) == 0);
}

TEST_CASE("a sender that opens again with other lanes overtakes nothing that is under way") {
  Cable cable;
  CHECK(cable.Send(0, 5) == 5);
  cable.a->Close();
  cable.options.lanes = 2;
  cable.options.ring = 16;
  REQUIRE(cable.a->Open(cable.options) == absl::OkStatus());
  CHECK(cable.Send(5, 5, 1) == 5);
  CHECK(cable.Receive() == Numbers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("both ends are told of the link by their service descriptors") {
  Cable cable;
  cable.a->Service();
  CHECK_FALSE(Readable(cable.a->service_fd()));
  cable.b->Close();
  CHECK(Readable(cable.a->service_fd()));
  CHECK(cable.b->service_fd() == -1);
}

TEST_CASE(
    "an end is gone when it is destroyed, which the other is told, and not while it can be opened again") {
  Cable cable;
  cable.b->Close();
  CHECK_FALSE(cable.a->gone());
  cable.a->Service();
  cable.b.reset();
  CHECK(Readable(cable.a->service_fd()));
  CHECK(cable.a->gone());
}

TEST_CASE("a wire is not opened twice, nor with lanes that cannot be") {
  auto [a, b] = MakeWirePair();
  CHECK(a->Open({.lanes = 0}).code() == absl::StatusCode::kInvalidArgument);
  CHECK(a->Open({.ring = 100}).code() == absl::StatusCode::kInvalidArgument);
  REQUIRE(a->Open({}) == absl::OkStatus());
  const absl::Status twice = a->Open({});
  CHECK(twice.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_FALSE(ProblemOf(twice)->remedy.empty());
}

TEST_CASE("a loop wire gives back what is sent, and frees it when it closes") {
  const auto pool = Cable::MakePool();
  const std::unique_ptr<Wire> loop = MakeLoopWire();
  REQUIRE(loop->Open({.ring = 64, .pool = pool.get()}) == absl::OkStatus());
  CHECK(loop->link() == LinkState::kUp);
  Burst burst;
  pool->Get(burst, 20);
  CHECK(loop->Transmit(0, burst) == 20);
  CHECK(loop->Receive(burst) == 20);
  CHECK(loop->Transmit(0, burst) == 20);
  loop->Close();
  CHECK(pool->available() == kPackets);
}

TEST_CASE("a null wire is an endless source of frames, and a sink") {
  const auto pool = Cable::MakePool();
  const std::unique_ptr<Wire> null = MakeNullWire({.frame_length = 100});
  REQUIRE(null->Open({.pool = pool.get()}) == absl::OkStatus());
  for (int i = 0; i < 200; ++i) {
    Burst burst;
    REQUIRE(null->Receive(burst) == 32);
    CHECK(burst[31].length() == 100);
    CHECK(null->Transmit(0, burst) == 32);
  }
  CHECK(pool->available() == kPackets);
}

TEST_CASE("a null wire that is no source receives nothing") {
  const auto pool = Cable::MakePool();
  const std::unique_ptr<Wire> null = MakeNullWire({.source = false});
  REQUIRE(null->Open({.pool = pool.get()}) == absl::OkStatus());
  Burst burst;
  CHECK(null->Receive(burst) == 0);
}

// Sleep. The steps of Arm and of one arrival, in every order.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("a packet that arrives around Arm is never slept through, whatever the order of the two") {
  // Arm is atomic to a test of one thread: before, after, and twice around it are all the orders there are. The
  // orders within it are left to the threads below.
  for (const int sent_before : {0, 1, 2}) {
    for (const int armed : {1, 2}) {
      Cable cable;
      cable.Send(0, static_cast<size_t>(sent_before));
      bool may_sleep = true;
      for (int i = 0; i < armed; ++i) may_sleep = cable.b->Arm();
      CHECK(may_sleep == (sent_before == 0));
      CHECK_FALSE(Readable(cable.b->fd()));
      cable.Send(10, 1);
      CHECK(Readable(cable.b->fd()) == may_sleep);
      CHECK(cable.Receive().size() == static_cast<size_t>(sent_before) + 1);
      CHECK_FALSE(Readable(cable.b->fd()));
    }
  }
}

TEST_CASE("a sleeper that is woken for each packet by another thread misses none") {
  constexpr uint32_t kFrames = 3000;
  Cable cable;
  std::thread sender([&cable] {
    for (uint32_t i = 0; i < kFrames;) {
      i += static_cast<uint32_t>(cable.Send(i, 1));
      if (i % 7 == 0) std::this_thread::yield();
    }
  });
  Numbers received;
  bool slept_through = false;
  while (received.size() < kFrames && !slept_through) {
    if (cable.b->Arm()) {
      pollfd entry = {.fd = cable.b->fd(), .events = POLLIN, .revents = 0};
      slept_through = poll(&entry, 1, 5000) == 0;
    }
    for (const uint32_t number : cable.Receive()) received.push_back(number);
  }
  CHECK_FALSE(slept_through);
  sender.join();
  REQUIRE(received.size() == kFrames);
  CHECK(std::is_sorted(received.begin(), received.end()));
}

// Threads.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE(
    "either end may close and open again beside a peer at work: every packet is received or counted (I2)") {
  Random random(PrintedSeed());
  Cable cable;
  std::atomic<bool> done = false;
  std::atomic<uint64_t> sent = 0, received = 0;
  std::thread peer([&] {
    Burst burst;
    while (!done.load(std::memory_order_acquire)) {
      received.fetch_add(cable.b->Receive(burst), std::memory_order_relaxed);
      burst.Clear();
      cable.b->Arm();
    }
  });
  for (int round = 0; round < 60; ++round) {
    for (uint64_t i = Below(random, 20); i > 0; --i) {
      Burst burst;
      cable.pool->Get(burst,
                      1 + Below(random, 30));  // fewer where the peer has not come round to those before
      sent += cable.a->Transmit(0, burst);
    }
    cable.a->Close();
    cable.options.ring = 32u << Below(random, 3);
    CHECK(cable.a->Open(cable.options) == absl::OkStatus());
  }
  done.store(true, std::memory_order_release);
  peer.join();
  cable.b->Close();
  CHECK(received + cable.b->drops()[DropReason::kStopped] == sent);
}

TEST_CASE("a ring hands over each packet once and in order, beside its sender (I1, I2)") {
  constexpr uint32_t kFrames = 20'000;
  const auto pool = Cable::MakePool();
  PacketRing ring(32);
  std::thread sender([&] {
    for (uint32_t next = 0; next < kFrames;) {
      Burst burst;
      const size_t got = pool->Get(burst, std::min<uint32_t>(1 + next % 40, kFrames - next));
      for (size_t i = 0; i < got; ++i) burst[i].rss_hash = next + static_cast<uint32_t>(i);
      while (!burst.empty()) {
        const size_t pushed = ring.Push(burst.begin(), burst.size());
        burst.DropFront(pushed);
        next += static_cast<uint32_t>(pushed);
        if (pushed == 0) std::this_thread::yield();
      }
    }
  });
  uint32_t expected = 0;
  bool in_order = true;
  while (expected < kFrames) {
    Packet* packets[Burst::kCapacity];
    const size_t popped = ring.Pop(packets, 1 + expected % 64);
    for (size_t i = 0; i < popped; ++i) in_order &= packets[i]->rss_hash == expected++;
    PacketPool::Put(packets, popped);
    if (popped == 0) std::this_thread::yield();
  }
  sender.join();
  CHECK(in_order);
  CHECK(ring.size() == 0);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/packet_pool.h"

#include <barrier>
#include <catch2/catch.hpp>
#include <set>
#include <thread>
#include <vector>

#include "packet/freed_packet_internal.h"
#include "packet/packet_depot_internal.h"
#include "packet/thread_slot_internal.h"
#include "sluice/base/status.h"
#include "tests/packet/packet_queue.h"
#include "tests/packet/small_pool.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/death.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // NOLINT: the fixtures' words

// All that the pool gives, each packet once.
std::vector<PacketPtr> Drain(PacketPool& pool) {
  std::vector<PacketPtr> all;
  while (PacketPtr packet = pool.GetOne()) all.push_back(std::move(packet));
  return all;
}

std::set<uint32_t> Indices(const PacketPool& pool, const std::vector<PacketPtr>& packets) {
  std::set<uint32_t> indices;
  for (const PacketPtr& packet : packets) indices.insert(pool.IndexOf(*packet));
  return indices;
}

void InThread(const std::function<void()>& work) { std::thread(work).join(); }

TEST_CASE("a pool gives each packet once and is then dry, whatever its size") {
  for (const uint32_t packets : {1u, 2u, 63u, 64u, 65u, 1000u}) {
    auto pool = SmallPool({.packets = packets, .buffer_size = 256});
    std::vector<PacketPtr> all = Drain(*pool);
    CHECK(all.size() == packets);
    CHECK(Indices(*pool, all).size() == packets);
    CHECK(pool->available() == 0);

    Burst none;
    CHECK(pool->Get(none, 1) == 0);
    CHECK(none.empty());

    all.clear();
    CHECK(pool->available() == packets);
  }
}

TEST_CASE("a burst that the pool cannot fill gets what there is") {
  auto pool = SmallPool({.packets = 40});
  Burst burst;
  CHECK(pool->Get(burst, 64) == 40);
  CHECK(burst.size() == 40);
}

TEST_CASE("buffers lie one after the other in the region, each aligned to its size, as UMEM chunks must") {
  auto pool = SmallPool({.packets = 100, .buffer_size = 2048});
  for (const PacketPtr& packet : Drain(*pool)) {
    const uint32_t index = pool->IndexOf(*packet);
    CHECK(pool->OffsetOf(packet->buffer()) == uint64_t{index} * 2048);
    CHECK(pool->region().Contains(packet->buffer(), 2048));
    CHECK(&pool->At(index) == packet.get());
    CHECK(packet->pool() == pool.get());
    CHECK(packet->buffer_size() == 2048);
  }
}

TEST_CASE("metadata is not in the region, where a peer could write") {
  auto pool = SmallPool();
  CHECK_FALSE(pool->region().Contains(pool->GetOne().get(), 1));
}

TEST_CASE("a fresh frame has its headroom in every size of buffer") {
  for (uint32_t size = 256; size <= 65536; size *= 2) {
    for (const uint32_t headroom : {0u, 1u, 128u, size - 1}) {
      auto pool = SmallPool({.packets = 2, .buffer_size = size, .headroom = headroom});
      const PacketPtr packet = pool->GetOne();
      CHECK(packet->headroom() >= headroom);
      CHECK(packet->headroom() + packet->tailroom() == size);
      CHECK(packet->buffer_size() == size);
    }
  }
}

TEST_CASE("options out of range are refused with what to do") {
  const std::vector<std::pair<PacketPoolOptions, std::string>> cases = {
      {{.packets = 0}, "packets is 0"},
      {{.buffer_size = 0}, "buffer_size is 0"},
      {{.buffer_size = 128}, "buffer_size is 128"},
      {{.buffer_size = 3000}, "buffer_size is 3000"},
      {{.buffer_size = 131072}, "buffer_size is 131072"},
      {{.headroom = 2048}, "headroom of 2048"},
  };
  for (const auto& [options, what] : cases) {
    const absl::Status status = PacketPool::Create(options).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains(what));
    CHECK_FALSE(ProblemOf(status)->remedy.empty());
  }
}

TEST_CASE("a pool too large for the machine is refused") {
  const auto pool = PacketPool::Create({.packets = ~uint32_t{0}, .buffer_size = 65536});
  CHECK_FALSE(pool.ok());
}

TEST_CASE("a burst of several pools' packets brings each home") {
  auto one = SmallPool({.packets = 40});
  auto two = SmallPool({.packets = 40});
  Burst burst;
  for (int i = 0; i < 32; ++i) burst.Push((i % 3 == 0 ? *one : *two).GetOne());

  burst.Clear();
  CHECK(one->available() == 40);
  CHECK(two->available() == 40);
  CHECK(Indices(*one, Drain(*one)).size() == 40);
}

TEST_CASE("fragments of several pools go home with their head") {
  auto one = SmallPool({.packets = 8});
  auto two = SmallPool({.packets = 8});
  PacketPtr head = Filled(*one, "head");
  head->Append(Filled(*two, "fragment"));
  head->Append(Filled(*one, "fragment"));
  REQUIRE(two->available() == 7);

  head.reset();
  CHECK(one->available() == 8);
  CHECK(two->available() == 8);
  for (const PacketPtr& packet : Drain(*one)) CHECK(packet->contiguous());
}

TEST_CASE("of frames in pieces the heads are got again first, as the heads that they were") {
  auto pool = SmallPool();
  Burst frames;
  for (size_t i = 0; i < 3; ++i) {
    frames.Push(pool->GetOne());
    for (int piece = 0; piece < 2; ++piece) frames[i].Append(pool->GetOne());
  }
  const std::vector<Packet*> heads(frames.begin(), frames.end());
  frames.Clear();
  std::vector<Packet*> raw(heads.size());
  REQUIRE(pool->GetRaw(raw.data(), raw.size()) == raw.size());
  CHECK(raw == heads);
  pool->PutRaw(raw.data(), raw.size());
}

TEST_CASE("more chains than a group are put at once, and all their pieces are home") {
  auto pool = SmallPool({.packets = 400, .buffer_size = 256});
  std::vector<Packet*> chains;
  for (int i = 0; i < 150; ++i) {
    PacketPtr head = pool->GetOne();
    head->Append(pool->GetOne());
    chains.push_back(head.release());
  }
  PacketPool::Put(chains.data(), chains.size());
  CHECK(pool->available() == 400);
  CHECK(Indices(*pool, Drain(*pool)).size() == 400);
}

TEST_CASE("more than a burst is put at once") {
  auto pool = SmallPool({.packets = 300});
  std::vector<Packet*> raw;
  for (PacketPtr& packet : Drain(*pool)) raw.push_back(packet.release());
  PacketPool::Put(raw.data(), raw.size());
  CHECK(pool->available() == 300);
  PacketPool::Put(nullptr, 0);
}

TEST_CASE("a packet freed by another thread is back in its pool, for that thread and the first") {
  auto pool = SmallPool({.packets = 64});
  Burst burst;
  pool->Get(burst, 64);
  InThread([&] {
    burst.Clear();
    CHECK(pool->available() == 64);
    pool->Get(burst, 10);
    burst.Clear();
  });
  CHECK(pool->available() == 64);
}

TEST_CASE("what a thread that ended had cached is got by others when the pool is dry") {
  auto pool = SmallPool({.packets = 200});
  // Both hold a slot at once, so that this one cannot simply inherit the other's cache.
  const PacketPtr mine = pool->GetOne();
  InThread([&] {
    Burst burst;
    pool->Get(burst, 64);
  });
  CHECK(Drain(*pool).size() == 199);
}

TEST_CASE("a pool may end before the threads that used it, and the next at its address starts empty-handed") {
  std::barrier stage(2);
  std::unique_ptr<PacketPool> pool;
  std::thread user([&] {
    for (int round = 0; round < 20; ++round) {
      stage.arrive_and_wait();
      CHECK(Drain(*pool).size() == 100);
      stage.arrive_and_wait();
    }
  });
  for (int round = 0; round < 20; ++round) {
    pool = SmallPool({.packets = 100});
    stage.arrive_and_wait();
    stage.arrive_and_wait();
    pool.reset();
  }
  user.join();
}

TEST_CASE("more threads than slots share a pool") {
  constexpr size_t kThreads = kThreadSlots + 12;
  auto pool = SmallPool({.packets = kThreads * 10, .buffer_size = 256});
  std::barrier all(kThreads);
  std::vector<std::thread> threads;
  std::atomic<size_t> got{0};
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      all.arrive_and_wait();  // everybody lives at once
      for (int round = 0; round < 50; ++round) {
        Burst burst;
        got += pool->Get(burst, 10);
        PacketPtr one = pool->GetOne();
      }
      all.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(got > 0);
  CHECK(pool->available() == kThreads * 10);
  CHECK(Indices(*pool, Drain(*pool)).size() == kThreads * 10);
}

TEST_CASE("no packet is held by two threads at once, and all are there in the end") {
  constexpr uint32_t kPackets = 600;
  auto pool = SmallPool({.packets = kPackets, .buffer_size = 256});
  const uint64_t seed = PrintedSeed();
  std::vector<std::atomic<int>> holders(kPackets);
  std::atomic<bool> shared{false};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      Burst held;
      for (int round = 0; round < 3'000; ++round) {
        const size_t before = held.size();
        pool->Get(held, Below(random, held.room() + 1));
        for (size_t i = before; i < held.size(); ++i)
          shared = shared || holders[pool->IndexOf(held[i])]++ != 0;
        Burst freed;
        held.MoveFront(Below(random, held.size() + 1), freed);
        for (const Packet* packet : freed) --holders[pool->IndexOf(*packet)];
      }
      for (const Packet* packet : held) --holders[pool->IndexOf(*packet)];
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(shared);
  CHECK(pool->available() == kPackets);
  CHECK(Indices(*pool, Drain(*pool)).size() == kPackets);
}

TEST_CASE("packets got by one thread and freed by another all come home, with what was written in them") {
  constexpr uint64_t kTotal = 40'000;
  auto pool = SmallPool({.packets = 1'000, .buffer_size = 256});
  PacketQueue queue;
  std::thread sender([&] {
    for (uint64_t sent = 0; sent < kTotal;) {
      Burst burst;
      pool->Get(burst, 32);
      for (Packet* packet : burst) {
        std::memcpy(packet->data(), &sent, sizeof(sent));
        packet->SetLength(sizeof(sent));
        ++sent;
      }
      queue.Push(burst);
    }
  });
  uint64_t received = 0;
  bool in_order = true;
  while (received < kTotal) {
    Burst burst = queue.Pop();
    for (const Packet* packet : burst) {
      in_order = in_order && std::memcmp(packet->data(), &received, sizeof(received)) == 0;
      ++received;
    }
  }
  sender.join();
  CHECK(in_order);
  CHECK(pool->available() == 1'000);
  CHECK(Indices(*pool, Drain(*pool)).size() == 1'000);
}

TEST_CASE("getting and putting allocate nothing, also across the depot and between pools") {
  auto one = SmallPool({.packets = 1'000});
  auto two = SmallPool({.packets = 1'000});
  const AllocationCounter counter;
  std::array<Burst, 15> bursts;
  for (int round = 0; round < 10; ++round) {
    for (Burst& burst : bursts) one->Get(burst, 64);
    for (Burst& burst : bursts) {
      burst.PopFront();
      burst.Push(two->GetOne());
      burst[0].Append(two->GetOne());
      burst.Clear();
    }
  }
  CHECK(counter.allocations() == 0);
}

TEST_CASE("the allocation counter counts every form of new, of this thread only") {
  struct alignas(256) Aligned {
    char bytes[256];
  };
  const AllocationCounter counter;
  const auto plain = std::make_unique<int>(1);
  const auto array = std::make_unique<int[]>(3);
  const auto aligned = std::make_unique<Aligned>();
  delete new (std::nothrow) int(4);
  CHECK(counter.allocations() == 4);
  CHECK(reinterpret_cast<uintptr_t>(aligned.get()) % 256 == 0);
}

// The depot, by itself.
// ------------------------------------------------------------------------------------------------------

TEST_CASE("the depot gives groups of every size back as they were, last first") {
  auto pool = SmallPool({.packets = 64 * 65 / 2, .buffer_size = 256});
  std::vector<PacketPtr> all = Drain(*pool);
  PacketDepot depot(&pool->At(0));
  std::vector<std::vector<Packet*>> pushed;
  auto next = all.begin();
  for (size_t n = 1; n <= PacketDepot::kGroup; ++n) {
    std::vector<Packet*> group;
    for (size_t i = 0; i < n; ++i) group.push_back((next++)->get());
    depot.Push(group.data(), n);
    pushed.push_back(group);
  }
  CHECK(depot.size() == all.size());
  std::array<Packet*, PacketDepot::kGroup> popped;
  for (; !pushed.empty(); pushed.pop_back()) {
    const size_t n = depot.Pop(popped.data());
    CHECK(std::vector<Packet*>(popped.begin(), popped.begin() + static_cast<ptrdiff_t>(n)) == pushed.back());
  }
  CHECK(depot.Pop(popped.data()) == 0);
  CHECK(depot.size() == 0);
}

// What debug builds catch. In release builds nothing is checked, so there is nothing to see.
// ------------------------------------------------------------------------------------------------------

TEST_CASE("freeing a packet twice stops a debug build with the pool's name and the packet's index") {
  if (!kCheckFrees) return;
  auto pool = SmallPool({.name = "twice", .packets = 8});
  PacketPtr packet = pool->GetOne();
  Packet* const raw = packet.get();
  const uint32_t index = pool->IndexOf(*raw);
  packet.reset();

  const std::string words = LastWords([raw] { PacketPool::Put(&raw, 1); });
  CHECK_THAT(words, Catch::Contains("pool 'twice', packet " + std::to_string(index) + ": freed twice"));
}

TEST_CASE("a packet twice in one burst is caught as well") {
  if (!kCheckFrees) return;
  auto pool = SmallPool();
  CHECK_THAT(LastWords([&] {
               Burst burst;
               pool->Get(burst, 2);
               burst.PushRaw(&burst[0]);
             }),
             Catch::Contains("freed twice"));
}

TEST_CASE("writing to a packet after its free is caught when it is got again, or by the sanitizer at once") {
  if (!kCheckFrees) return;
  auto pool = SmallPool({.name = "late", .packets = 1});
  const auto write_late = [&pool](auto write) {
    return LastWords([&] {
      PacketPtr packet = pool->GetOne();
      Packet* const raw = packet.get();
      packet.reset();
      write(*raw);
      pool->GetOne();
    });
  };
  const auto caught = [&](auto write) {
    const std::string words = write_late(write);
    return words.find("pool 'late', packet 0") != std::string::npos ||
           words.find("AddressSanitizer") != std::string::npos;
  };
  CHECK(caught([](Packet& packet) { packet.buffer()[2000] = 1; }));
  CHECK(caught([](Packet& packet) { packet.SetLength(60); }));
  CHECK(caught([](Packet& packet) { packet.SetHeadroom(0); }));
  CHECK(write_late([](Packet&) {}) == "survived");
}

TEST_CASE("a packet that outlives its pool stops a debug build") {
  if (!kCheckFrees) return;
  CHECK_THAT(LastWords([] {
               auto pool = SmallPool({.name = "short-lived", .packets = 4});
               Packet* const left = pool->GetOne().release();
               pool.reset();
               PacketPool::Put(&left, 1);
             }),
             Catch::Contains("pool 'short-lived'") && Catch::Contains("still in use"));
}

}  // namespace
}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/burst.h"

#include <catch2/catch.hpp>
#include <deque>
#include <vector>

#include "tests/packet/small_pool.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // NOLINT: the fixtures' words

// Packets that carry the numbers from `first` on in their marks.
void PushNumbers(PacketPool& pool, Burst& burst, uint32_t first, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    PacketPtr packet = pool.GetOne();
    packet->set_mark(first + static_cast<uint32_t>(i));
    burst.Push(std::move(packet));
  }
}

std::vector<uint32_t> Numbers(const Burst& burst) {
  std::vector<uint32_t> numbers;
  for (const Packet* packet : burst) numbers.push_back(packet->mark());
  return numbers;
}

TEST_CASE("a burst holds 64 packets") {
  auto pool = SmallPool();
  Burst burst;
  CHECK(burst.room() == 64);
  CHECK(pool->Get(burst, 64) == 64);
  CHECK(burst.room() == 0);
  CHECK(burst.size() == 64);
}

TEST_CASE("a burst gives back what is left in it at its end") {
  auto pool = SmallPool();
  {
    Burst burst;
    PushNumbers(*pool, burst, 0, 10);
    burst.PopFront().reset();
    CHECK(pool->available() == 256 - 9);
  }
  CHECK(pool->available() == 256);
}

TEST_CASE("room taken at the front comes back at the end") {
  auto pool = SmallPool();
  Burst burst;
  PushNumbers(*pool, burst, 0, 64);
  for (int i = 0; i < 60; ++i) burst.PopFront();
  REQUIRE(burst.room() == 60);

  PushNumbers(*pool, burst, 64, 60);
  CHECK(Numbers(burst).front() == 60);
  CHECK(Numbers(burst).back() == 123);
}

TEST_CASE("a moved burst takes its packets along and leaves none behind") {
  auto pool = SmallPool();
  Burst from;
  PushNumbers(*pool, from, 0, 5);
  Burst made(std::move(from));
  Burst assigned;
  PushNumbers(*pool, assigned, 100, 3);
  assigned = std::move(made);

  CHECK(Numbers(assigned) == std::vector<uint32_t>{0, 1, 2, 3, 4});
  CHECK(from.empty());  // NOLINT: what is left of it is the question
  CHECK(made.empty());
  CHECK(pool->available() == 256 - 5);
}

TEST_CASE("slots opened and not filled are given up") {
  auto pool = SmallPool();
  Burst burst;
  Packet** const slots = burst.Extend(8);
  slots[0] = pool->GetOne().release();
  burst.DropBack(7);
  CHECK(burst.size() == 1);
}

// What a burst is, without its tricks.
struct Twin {
  std::deque<uint32_t> numbers;
  void MoveFront(size_t n, Twin& to) {
    to.numbers.insert(to.numbers.end(), numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(n));
    numbers.erase(numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(n));
  }
};

TEST_CASE("whatever is done to two bursts, each holds what a plain queue would, in its order") {
  auto pool = SmallPool();
  Random random(PrintedSeed());
  Burst bursts[2];
  Twin twins[2];
  uint32_t next = 0;
  for (int step = 0; step < 5'000; ++step) {
    const size_t which = Below(random, 2);
    Burst& burst = bursts[which];
    Burst& other = bursts[1 - which];
    Twin& twin = twins[which];
    const uint64_t deed = Below(random, 3);
    if (deed == 0) {
      const size_t n = Below(random, burst.room() + 1);
      PushNumbers(*pool, burst, next, n);
      for (size_t i = 0; i < n; ++i) twin.numbers.push_back(next++);
    } else if (deed == 1) {
      const size_t n = Below(random, std::min(burst.size(), other.room()) + 1);
      burst.MoveFront(n, other);
      twin.MoveFront(n, twins[1 - which]);
    } else if (!burst.empty()) {
      CHECK(burst.PopFront()->mark() == twin.numbers.front());
      twin.numbers.pop_front();
    }
    REQUIRE(Numbers(burst) == std::vector<uint32_t>(twin.numbers.begin(), twin.numbers.end()));
    REQUIRE(pool->available() == 256 - bursts[0].size() - bursts[1].size());
  }
}

}  // namespace
}  // namespace sluice

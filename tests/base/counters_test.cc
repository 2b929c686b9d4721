// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/counters.h"

#include <array>
#include <catch2/catch.hpp>
#include <thread>
#include <type_traits>

namespace sluice {
namespace {

enum class Fruit { kApples, kPears };
using FruitCounters = CounterSet<Fruit, 2>;

static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(!std::is_copy_constructible_v<FruitCounters>);

TEST_CASE("counter sets of two workers never share a cache line") {
  std::array<FruitCounters, 2> workers;
  const auto first = reinterpret_cast<uintptr_t>(&workers[0]);
  const auto second = reinterpret_cast<uintptr_t>(&workers[1]);
  CHECK(first % kCacheLine == 0);
  CHECK((second - first) % kCacheLine == 0);
  CHECK(alignof(DropCounters) == kCacheLine);
}

TEST_CASE("a counter set counts each name apart") {
  FruitCounters counters;
  counters.Add(Fruit::kApples);
  counters.Add(Fruit::kPears, 5);
  CHECK(counters[Fruit::kApples] == 1);
  CHECK(counters[Fruit::kPears] == 5);
}

TEST_CASE("drop counters read as plain counts") {
  DropCounters counters;
  counters.Add(DropReason::kNoBuffer, 2);
  counters.Add(DropReason::kStopped);
  const DropCounts counts = counters.Read();
  CHECK(counts[DropReason::kNoBuffer] == 2);
  CHECK(counts[DropReason::kStopped] == 1);
  CHECK(counts.total() == 3);
}

TEST_CASE("a reader beside the writer sees each counter grow and never shrink, and all of it in the end") {
  constexpr uint64_t kAdds = 200'000;
  constexpr uint64_t kStep = (uint64_t{1} << 32) + 1;  // a torn read would show halves that differ
  DropCounters counters;
  std::thread writer([&] {
    for (uint64_t i = 0; i < kAdds; ++i) counters.Add(DropReason::kRule, kStep);
  });
  uint64_t last = 0;
  bool whole = true;
  bool monotonic = true;
  while (last < kAdds * kStep) {
    const uint64_t now = counters[DropReason::kRule];
    whole = whole && now >> 32 == (now & 0xFFFFFFFF);
    monotonic = monotonic && now >= last;
    last = now;
  }
  writer.join();
  CHECK(whole);
  CHECK(monotonic);
  CHECK(counters.Read().total() == kAdds * kStep);
}

}  // namespace
}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "base/asymmetric_fence_internal.h"

namespace sluice {
namespace {

constexpr int kRounds = 100'000;

// Stores leave a processor in order: one that follows some that miss all caches stays in it for long, while the
// loads behind it go ahead. Just what a fence is for.
class ColdLines {
 public:
  void Store() {
    for (int i = 0; i < 8; ++i, at_ = (at_ + kStride) % kBytes) bytes_[at_] = 1;
  }

 private:
  static constexpr size_t kBytes = size_t{32} << 20;
  static constexpr size_t kStride = 4096 * 5 + 64;
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(kBytes);
  size_t at_ = 0;
};

struct alignas(64) Word {
  std::atomic<int> round{0};
};

// One of two sides, round by round: writes its word, fences, and looks at the other's.
template <typename Fence>
void Play(Word& mine, const Word& other, std::atomic<int>& steps, std::vector<char>& seen, Fence fence) {
  ColdLines cold;
  for (int round = 1; round <= kRounds; ++round) {
    steps.fetch_add(1);
    for (int spins = 0; steps.load() < 2 * round; ++spins) {
      if (spins > 2000) std::this_thread::yield();
    }
    cold.Store();
    mine.round.store(round, std::memory_order_relaxed);
    fence();
    seen[static_cast<size_t>(round - 1)] = other.round.load(std::memory_order_relaxed) >= round;
  }
}

TEST_CASE("Of a light and a heavy fence, one side sees what the other wrote") {
  Word work;
  Word asleep;
  std::atomic<int> steps{0};
  std::vector<char> seen_asleep(kRounds);
  std::vector<char> seen_work(kRounds);
  std::thread busy([&] { Play(work, asleep, steps, seen_asleep, LightFence); });
  Play(asleep, work, steps, seen_work, HeavyFence);
  busy.join();
  int lost = 0;
  for (size_t i = 0; i < kRounds; ++i) lost += !seen_asleep[i] && !seen_work[i];
  CHECK(lost == 0);
}

}  // namespace
}  // namespace sluice

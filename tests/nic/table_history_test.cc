// SPDX-License-Identifier: Apache-2.0
// When arrivals need no look into them: the history may say so only while no change waits.
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>

#include "nic/model/table_history_internal.h"
#include "sluice/base/clock.h"

namespace sluice::testing {
namespace {

// A table of that generation, which spreads arrivals over `queues`.
std::unique_ptr<const SteeringTable> Table(uint64_t generation, uint16_t queues = 1) {
  RssOptions options;
  options.generation = generation;
  options.table = {QueueId{0}};
  auto rss = std::make_shared<const RssConfig>(*RssConfig::Create(options));
  return std::make_unique<const SteeringTable>(RuleTable(), std::move(rss), queues);
}

class History {
 public:
  explicit History(uint16_t queues = 1) : tables_(Table(1, queues), generation_) {}

  TableHistory& operator*() { return tables_; }
  TableHistory* operator->() { return &tables_; }
  uint64_t generation() const { return generation_.load(); }

 private:
  std::atomic<uint64_t> generation_{0};
  TableHistory tables_;
};

TEST_CASE("a history is idle from the start where its table sends all to queue 0, and only there") {
  CHECK(History(1)->idle());
  CHECK_FALSE(History(2)->idle());
}

TEST_CASE("a history is not idle while a change waits, and is again when it has taken effect") {
  ManualClock clock;
  History history;
  history->Append(Table(2), 0, 0);
  CHECK_FALSE(history->idle());
  history->Advance(clock);
  CHECK(history->idle());
  CHECK(history.generation() == 2);
}

TEST_CASE("a history is not idle before a late change is due") {
  ManualClock clock;
  History history;
  history->Append(Table(2), 0, clock.Now() + 1000);
  history->Advance(clock);
  CHECK_FALSE(history->idle());
  CHECK(history.generation() == 1);
  clock.Advance(absl::Nanoseconds(1000));
  history->Advance(clock);
  CHECK(history->idle());
  CHECK(history.generation() == 2);
}

TEST_CASE("a history is not idle after a change to a table that looks") {
  ManualClock clock;
  History history;
  history->Append(Table(2, 2), 0, 0);
  history->Advance(clock);
  CHECK_FALSE(history->idle());
}

// The steerer advances only when it must, as a queue does that takes the short way.
TEST_CASE("no change waits behind a history that says it is idle, whenever it was made") {
  constexpr uint64_t kChanges = 2000;
  ManualClock clock;
  History history;
  std::atomic<uint64_t> made{1};
  std::thread control([&] {
    for (uint64_t generation = 2; generation <= kChanges; ++generation) {
      history->Append(Table(generation), 0, 0);
      made.store(generation, std::memory_order_release);
    }
  });
  uint64_t missed = 0;
  for (uint64_t known = 0; known < kChanges;) {
    known = made.load(std::memory_order_acquire);
    if (!history->idle()) {
      history->Advance(clock);
    } else if (history.generation() < known) {
      ++missed;
    }
  }
  control.join();
  CHECK(missed == 0);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// The engines that need no hardware: what one promises (copy_engine.h), and what the model does wrong on purpose.
#include "sluice/nic/copy_engine.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <numeric>

#include "sluice/base/status.h"
#include "sluice/nic/model_copy_engine.h"
#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kBytes = 64;
constexpr uint8_t kBefore = 0x11;

// Memory with a place for each of some copies, and what was heard of them.
struct Copies {
  explicit Copies(size_t count) : from(count * kBytes), to(count * kBytes, kBefore) {
    std::iota(from.begin(), from.end(), uint8_t{0});
  }
  CopyRequest operator[](size_t i) {
    return {.to = &to[i * kBytes], .from = &from[i * kBytes], .bytes = kBytes, .token = 100 + i};
  }
  bool Untouched(size_t i) const { return Holds(i, Bytes(kBytes, kBefore)); }
  bool Poisoned(size_t i) const { return Holds(i, Bytes(kBytes, ModelCopyEngine::kPoison)); }
  bool Copied(size_t i) const {
    return std::equal(&from[i * kBytes], &from[i * kBytes] + kBytes, &to[i * kBytes]);
  }
  bool Holds(size_t i, const Bytes& bytes) const {
    return std::equal(bytes.begin(), bytes.end(), to.begin() + static_cast<ptrdiff_t>(i * kBytes));
  }

  Bytes from, to;
};

size_t SubmitAll(CopyEngine& engine, Copies& copies, size_t count) {
  size_t taken = 0;
  while (taken < count && engine.Submit(copies[taken])) ++taken;
  engine.RingDoorbell();
  return taken;
}

struct Told {
  std::vector<size_t> done, failed;
};
Told PollAll(CopyEngine& engine) {
  Told told;
  std::array<CopyResult, 5> results;
  for (size_t n = results.size(); n == results.size();) {
    n = engine.Poll(absl::MakeSpan(results));
    for (size_t i = 0; i < n; ++i)
      (results[i].done ? told.done : told.failed).push_back(results[i].token - 100);
  }
  return told;
}

std::unique_ptr<ModelCopyEngine> Model(const ModelCopyEngineOptions& options) {
  absl::StatusOr<std::unique_ptr<ModelCopyEngine>> engine = ModelCopyEngine::Create(options);
  REQUIRE(engine.ok());
  return *std::move(engine);
}

std::vector<size_t> FirstOf(size_t count) {
  std::vector<size_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), size_t{0});
  return numbers;
}

void CheckRefused(const absl::Status& status, const std::string& option) {
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(ProblemOf(status)->capability == option);
}

}  // namespace

TEST_CASE("options of copy engines that are out of range are refused by name") {
  CheckRefused(MakeCpuCopyEngine(0).status(), "capacity");
  CheckRefused(MakeCpuCopyEngine(65537).status(), "capacity");
  CheckRefused(ModelCopyEngine::Create({.capacity = 0}).status(), "capacity");
  CheckRefused(ModelCopyEngine::Create({.fastest = absl::Seconds(-1)}).status(), "slowest");
  CheckRefused(ModelCopyEngine::Create({.fastest = absl::Microseconds(2)}).status(), "slowest");
  CheckRefused(ModelCopyEngine::Create({.slowest = absl::Seconds(2)}).status(), "slowest");
  CheckRefused(ModelCopyEngine::Create({.fail_chance = 1.5}).status(), "fail_chance");
}

TEST_CASE("the processor as an engine has copied at the next poll, and tells of each copy once") {
  const std::unique_ptr<CopyEngine> engine = *MakeCpuCopyEngine(8);
  Copies copies(20);
  for (int round = 0; round < 3; ++round) {
    CHECK(SubmitAll(*engine, copies, 20) == 8);
    CHECK(PollAll(*engine).done == FirstOf(8));
    CHECK(PollAll(*engine).done.empty());
  }
  CHECK(copies.Copied(7));
  CHECK(copies.Untouched(8));
}

TEST_CASE("the model starts no copy before its doorbell, and ends none before its time") {
  ManualClock clock;
  const auto engine =
      Model({.fastest = absl::Microseconds(5), .slowest = absl::Microseconds(5), .clock = &clock});
  Copies copies(2);
  REQUIRE(engine->Submit(copies[0]));
  clock.Advance(absl::Seconds(1));
  CHECK(PollAll(*engine).done.empty());
  engine->RingDoorbell();
  clock.Advance(absl::Nanoseconds(4999));
  CHECK(PollAll(*engine).done.empty());
  CHECK(copies.Poisoned(0));
  clock.Advance(absl::Nanoseconds(1));
  CHECK(PollAll(*engine).done == FirstOf(1));
  CHECK(copies.Copied(0));
  CHECK(copies.Untouched(1));
}

TEST_CASE("copies of the model overtake one another, the same ones by the same seed") {
  const auto order = [](uint64_t seed) {
    ManualClock clock;
    const auto engine = Model({.slowest = absl::Microseconds(50), .seed = seed, .clock = &clock});
    Copies copies(100);
    SubmitAll(*engine, copies, 100);
    clock.Advance(absl::Microseconds(50));
    return PollAll(*engine).done;
  };
  std::vector<size_t> one = order(1);
  CHECK(one == order(1));
  CHECK(one != order(2));
  CHECK_FALSE(std::is_sorted(one.begin(), one.end()));
  std::sort(one.begin(), one.end());
  CHECK(one == FirstOf(100));
}

TEST_CASE("the model fails at copies by number and by chance, and leaves them half done") {
  ManualClock clock;
  const auto engine = Model({.fail = {2, 4}, .clock = &clock});
  Copies copies(4);
  SubmitAll(*engine, copies, 4);
  const Told told = PollAll(*engine);
  CHECK(told.done == std::vector<size_t>{0, 2});
  CHECK(told.failed == std::vector<size_t>{1, 3});
  CHECK_FALSE(copies.Copied(1));
  CHECK(copies.to[kBytes] == copies.from[kBytes]);
  CHECK(copies.to[2 * kBytes - 1] == ModelCopyEngine::kPoison);

  const auto unreliable = Model({.fail_chance = 0.5, .clock = &clock});
  Copies many(200);
  SubmitAll(*unreliable, many, 200);
  const size_t failed = PollAll(*unreliable).failed.size();
  CHECK((failed > 50 && failed < 150));
}

TEST_CASE("the model's ring is full until what became of its copies was told") {
  ManualClock clock;
  const auto engine = Model({.capacity = 4, .clock = &clock});
  Copies copies(8);
  CHECK(SubmitAll(*engine, copies, 8) == 4);
  CHECK(engine->pending() == 4);
  CHECK_FALSE(engine->Submit(copies[5]));
  CHECK(PollAll(*engine).done.size() == 4);
  CHECK(engine->Submit(copies[5]));
}

TEST_CASE("the model that is removed takes nothing, tells nothing and writes nothing any more") {
  ManualClock clock;
  const bool by_hand = GENERATE(true, false);
  const auto engine = Model({.removed_after = by_hand ? 0u : 3u, .clock = &clock});
  Copies copies(4);
  SubmitAll(*engine, copies, 3);
  if (by_hand) engine->Remove();
  CHECK(engine->removed());
  CHECK_FALSE(engine->Submit(copies[3]));
  engine->Quiesce();
  CHECK(PollAll(*engine).done.empty());
  CHECK(copies.Poisoned(2));
  CHECK(copies.Untouched(3));
}

TEST_CASE("behind Quiesce all is told of at once, done or failed") {
  ManualClock clock;
  const bool finishes = GENERATE(true, false);
  const auto engine = Model({.fastest = absl::Seconds(1),
                             .slowest = absl::Seconds(1),
                             .finishes_when_quiesced = finishes,
                             .clock = &clock});
  Copies copies(6);
  SubmitAll(*engine, copies, 5);
  REQUIRE(engine->Submit(copies[5]));  // and no doorbell
  engine->Quiesce();
  const Told told = PollAll(*engine);
  CHECK((finishes ? told.done : told.failed).size() == 6);
  CHECK(engine->pending() == 0);
}

}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// When an engine is asked what became of its copies, and what is done about those that went wrong.
#include <algorithm>

#include "tests/nic/copy_bench.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr absl::Duration kPatience = absl::Microseconds(20);

// An engine that takes so long for each copy.
ModelCopyEngineOptions Takes(absl::Duration time) { return {.fastest = time, .slowest = time}; }

}  // namespace

TEST_CASE("a steady load polls once a batch and finds all done") {
  constexpr size_t kBatches = 100, kBatch = 32;
  CopyBench bench({.engine = Takes(absl::Microseconds(8))});
  for (size_t i = 0; i < kBatches; ++i) {
    bench.Batch(kBatch);
    CHECK(bench.Told() == i * kBatch);
    bench.Pass(absl::Microseconds(10));
    bench.copies().Look();
  }
  CHECK(bench.counts().polls == kBatches - 1);
  CHECK(bench.counts().early_polls == 0);
  CHECK(bench.counts().timeouts == 0);
  CHECK(bench.counts().by_engine == (kBatches - 1) * kBatch);
  CHECK(bench.ToldAreThere());
}

TEST_CASE("nobody is told of bytes before their copy is done, however late and out of order") {
  CopyBench bench({.engine = {.slowest = absl::Microseconds(60)}});
  bool waited = false;
  for (int i = 0; i < 200; ++i) {
    bench.Batch(8);
    bench.Pass(absl::Microseconds(i % 9));
    bench.copies().Look();
    waited |= !bench.IsThere(bench.begun() - 1);
    REQUIRE(bench.ToldAreThere());
  }
  CHECK(waited);
  CHECK(bench.Told() > 100 * 8);
}

TEST_CASE("the last batch is told of within T") {
  CopyBench bench({.engine = Takes(absl::Microseconds(5)), .patience = kPatience});
  CHECK(bench.copies().due() == absl::InfiniteDuration());
  bench.Batch(4);
  CHECK(bench.copies().due() == kPatience);
  bench.Pass(kPatience - absl::Nanoseconds(1));
  bench.copies().Look();
  CHECK(bench.Told() == 0);
  CHECK(bench.counts().polls == 0);

  bench.Pass(absl::Nanoseconds(1));
  CHECK(bench.copies().due() == absl::ZeroDuration());
  bench.copies().Look();
  CHECK(bench.Told() == 4);
  CHECK(bench.ToldAreThere());
  CHECK(bench.counts().timeouts == 1);
  CHECK(bench.copies().due() == absl::InfiniteDuration());
}

TEST_CASE("the timer does not fire when the next batch came in time") {
  CopyBench bench({.engine = Takes(absl::Microseconds(5)), .patience = kPatience});
  for (int i = 0; i < 50; ++i) {
    bench.Batch(4);
    bench.Pass(kPatience - absl::Nanoseconds(1));
    bench.copies().Look();
  }
  CHECK(bench.counts().timeouts == 0);
  bench.Pass(absl::Nanoseconds(1));
  bench.copies().Look();
  CHECK(bench.counts().timeouts == 1);
  CHECK(bench.Told() == 200);
}

TEST_CASE("an engine that is slower than T is asked again each T, and no sooner") {
  CopyBench bench({.engine = Takes(3 * kPatience), .patience = kPatience});
  bench.Batch(4);
  for (uint64_t asked = 1; asked <= 3; ++asked) {
    bench.Pass(kPatience);
    for (int i = 0; i < 5; ++i) bench.copies().Look();
    CHECK(bench.counts().timeouts == asked);
  }
  CHECK(bench.counts().early_polls == 2);
  CHECK(bench.Told() == 4);
}

TEST_CASE("a copy that is late holds up those behind it, and no longer") {
  CopyBench bench({.engine = {.slowest = absl::Microseconds(50), .seed = 7}});
  bench.Batch(64);
  for (int i = 0; i < 50; ++i) {
    bench.Pass(absl::Microseconds(1));
    bench.Batch(0);  // which polls
    const size_t told = bench.Told();
    REQUIRE(bench.ToldAreThere());
    if (told < 64) CHECK_FALSE(bench.IsThere(told));
  }
  CHECK(bench.Told() == 64);
}

TEST_CASE("a copy that the engine fails at is done by the processor, once") {
  CopyBench bench({.engine = {.fail = {1, 3, 4}}});
  bench.Batch(5);
  bench.copies().EndBatch();
  CHECK(bench.Told() == 5);
  CHECK(bench.ToldAreThere());
  CHECK(bench.counts().failed == 3);
  CHECK(bench.counts().by_engine == 2);
}

TEST_CASE("an engine that is removed leaves nothing undone, and gets nothing more") {
  const bool finds_by_timer = GENERATE(true, false);
  CopyBench bench({.engine = Takes(absl::Seconds(1)), .patience = kPatience});
  bench.Batch(5);
  bench.engine().Remove();
  bench.Pass(kPatience);
  finds_by_timer ? bench.copies().Look() : bench.Batch(3);
  CHECK(bench.Told() == bench.begun());
  CHECK(bench.ToldAreThere());
  CHECK(bench.counts().removed == bench.begun());
  bench.Batch(2);
  CHECK_FALSE(bench.copies().pending());
  CHECK(bench.ToldAreThere());
  CHECK(bench.counts().by_engine == 0);
}

TEST_CASE("who frees memory with a copy pending waits for it, whether the engine finishes or gives up") {
  const bool finishes = GENERATE(true, false);
  ModelCopyEngineOptions engine = Takes(absl::Seconds(1));
  engine.finishes_when_quiesced = finishes;
  CopyBench bench({.engine = engine});
  bench.Batch(5);
  bench.Copy();  // of a batch that has not ended
  bench.copies().Finish();
  CHECK(bench.Told() == 6);
  CHECK(bench.ToldAreThere());
  CHECK(bench.engine().pending() == 0);
  CHECK((finishes ? bench.counts().by_engine : bench.counts().failed) == 6);
  bench.Batch(5);
  CHECK(bench.counts().polls == 0);  // nothing of a batch before was left
}

TEST_CASE("small payloads are the processor's, and at once") {
  CopyBench bench({.at_least = 64});
  bench.Batch(5, 63);
  CHECK(bench.Told() == 5);
  CHECK(bench.ToldAreThere());
  CHECK_FALSE(bench.copies().pending());
  CHECK(bench.counts().small == 5);
  bench.Batch(5, 64);
  CHECK(bench.copies().pending());
  CHECK(bench.counts().small == 5);
}

TEST_CASE("a small payload waits for the long one before it") {
  CopyBench bench({.engine = Takes(absl::Microseconds(5))});
  bench.Copy(1000);
  bench.Batch(1, 10);
  CHECK(bench.IsThere(1));
  CHECK(bench.Told() == 0);
  bench.Pass(absl::Microseconds(5));
  bench.copies().EndBatch();
  CHECK(bench.Told() == 2);
}

TEST_CASE("what finds the engine's ring full is copied by the processor, and order is kept") {
  ModelCopyEngineOptions engine = Takes(absl::Microseconds(5));
  engine.capacity = 4;
  CopyBench bench({.engine = engine});
  bench.Batch(10);
  CHECK(bench.counts().full == 6);
  CHECK(bench.IsThere(9));
  CHECK(bench.Told() == 0);
  bench.Pass(absl::Microseconds(5));
  bench.copies().EndBatch();
  CHECK(bench.Told() == 10);
  CHECK(bench.ToldAreThere());
}

TEST_CASE("copies that may not be late are the processor's") {
  CopyBench bench;
  bench.copies().Allow(false);
  bench.Batch(3);
  CHECK(bench.Told() == 3);
  CHECK(bench.counts().not_allowed == 3);
  bench.copies().Allow(true);
  bench.Batch(3);
  CHECK(bench.copies().pending());
}

namespace {

// Tells of what it has copied twice, and of what nobody asked for.
class Liar final : public CopyEngine {
 public:
  const std::string& name() const override { return name_; }
  size_t capacity() const override { return 8; }
  bool Submit(const CopyRequest& copy) override {
    std::copy_n(copy.from, copy.bytes, copy.to);
    last_ = copy.token;
    return true;
  }
  void RingDoorbell() override {}
  size_t Poll(absl::Span<CopyResult> results) override {
    const CopyResult lies[] = {{last_, true}, {last_, false}, {last_ + 1, false}, {~uint64_t{0}, false}};
    std::copy(std::begin(lies), std::end(lies), results.begin());
    return std::size(lies);
  }
  bool removed() const override { return false; }
  void Quiesce() override {}

 private:
  const std::string name_ = "liar";
  uint64_t last_ = 0;
};

}  // namespace

TEST_CASE("an engine that tells of a copy twice, or of one that there is not, is not believed") {
  DeferredCopies copies(std::make_unique<Liar>(), {.at_least = 1});
  Bytes from(100, 1), to(100);
  copies.Copy(to.data(), from.data(), 100);
  copies.EndBatch();
  copies.EndBatch();
  CHECK(copies.done() == 1);
  CHECK(to == from);
  CHECK(copies.counts().by_engine == 1);
  CHECK(copies.counts().failed == 0);
}

TEST_CASE("deferring copies allocates nothing") {
  CopyBench bench({.engine = {.slowest = absl::Microseconds(10)}});
  const Bytes from(1000);
  Bytes to(64 * 1000);
  const AllocationCounter counter;
  for (int batch = 0; batch < 20; ++batch) {
    bench.copies().Finish();
    for (size_t i = 0; i < 64; ++i) bench.copies().Copy(&to[i * 1000], from.data(), 1000);
    bench.copies().EndBatch();
    bench.Pass(absl::Microseconds(20));
    bench.copies().Look();
  }
  CHECK(counter.allocations() == 0);
}

TEST_CASE("whatever engine, batches and pauses: all is told of, in order, whole, and counted once") {
  Random random(PrintedSeed());
  for (int round = 0; round < 60; ++round) {
    CopyBench bench({.engine = {.capacity = 1 + Below(random, 40),
                                .slowest = absl::Microseconds(Below(random, 40)),
                                .fail_chance = Below(random, 3) == 0 ? 0.2 : 0,
                                .removed_after = Below(random, 4) == 0 ? Below(random, 300) : 0,
                                .finishes_when_quiesced = Below(random, 2) == 0,
                                .seed = random()}});
    size_t told = 0;
    for (int step = 0; step < 60; ++step) {
      for (size_t n = Below(random, 20); n > 0; --n)
        bench.Copy(static_cast<uint32_t>(1 + Below(random, 300)));
      bench.copies().EndBatch();
      bench.Pass(absl::Microseconds(Below(random, 30)));
      bench.copies().Look();
      if (Below(random, 20) == 0) bench.copies().Finish();
      REQUIRE(bench.ToldAreThere());
      REQUIRE(bench.Told() >= std::exchange(told, bench.Told()));
    }
    bench.copies().Finish();
    REQUIRE(bench.Told() == bench.begun());
    REQUIRE(bench.ToldAreThere());
    const CopyCounts counts = bench.counts();
    REQUIRE(counts.by_engine + counts.small + counts.full + counts.failed + counts.removed == bench.begun());
  }
}

}  // namespace sluice::testing

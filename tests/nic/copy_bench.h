// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_COPY_BENCH_H_
#define SLUICE_TESTS_NIC_COPY_BENCH_H_

// Deferred copies over a model engine, on a clock that is turned by hand, between memory that knows what belongs where:
//
//   CopyBench bench({.engine = {.slowest = absl::Microseconds(5)}});
//   bench.Batch(32);
//   bench.Pass(absl::Microseconds(20));
//   bench.copies().Look();
//   CHECK(bench.Told() == 32);

#include <catch2/catch.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "nic/copy/deferred_copies_internal.h"
#include "sluice/nic/model_copy_engine.h"
#include "tests/support/frames.h"

namespace sluice::testing {

struct CopyBenchOptions {
  ModelCopyEngineOptions engine = {};  // the clock is the bench's
  uint32_t at_least = 64;
  absl::Duration patience = absl::Microseconds(20);
};

class CopyBench {
 public:
  explicit CopyBench(CopyBenchOptions options = {}) {
    options.engine.clock = &clock_;
    absl::StatusOr<std::unique_ptr<ModelCopyEngine>> engine = ModelCopyEngine::Create(options.engine);
    REQUIRE(engine.ok());
    engine_ = engine->get();
    copies_ = std::make_unique<DeferredCopies>(
        *std::move(engine),
        DeferredCopyOptions{.at_least = options.at_least, .patience = options.patience, .clock = &clock_});
  }

  DeferredCopies& copies() { return *copies_; }
  ModelCopyEngine& engine() { return *engine_; }
  CopyCounts counts() const { return copies_->counts(); }
  void Pass(absl::Duration time) { clock_.Advance(time); }

  // Begins a copy, and remembers what it is to bring and when it may be told of.
  void Copy(uint32_t bytes = 256) {
    One& one = *all_.emplace_back(std::make_unique<One>());
    for (uint32_t i = 0; i < bytes; ++i) one.from.push_back(static_cast<uint8_t>(all_.size() * 31 + i));
    one.to.resize(bytes);
    copies_->Copy(one.to.data(), one.from.data(), bytes);
    one.mark = copies_->mark();
  }
  void Batch(size_t count, uint32_t bytes = 256) {
    for (size_t i = 0; i < count; ++i) Copy(bytes);
    copies_->EndBatch();
  }

  // How many of the copies are told of, from the first on; and whether each of those is there.
  size_t Told() const {
    size_t told = 0;
    while (told < all_.size() && all_[told]->mark <= copies_->done()) ++told;
    return told;
  }
  bool ToldAreThere() const {
    for (size_t i = 0, told = Told(); i < told; ++i) {
      if (!IsThere(i)) return false;
    }
    return true;
  }
  bool IsThere(size_t i) const { return all_[i]->to == all_[i]->from; }
  size_t begun() const { return all_.size(); }

 private:
  struct One {
    Bytes from, to;
    uint64_t mark = 0;
  };

  ManualClock clock_;
  std::vector<std::unique_ptr<One>> all_;
  ModelCopyEngine* engine_ = nullptr;
  std::unique_ptr<DeferredCopies> copies_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_COPY_BENCH_H_

// SPDX-License-Identifier: Apache-2.0
// What it saves to ask a copy engine late: polls in vain for each batch of a steady load, and without. The engine is a model that
// takes a stated time for each copy. What a copy costs the processor is with the vhost-user port's other rows: the engines at hand
// copy by processor, so that nothing is gained there, and what is seen is the cost of deferring.

#include <array>
#include <memory>
#include <vector>

#include "benchmarks/paired.h"
#include "nic/copy/deferred_copies_internal.h"
#include "sluice/nic/model_copy_engine.h"

namespace sluice::bench {
namespace {

constexpr size_t kBatch = 32;
constexpr size_t kBatches = 2000;
constexpr uint32_t kBytes = 1518;
constexpr Nanoseconds kInterval = 20'000;  // between batches

struct Memory {
  std::vector<uint8_t> from = std::vector<uint8_t>(kBatch * kBytes);
  // Of two batches, which are under way at a time.
  std::vector<uint8_t> to = std::vector<uint8_t>(2 * kBatch * kBytes);
};

absl::StatusOr<std::unique_ptr<ModelCopyEngine>> Engine() {
  return ModelCopyEngine::Create({.capacity = 4 * kBatch,
                                  .fastest = absl::Microseconds(4),
                                  .slowest = absl::Microseconds(8),
                                  .poisons = false});
}

void WaitUntil(Nanoseconds time) {
  while (Clock::Monotonic().Now() < time) {
  }
}

absl::StatusOr<double> Deferred() {
  absl::StatusOr<std::unique_ptr<ModelCopyEngine>> engine = Engine();
  if (!engine.ok()) return engine.status();
  Memory memory;
  DeferredCopies copies(*std::move(engine), {.patience = absl::Milliseconds(1)});
  Nanoseconds next = Clock::Monotonic().Now();
  for (size_t batch = 0; batch < kBatches; ++batch) {
    uint8_t* const to = &memory.to[batch % 2 * kBatch * kBytes];
    for (size_t i = 0; i < kBatch; ++i) copies.Copy(to + i * kBytes, &memory.from[i * kBytes], kBytes);
    copies.EndBatch();
    WaitUntil(next += kInterval);
  }
  return static_cast<double>(copies.counts().early_polls) / kBatches;
}

// The simple way: each batch is waited for.
absl::StatusOr<double> AtOnce() {
  absl::StatusOr<std::unique_ptr<ModelCopyEngine>> engine = Engine();
  if (!engine.ok()) return engine.status();
  Memory memory;
  std::array<CopyResult, kBatch> results;
  uint64_t in_vain = 0;
  for (size_t batch = 0; batch < kBatches; ++batch) {
    for (size_t i = 0; i < kBatch; ++i)
      (*engine)->Submit(
          {.to = &memory.to[i * kBytes], .from = &memory.from[i * kBytes], .bytes = kBytes, .token = i});
    (*engine)->RingDoorbell();
    for (size_t done = 0; done < kBatch;) {
      const size_t told = (*engine)->Poll(absl::MakeSpan(results));
      done += told;
      in_vain += done < kBatch;
    }
  }
  return static_cast<double>(in_vain) / kBatches;
}

Registration Row(const char* work, double goal, absl::StatusOr<double> (*sampler)()) {
  return Registration({.work = work, .unit = "polls in vain/batch", .goal = goal, .open = [sampler] {
                         return Pair{.ours = sampler};
                       }});
}

const Registration rows[] = {
    Row("nic/copies/deferred", 0.05, Deferred),
    Row("nic/copies/at_once", 0, AtOnce),
};

}  // namespace
}  // namespace sluice::bench

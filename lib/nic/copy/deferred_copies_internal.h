// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_COPY_DEFERRED_COPIES_INTERNAL_H_
#define SLUICE_NIC_COPY_DEFERRED_COPIES_INTERNAL_H_

// Copies that an engine does while the processor goes on, and that are asked for late (S25). For any queue: it copies its batches
// through this, and tells whoever waits for the bytes when done() has come far enough.
//
//   batch n      Copy Copy Copy ─▶ EndBatch: doorbell; now it is asked for batch n - 1, which had all the time to finish
//   batch n + 1  Copy Copy ──────▶ EndBatch: doorbell; now it is asked for batch n
//   no more      ... due() ──────▶ Look: asked for batch n + 1, when `patience` has passed
//
//   copies by number:   done() ───────────── mark()           done() moves over those that are done, in the order in
//                        told of │ under way │ next           which they were begun, whatever the order of the engine
//
// Failed copies are copied again by the processor, here and once; so is all that an engine had that was removed. What cannot be
// submitted is copied by the processor at once, and then counts as no copy: who waits for its order waits for mark().
//
// Neither end of a copy may go, or change, before done() is past it: Finish() first.
//
// Threads: as CopyEngine; counts() from any.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "sluice/base/counters.h"
#include "sluice/nic/copy_engine.h"

namespace sluice {

class DeferredCopies {
 public:
  // The options' factory is not used here.
  DeferredCopies(std::unique_ptr<CopyEngine> engine, const DeferredCopyOptions& options);
  ~DeferredCopies() { Finish(); }
  DeferredCopies(const DeferredCopies&) = delete;
  DeferredCopies& operator=(const DeferredCopies&) = delete;

  // Of the batch at hand. Neither end overlaps one that is under way.
  void Copy(uint8_t* to, const uint8_t* from, uint32_t bytes);
  // Copies under way, and those before them, are all done when done() is this.
  uint64_t mark() const { return next_; }
  void EndBatch();

  uint64_t done() const { return first_; }
  bool pending() const { return first_ != next_; }
  // How long until Look asks; infinite while nothing is under way.
  absl::Duration due() const;
  void Look();
  // All that is under way is done when this returns. Waits for the engine as long as its Quiesce does.
  void Finish();

  // While not allowed the processor copies everything, at once. Nothing is under way.
  void Allow(bool engine) { allowed_ = engine; }
  const CopyEngine& engine() const { return *engine_; }
  CopyCounts counts() const;

 private:
  enum Count : uint8_t {
    kByEngine,
    kSmall,
    kFull,
    kFailed,
    kRemoved,
    kNotAllowed,
    kPolls,
    kEarlyPolls,
    kTimeouts,
    kCounts
  };
  struct UnderWay {
    uint8_t* to = nullptr;
    const uint8_t* from = nullptr;
    uint32_t bytes = 0;
    bool done = false;
  };

  void CopyByCpu(const UnderWay& copy, Count why);
  Count Submit(const UnderWay& copy);
  void PollFor(uint64_t end);
  void TakeResults();
  void TakeIn(const CopyResult& result);
  void TakeOver(Count why);
  void Advance();
  UnderWay& at(uint64_t number) { return under_way_[number & mask_]; }

  const std::unique_ptr<CopyEngine> engine_;
  const Clock& clock_;
  const uint32_t at_least_;
  const Nanoseconds patience_;
  bool allowed_ = true;
  bool removed_ = false;

  // By number: a ring.
  std::vector<UnderWay> under_way_;
  const uint64_t mask_;
  uint64_t first_ = 0;  // that is not known to be done
  uint64_t next_ = 0;
  uint64_t batch_ = 0;   // where the one at hand began
  Nanoseconds due_ = 0;  // while something is under way
  CounterSet<Count, kCounts> counts_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_COPY_DEFERRED_COPIES_INTERNAL_H_

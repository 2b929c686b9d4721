// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cstring>
#include <utility>

#include "nic/copy/deferred_copies_internal.h"

namespace sluice {
namespace {

// Twice of what the engine holds: one copy that is late keeps the places of those behind it.
size_t PlacesFor(const CopyEngine& engine) { return std::bit_ceil(2 * engine.capacity()); }

}  // namespace

DeferredCopies::DeferredCopies(std::unique_ptr<CopyEngine> engine, const DeferredCopyOptions& options)
    : engine_(std::move(engine)),
      clock_(options.clock != nullptr ? *options.clock : Clock::Monotonic()),
      at_least_(options.at_least),
      patience_(static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(options.patience))),
      under_way_(PlacesFor(*engine_)),
      mask_(under_way_.size() - 1) {}

void DeferredCopies::Copy(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  const UnderWay copy = {.to = to, .from = from, .bytes = bytes};
  if (bytes < at_least_) return CopyByCpu(copy, kSmall);
  if (!allowed_) [[unlikely]]
    return CopyByCpu(copy, kNotAllowed);
  if (const Count refused = Submit(copy); refused != kCounts) [[unlikely]]
    CopyByCpu(copy, refused);
}

void DeferredCopies::CopyByCpu(const UnderWay& copy, Count why) {
  std::memcpy(copy.to, copy.from, copy.bytes);
  counts_.Add(why);
}

// Why not, or kCounts.
DeferredCopies::Count DeferredCopies::Submit(const UnderWay& copy) {
  if (removed_) return kRemoved;
  if (next_ - first_ == under_way_.size()) return kFull;
  if (!engine_->Submit({.to = copy.to, .from = copy.from, .bytes = copy.bytes, .token = next_}))
    return engine_->removed() ? kRemoved : kFull;
  at(next_++) = copy;
  return kCounts;
}

void DeferredCopies::EndBatch() {
  const uint64_t before = std::exchange(batch_, next_);
  if (next_ != before) engine_->RingDoorbell();
  if (first_ < before) PollFor(before);
  if (pending()) due_ = clock_.Now() + patience_;
}

absl::Duration DeferredCopies::due() const {
  if (!pending()) return absl::InfiniteDuration();
  const Nanoseconds now = clock_.Now();
  return now >= due_ ? absl::ZeroDuration() : absl::Nanoseconds(due_ - now);
}

void DeferredCopies::Look() {
  if (!pending() || clock_.Now() < due_) return;
  counts_.Add(kTimeouts);
  PollFor(next_);
  due_ = clock_.Now() + patience_;
}

// One round of questions, by somebody who hopes that all copies below `end` are done.
void DeferredCopies::PollFor(uint64_t end) {
  counts_.Add(kPolls);
  TakeResults();
  if (engine_->removed()) [[unlikely]]
    TakeOver(kRemoved);
  Advance();
  if (first_ < end) counts_.Add(kEarlyPolls);
}

void DeferredCopies::TakeResults() {
  std::array<CopyResult, 64> results;
  size_t told = results.size();
  while (told == results.size()) {
    told = engine_->Poll(absl::MakeSpan(results));
    for (size_t i = 0; i < told; ++i) TakeIn(results[i]);
  }
}

// An engine that tells of a copy twice, or of one that is not under way, is not believed.
void DeferredCopies::TakeIn(const CopyResult& result) {
  if (result.token - first_ >= next_ - first_ || at(result.token).done) [[unlikely]]
    return;
  UnderWay& copy = at(result.token);
  if (result.done) {
    counts_.Add(kByEngine);
  } else {
    CopyByCpu(copy, kFailed);
  }
  copy.done = true;
}

// All that the engine did not tell of. It writes no more.
void DeferredCopies::TakeOver(Count why) {
  removed_ |= why == kRemoved;
  for (uint64_t number = first_; number != next_; ++number) {
    UnderWay& copy = at(number);
    if (copy.done) continue;
    CopyByCpu(copy, why);
    copy.done = true;
  }
}

void DeferredCopies::Advance() {
  while (first_ != next_ && at(first_).done) ++first_;
}

void DeferredCopies::Finish() {
  if (!pending()) return;
  engine_->Quiesce();
  TakeResults();
  TakeOver(engine_->removed() ? kRemoved : kFailed);
  Advance();
  batch_ = next_;
}

CopyCounts DeferredCopies::counts() const {
  return {.by_engine = counts_[kByEngine],
          .small = counts_[kSmall],
          .full = counts_[kFull],
          .failed = counts_[kFailed],
          .removed = counts_[kRemoved],
          .not_allowed = counts_[kNotAllowed],
          .polls = counts_[kPolls],
          .early_polls = counts_[kEarlyPolls],
          .timeouts = counts_[kTimeouts]};
}

}  // namespace sluice

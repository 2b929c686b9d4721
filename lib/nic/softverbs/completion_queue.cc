// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <utility>

#include "nic/softverbs/completion_queue_internal.h"

namespace sluice {

void SoftCompletionQueue::PushSlowly() {
  if (overrun_) return;
  if (late_by_ != 0) At(end_).due = clock_.Now() + late_by_;
  if (end_++ == seen_ && late_by_ == 0) ShowNext();
}

void SoftCompletionQueue::ShowNext() {
  const bool error = At(seen_++).status != SoftStatus::kOk;
  if (alarm_ != Alarm::kAny && !(alarm_ == Alarm::kErrors && error)) return;
  alarm_ = Alarm::kOff;  // once
  if (listener_ != nullptr) listener_->Ring();
}

void SoftCompletionQueue::ShowDue() {
  if (!has_late()) return;
  const Nanoseconds now = clock_.Now();
  while (has_late() && At(seen_).due <= now) ShowNext();
}

void SoftCompletionQueue::Overrun() {
  if (std::exchange(overrun_, true)) return;
  if (listener_ != nullptr) listener_->Overrun();
}

void SoftCompletionQueue::SetFaults(Nanoseconds late_by, bool may_overrun) {
  late_by_ = late_by;
  may_overrun_ = may_overrun;
}

void SoftCompletionQueue::Resize(uint32_t size) {
  std::vector<SoftCompletion> slots(std::bit_ceil(size));
  for (uint64_t i = 0; i < count(); ++i) slots[i] = At(begin_ + i);
  slots_ = std::move(slots);
  size_ = size;
  seen_ -= begin_;
  end_ -= begin_;
  begin_ = 0;
}

void SoftCompletionQueue::Forget(const SoftWorkRing& ring) {
  for (uint64_t i = begin_; i != end_; ++i) {
    if (At(i).ring != &ring) continue;
    At(i).ring = nullptr;
    has_gone_ = true;
  }
  if (!looked_at()) Sweep();
}

void SoftCompletionQueue::Sweep() {
  if (!std::exchange(has_gone_, false)) return;
  uint64_t kept = begin_;
  uint64_t seen = begin_;
  for (uint64_t i = begin_; i != end_; ++i) {
    if (At(i).ring == nullptr) continue;
    if (i < seen_) seen = kept + 1;
    At(kept++) = At(i);
  }
  seen_ = seen;
  end_ = kept;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <utility>

#include "nic/softverbs/completion_queue_internal.h"
#include "nic/softverbs/work_ring_internal.h"

namespace sluice {

void SoftCompletionQueue::Push(const SoftCompletion& completion) {
  --promised_;
  At(end_++) = completion;
  const bool error = completion.status != SoftStatus::kOk;
  if (alarm_ != Alarm::kAny && !(alarm_ == Alarm::kErrors && error)) return;
  alarm_ = Alarm::kOff;  // once
  if (listener_ != nullptr) listener_->Ring();
}

SoftCompletion SoftCompletionQueue::Pop() {
  const SoftCompletion& oldest = At(begin_++);
  oldest.ring->Retire(oldest.place);
  return oldest;
}

void SoftCompletionQueue::Resize(uint32_t size) {
  std::vector<SoftCompletion> slots(std::bit_ceil(size));
  uint64_t kept = 0;
  while (begin_ != end_) slots[kept++] = At(begin_++);
  slots_ = std::move(slots);
  size_ = size;
  begin_ = 0;
  end_ = kept;
}

void SoftCompletionQueue::Forget(const SoftWorkRing& ring) {
  uint64_t kept = begin_;
  for (uint64_t i = begin_; i != end_; ++i) {
    if (At(i).ring != &ring) At(kept++) = At(i);
  }
  end_ = kept;
}

}  // namespace sluice

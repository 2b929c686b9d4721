// SPDX-License-Identifier: Apache-2.0
#include <sys/eventfd.h>

#include <utility>

#include "base/asymmetric_fence_internal.h"
#include "nic/vhost/guest_loans_internal.h"

namespace sluice {

GuestLoans::GuestLoans(size_t slots, std::shared_ptr<const UniqueFd> wake)
    : wake_(std::move(wake)), out_(std::make_unique<std::atomic<uint32_t>[]>(slots)) {}

void GuestLoans::Keep(std::shared_ptr<const GuestMemory> memory) {
  if (lent() == 0) kept_.clear();
  kept_.push_back(std::move(memory));
}

// Relaxed: whoever returns a piece got the packet from this thread, by what orders memory.
void GuestLoans::Lend(size_t slot, uint32_t pieces) {
  out_[slot].store(pieces, std::memory_order_relaxed);
  holders_.fetch_add(1, std::memory_order_relaxed);
}

void GuestLoans::Sleep(bool asleep) {
  asleep_.store(asleep, std::memory_order_relaxed);
  // With the one in Returned: either the source sees the chain that came home, or that thread sees the sleeper.
  if (asleep) HeavyFence();
}

// Release: the bytes were read before the guest gets them back. Acquire, for the last: it stands for the others.
void GuestLoans::Returned(uint64_t cookie) {
  if (out_[cookie].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  LightFence();
  if (asleep_.load(std::memory_order_relaxed) && asleep_.exchange(false, std::memory_order_relaxed) &&
      wake_ != nullptr)
    eventfd_write(wake_->get(), 1);
  Unhold();
}

void GuestLoans::Unhold() {
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace sluice

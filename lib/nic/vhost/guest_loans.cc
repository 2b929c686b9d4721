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

void GuestLoans::Sleep(bool asleep) {
  asleep_.store(asleep, std::memory_order_relaxed);
  // With the one in Returned: either the source sees the chain that came home, or that thread sees the sleeper.
  if (asleep) HeavyFence();
}

void GuestLoans::Returned(absl::Span<const uint64_t> slots) {
  size_t home = 0;
  for (const uint64_t slot : slots) home += ReturnPiece(slot);
  if (home == 0) return;
  LightFence();
  if (asleep_.load(std::memory_order_relaxed) && asleep_.exchange(false, std::memory_order_relaxed) &&
      wake_ != nullptr)
    eventfd_write(wake_->get(), 1);
  Unhold(home);
}

// Whether it was the last of its chain: nobody else then has one to return, so that no locked instruction is needed. Release:
// the bytes were read before the guest gets them back. Acquire, for the last: it stands for the others.
inline bool GuestLoans::ReturnPiece(size_t slot) {
  std::atomic<uint32_t>& out = out_[slot];
  if (out.load(std::memory_order_acquire) != 1) return out.fetch_sub(1, std::memory_order_acq_rel) == 1;
  out.store(0, std::memory_order_release);
  return true;
}

void GuestLoans::Unhold(size_t holders) {
  if (holders_.fetch_sub(holders, std::memory_order_acq_rel) == holders) delete this;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_BUDGET_ACCOUNT_INTERNAL_H_
#define SLUICE_PACKET_BUDGET_ACCOUNT_INTERNAL_H_

// One owner's line in the book. What a charge decides on is one word, so that one compare-and-swap decides it:
//
//   63        generation        33 │ 32 waiting │ 31        used, in units        0
//
// The generation changes whenever the allowance does, or the account gets another owner: a charge that looked
// at the old ones fails and looks again. So no charge is granted against an allowance that is no longer, and
// none lands on a stranger's account (2^31 changes within one charge would be needed).

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/base/counters.h"
#include "sluice/packet/budget.h"

namespace sluice {

inline constexpr uint32_t kBudgetUnit = 64;  // bytes

constexpr uint32_t BudgetUnits(uint32_t bytes) {
  return static_cast<uint32_t>((uint64_t{bytes} + kBudgetUnit - 1) / kBudgetUnit);
}

class alignas(kCacheLine) BudgetBook::Account {
 public:
  // Who has this account: an owner, or nobody yet, or nobody any more (look-ups go on to the next).
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kLeft = ~uint32_t{0};
  static constexpr bool MayHave(OwnerId owner) { return owner.value() != kFree && owner.value() != kLeft; }

  // Where look-ups start. Owners are often counted up, so neighbours are spread by the golden ratio.
  static constexpr size_t FirstSlot(OwnerId owner) {
    return static_cast<size_t>((owner.value() * uint64_t{0x9E3779B97F4A7C15}) >> 40);
  }

  uint32_t owner() const { return owner_.load(std::memory_order_acquire); }
  uint64_t allowance() const { return allowance_.load(std::memory_order_acquire); }
  uint32_t used() const { return static_cast<uint32_t>(word_.load(std::memory_order_acquire)); }
  // What is not to be given to others.
  uint64_t committed() const { return std::max<uint64_t>(allowance(), used()); }
  uint64_t oversized() const { return oversized_.load(std::memory_order_relaxed); }

  // Charges up to `n` pieces of `units` in the owner's name; 0 while others wait.
  size_t Charge(uint32_t owner, uint32_t units, size_t n);

  // For the one at the head of the waiters, with the book locked.
  bool ChargeWaiting(uint32_t units);

  // True when somebody waits for it: the caller pumps.
  bool Release(uint64_t units) { return (word_.fetch_sub(units, std::memory_order_acq_rel) & kWaiting) != 0; }

  // With the book locked.
  // ------------------------------------------------------------------------------------------------------
  void Open(uint32_t owner);
  void SetAllowance(uint64_t units);
  void Close();  // the owner is removed; used() may be more than zero still
  void Leave();  // and now it is zero
  bool removed() const { return removed_; }
  bool InUse() const { return MayHave(OwnerId(owner())); }
  void CountOversized() { oversized_.fetch_add(1, std::memory_order_relaxed); }
  // Tells charges whether somebody waits.
  void ShowWaiting(bool waiting);

  BudgetWaiter* first = nullptr;
  BudgetWaiter* last = nullptr;

 private:
  static constexpr uint64_t kWaiting = uint64_t{1} << 32;
  static constexpr uint64_t kGeneration = uint64_t{1} << 33;

  std::atomic<uint64_t> word_{0};
  std::atomic<uint64_t> allowance_{0};
  std::atomic<uint32_t> owner_{kFree};
  bool removed_ = false;
  std::atomic<uint64_t> oversized_{0};
};

}  // namespace sluice

#endif  // SLUICE_PACKET_BUDGET_ACCOUNT_INTERNAL_H_

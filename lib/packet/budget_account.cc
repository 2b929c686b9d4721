// SPDX-License-Identifier: Apache-2.0
#include "packet/budget_account_internal.h"

namespace sluice {

size_t BudgetBook::Account::Charge(uint32_t owner, uint32_t units, size_t n) {
  uint64_t word = word_.load(std::memory_order_acquire);
  while (true) {
    // Read after the word: if they change after that, so has the generation, and the exchange fails.
    const uint64_t allowance = allowance_.load(std::memory_order_acquire);
    if (owner_.load(std::memory_order_acquire) != owner || (word & kWaiting) != 0) return 0;
    const uint64_t used = static_cast<uint32_t>(word);
    const uint64_t room = allowance > used ? allowance - used : 0;
    const uint64_t granted = std::min<uint64_t>(n, room / units);
    if (granted == 0) {
      if (units > allowance) CountOversized();
      return 0;
    }
    if (word_.compare_exchange_weak(word, word + granted * units, std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
      return granted;
    }
  }
}

// Nobody changes the allowance meanwhile, and charges keep out, so only releases can come between.
bool BudgetBook::Account::ChargeWaiting(uint32_t units) {
  if (used() + uint64_t{units} > allowance()) return false;
  word_.fetch_add(units, std::memory_order_acq_rel);
  return true;
}

// The generation goes first: a charge that sees the new owner, or its allowance, fails on the old word.
void BudgetBook::Account::Open(uint32_t owner) {
  word_.fetch_add(kGeneration, std::memory_order_acq_rel);
  owner_.store(owner, std::memory_order_release);
  oversized_.store(0, std::memory_order_relaxed);
}

void BudgetBook::Account::SetAllowance(uint64_t units) {
  removed_ = false;
  allowance_.store(units, std::memory_order_release);
  word_.fetch_add(kGeneration, std::memory_order_acq_rel);
}

void BudgetBook::Account::Close() {
  SetAllowance(0);
  removed_ = true;
}

void BudgetBook::Account::Leave() {
  owner_.store(kLeft, std::memory_order_release);
  removed_ = false;
}

void BudgetBook::Account::ShowWaiting(bool waiting) {
  if (waiting) {
    word_.fetch_or(kWaiting, std::memory_order_acq_rel);
  } else {
    word_.fetch_and(~kWaiting, std::memory_order_acq_rel);
  }
}

}  // namespace sluice

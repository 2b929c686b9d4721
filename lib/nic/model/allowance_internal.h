// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_ALLOWANCE_INTERNAL_H_
#define SLUICE_NIC_MODEL_ALLOWANCE_INTERNAL_H_

// Who pays for what a queue receives, and how the queue sleeps until there is something to pay with.
//
// Threads: the poller, but for short(), which is any thread's, and for the call-backs of the book.

#include <atomic>

#include "nic/model/doorbell_internal.h"
#include "sluice/packet/budget.h"
#include "sluice/packet/packet.h"

namespace sluice {

class Allowance final : private BudgetWaiter {
 public:
  void Open(OwnerId owner) {
    owner_ = owner;
    short_.store(false, std::memory_order_relaxed);
  }

  // Charges the first of `n` packets, as far as the allowance reaches; returns how many.
  size_t Charge(Packet* const* packets, size_t n);

  // Whether the last Charge left some.
  bool is_short() const { return short_.load(std::memory_order_relaxed); }

  // Whether `packet` can never be charged, because it is larger than all of the allowance.
  bool Hopeless(const Packet& packet) const;

  // Rings `bell` once when the allowance reaches for `packet`; false when it does already.
  bool RingWhenEnough(const Packet& packet, Doorbell& bell);
  // Stops that; must come before the next Charge.
  void StopWaiting();

 private:
  void Granted() override;
  void Refused() override;

  OwnerId owner_;
  std::atomic<bool> short_{false};
  BudgetBook* book_ = nullptr;  // not null: waits
  Doorbell* bell_ = nullptr;
  uint32_t bytes_ = 0;
  bool granted_ = false;  // written by the book's thread, read after Cancel
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_ALLOWANCE_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GATE_INTERNAL_H_
#define SLUICE_NIC_VHOST_GATE_INTERNAL_H_

#include <sched.h>

#include <atomic>

namespace sluice {

// Keeps apart those who use a ring: pollers for a burst, and the control thread that changes it. One exchange a burst where
// nobody else is.
class Gate {
 public:
  void Enter() {
    while (busy_.exchange(true, std::memory_order_acquire)) [[unlikely]] Wait();
  }
  void Leave() { busy_.store(false, std::memory_order_release); }

 private:
  // For a burst's time, unless the other's thread was suspended in the middle of it.
  void Wait() const {
    for (int spins = 0; busy_.load(std::memory_order_relaxed); ++spins) {
      if (spins > kSpins) sched_yield();
    }
  }

  static constexpr int kSpins = 256;

  std::atomic<bool> busy_{false};
};

// Holds it for a scope.
class Within {
 public:
  explicit Within(Gate& gate) : gate_(gate) { gate_.Enter(); }
  ~Within() { gate_.Leave(); }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  Gate& gate_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GATE_INTERNAL_H_

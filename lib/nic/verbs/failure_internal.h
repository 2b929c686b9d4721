// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_FAILURE_INTERNAL_H_
#define SLUICE_NIC_VERBS_FAILURE_INTERNAL_H_

// What a queue and the control thread tell each other of failures.
//
//   control:  Suspect (the card says that the queue failed) ──▶ queue: TakeSuspicion, mends
//   queue:    Report (it was mended, or cannot be)          ──▶ control: TakeReport, tells the caller

#include <atomic>

#include "nic/verbs/alarm_internal.h"

namespace sluice {

class VerbsFailure {
 public:
  explicit VerbsFailure(const VerbsAlarm& alarm) : alarm_(alarm) {}

  void Suspect() { suspected_.store(true, std::memory_order_relaxed); }
  // A load for each poll; nothing is ordered by it.
  bool TakeSuspicion() {
    return suspected_.load(std::memory_order_relaxed) &&
           suspected_.exchange(false, std::memory_order_relaxed);
  }

  void Report() {
    reported_.store(true, std::memory_order_relaxed);
    alarm_.Ring();
  }
  bool TakeReport() { return reported_.exchange(false, std::memory_order_relaxed); }

 private:
  const VerbsAlarm& alarm_;
  std::atomic<bool> suspected_{false};
  std::atomic<bool> reported_{false};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_FAILURE_INTERNAL_H_

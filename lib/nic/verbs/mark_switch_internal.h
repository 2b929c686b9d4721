// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MARK_SWITCH_INTERNAL_H_
#define SLUICE_NIC_VERBS_MARK_SWITCH_INTERNAL_H_

// Whether a queue is polled in the way that tells marks, which takes some calls for each frame. Until a rule marks, all
// that has come is taken by one call.
//
// Threads: one polls, another turns it. Who turns it waits for the poll that is under way, so that no frame that a later
// rule marks is taken without its mark.

#include <atomic>

#include "absl/time/clock.h"

namespace sluice {

class VerbsMarkSwitch {
 public:
  // Whether marks are told by this poll. If not, it is to be ended.
  bool BeginPoll() {
    if (on_.load(std::memory_order_acquire)) return true;
    // Sequentially consistent here and in TurnOn: either this poll sees that it was turned, or who turned it sees the poll.
    polling_.store(true, std::memory_order_seq_cst);
    if (!on_.load(std::memory_order_seq_cst)) return false;
    EndPoll();
    return true;
  }
  // Release: what was polled was taken before.
  void EndPoll() { polling_.store(false, std::memory_order_release); }

  // Control thread.
  void TurnOn() {
    on_.store(true, std::memory_order_seq_cst);
    while (polling_.load(std::memory_order_seq_cst)) absl::SleepFor(absl::Microseconds(10));
  }
  // Nobody polls.
  void TurnOff() { on_.store(false, std::memory_order_relaxed); }

 private:
  std::atomic<bool> on_{false};
  std::atomic<bool> polling_{false};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MARK_SWITCH_INTERNAL_H_

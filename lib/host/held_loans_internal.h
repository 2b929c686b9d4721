// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_HOST_HELD_LOANS_INTERNAL_H_
#define SLUICE_HOST_HELD_LOANS_INTERNAL_H_

// How long packets that wait for an egress may go on borrowing.
//
//   guest A ──lends──▶ │ waits, for guest B takes nothing │
//
// A guest gets its buffers back in the order in which it sent: of all that it sends nothing comes back while one packet
// waits. So where something has waited for kPatience, the bytes are copied and the loans end, and so do those of what
// comes next, until nothing waits any more: a guest that is stuck, or means harm, holds up nobody else for longer than that.
//
// Threads: those of the egress.

#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/counters.h"
#include "sluice/packet/burst.h"

namespace sluice {

class HeldLoans {
 public:
  static constexpr absl::Duration kPatience = absl::Milliseconds(10);

  // To be called behind each send, with what that left. What it has to copy and has no buffers for is dropped, kNoBuffer.
  void Look(Burst& held, const Clock& clock, DropCounters& drops) {
    if (held.empty()) [[likely]] {
      since_ = kNever;
      overdue_ = false;
    } else {
      LookAtTime(held, clock, drops);
    }
  }
  // Whether that is so now, for what else waits behind the burst.
  bool overdue() const { return overdue_; }

  // Ends a packet's loans, if it has any. False when there are too few buffers: long ones get no more than half of a pool.
  [[nodiscard]] static bool End(Packet& packet);

 private:
  static constexpr Nanoseconds kNever = ~Nanoseconds{0};

  void LookAtTime(Burst& held, const Clock& clock, DropCounters& drops);

  Nanoseconds since_ = kNever;  // that something waits
  bool overdue_ = false;
};

}  // namespace sluice

#endif  // SLUICE_HOST_HELD_LOANS_INTERNAL_H_

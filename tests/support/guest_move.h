// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_GUEST_MOVE_H_
#define SLUICE_TESTS_SUPPORT_GUEST_MOVE_H_

// A guest that moves from one QEMU to another while it runs.
//
//   Guest here({.devices = ...}), there({.devices = ..., .arrives = true});
//   GuestMove move(here, there);
//   const MoveReport report = move.Finish();
//   there.MustRun(...);  // `here` stands still, and is of no more use
//
// Failures throw std::runtime_error.

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "tests/support/guest.h"

namespace sluice::testing {

struct MoveReport {
  std::string status = {};  // as QEMU has it: "active", "completed", "cancelled" ...
  absl::Duration downtime = {};
  absl::Duration total = {};
  int64_t passes = 0;  // over what was written since the last one
  int64_t bytes = 0;
};

// "in 612 ms, of which it stood still for 21 ms; 3 passes, 87 MB"
std::string TextOf(const MoveReport& report);

class GuestMove {
 public:
  // At full speed, and it stands still for a third of a second at most, as QEMU guesses.
  struct Pace {
    int64_t bytes_per_second = 1'000'000'000;
    absl::Duration downtime = absl::Milliseconds(300);
  };

  // Begins. `to` was made to be moved to (GuestOptions::arrives); its devices are those of `from`.
  GuestMove(Guest& from, Guest& to, const Pace& pace);
  GuestMove(Guest& from, Guest& to) : GuestMove(from, to, Pace()) {}
  void SetPace(const Pace& pace);
  MoveReport Report();
  // Returns once that many passes have begun, or it is over.
  void AwaitPass(int64_t pass);
  // Waits for the end; throws when that is not "completed".
  MoveReport Finish();
  // Gives it up: `from` runs on, and of `to` nothing can be had.
  void Cancel();

 private:
  bool IsOver();

  Guest& from_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_GUEST_MOVE_H_

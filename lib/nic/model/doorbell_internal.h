// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_DOORBELL_INTERNAL_H_
#define SLUICE_NIC_MODEL_DOORBELL_INTERNAL_H_

// A descriptor by which others wake one sleeper: an eventfd(2), and the bookkeeping that leaves none of its
// writes unread, for a descriptor that stays readable keeps its sleeper spinning.
//
// Whether the sleeper listens is a flag of the user of this class, which a ringer takes back before it rings:
//
//   sleeper                                   ringer
//     listening = true                          make the work visible
//     HeavyFence()                              LightFence()
//     work there? take it back, do not sleep    listening? take it back, Ring()
//
// One of the two sees the other (asymmetric_fence_internal.h): a sleeper that saw no work is rung. A sleeper that
// finds its flag taken back knows that a ring came or is about to, and says Expect().

#include <cstdint>

#include "absl/status/status.h"
#include "base/unique_fd_internal.h"

namespace sluice {

class Doorbell {
 public:
  absl::Status Open(const char* device);
  void Close();
  int fd() const { return fd_.get(); }

  // Any thread, but not beside Close. A system call.
  void Ring();

  // Sleeper only. One ring more was promised; takes in what has come.
  void Expect() {
    ++owed_;
    TakeIn();
  }
  // Takes in rings that came late. Cheap when none is owed.
  void TakeIn() {
    if (owed_ > 0) [[unlikely]]
      ReadRings();
  }
  // Takes in whatever has come, for a sleeper that is rung without being asked for.
  void TakeAll();

 private:
  void ReadRings();

  UniqueFd fd_;
  uint64_t owed_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_DOORBELL_INTERNAL_H_

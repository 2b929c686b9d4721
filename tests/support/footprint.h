// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_FOOTPRINT_H_
#define SLUICE_TESTS_SUPPORT_FOOTPRINT_H_

// What of this process a library must leave as it was.

#include <sched.h>
#include <signal.h>

#include <cstddef>
#include <string>

namespace sluice::testing {

struct Footprint {
  size_t descriptors = 0;  // /proc/self/fd
  size_t mappings = 0;     // /proc/self/maps, lines
  size_t heap = 0;  // bytes that malloc has given out; 0 under sanitizers, which look for leaks by themselves
  std::string affinity;     // of the calling thread
  std::string signal_mask;  // likewise

  static Footprint Now();
};

// Takes what is written to standard error while it lives.
class StderrCapture {
 public:
  StderrCapture();
  ~StderrCapture();
  StderrCapture(const StderrCapture&) = delete;
  StderrCapture& operator=(const StderrCapture&) = delete;

  std::string text() const;

 private:
  int file_;
  int saved_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_FOOTPRINT_H_

// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/clock.h"

#include <ctime>

#include "base/coarse_clock_internal.h"

namespace sluice {
namespace {

Nanoseconds Read(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);  // cannot fail: the clock exists and `now` is ours
  return static_cast<Nanoseconds>(now.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(now.tv_nsec);
}

class MonotonicClock final : public Clock {
 public:
  Nanoseconds Now() const override { return Read(CLOCK_MONOTONIC); }
};

}  // namespace

const Clock& Clock::Monotonic() {
  // Never destroyed: threads of the host may still read the time while statics go away.
  static const MonotonicClock& clock = *new MonotonicClock;
  return clock;
}

Nanoseconds CoarseNow(const Clock& clock) {
  return &clock == &Clock::Monotonic() ? Read(CLOCK_MONOTONIC_COARSE) : clock.Now();
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/clock.h"

#include <ctime>

namespace sluice {
namespace {

class MonotonicClock final : public Clock {
 public:
  Nanoseconds Now() const override {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail: the clock exists and `now` is ours
    return static_cast<Nanoseconds>(now.tv_sec) * 1'000'000'000 + static_cast<Nanoseconds>(now.tv_nsec);
  }
};

}  // namespace

const Clock& Clock::Monotonic() {
  // Never destroyed: threads of the host may still read the time while statics go away.
  static const MonotonicClock& clock = *new MonotonicClock;
  return clock;
}

}  // namespace sluice

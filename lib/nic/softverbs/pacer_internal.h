// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_PACER_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_PACER_INTERNAL_H_

// How fast a send queue may send: so many bits a second, and bursts of so many bytes behind a pause. A frame goes when its
// time has come; it then moves the time of the next one by as long as it takes at that rate.
// Threads: under the lock of the device.

#include <algorithm>
#include <cstdint>

#include "sluice/base/clock.h"

namespace sluice {

class SoftPacer {
 public:
  // In kbit/s; 0 = without limit.
  void Set(uint32_t rate, uint32_t burst) {
    rate_ = rate;
    burst_ = burst;
    next_ = 0;
  }
  uint32_t rate() const { return rate_; }

  bool Due(const Clock& clock) const { return rate_ == 0 || clock.Now() >= next_; }
  void Spend(uint64_t bytes, Nanoseconds now) {
    if (rate_ == 0) return;
    const Nanoseconds credit = TimeOf(burst_);
    next_ = std::max(next_, now > credit ? now - credit : 0) + TimeOf(bytes);
  }

 private:
  Nanoseconds TimeOf(uint64_t bytes) const { return bytes * 8 * 1'000'000 / rate_; }

  uint32_t rate_ = 0;
  uint32_t burst_ = 0;
  Nanoseconds next_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_PACER_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_STAMPS_INTERNAL_H_
#define SLUICE_NIC_VERBS_STAMPS_INTERNAL_H_

// The card's stamps as times of a Clock. Both were read side by side at some moment; from there the card's ticks are
// counted. Its frequency is told to some parts in 100,000, so that the moment is chosen anew each second.
// Threads: one at a time.

#include <infiniband/verbs.h>

#include "nic/verbs/device_internal.h"
#include "sluice/base/clock.h"

namespace sluice {

class VerbsStamps {
 public:
  VerbsStamps(const VerbsPort& device, const Clock& clock) : device_(device), clock_(clock) {}

  Nanoseconds TimeOf(uint64_t stamp) {
    if (!known_ || TicksTo(stamp) > OneSecond()) Compare();
    return at_ + static_cast<Nanoseconds>(TicksTo(stamp) * kNanosecondsInMillisecond / Rate());
  }

 private:
  static constexpr int64_t kNanosecondsInMillisecond = 1'000'000;

  int64_t Rate() const { return static_cast<int64_t>(device_.stamps_a_millisecond()); }
  int64_t OneSecond() const { return 1000 * Rate(); }

  // Since the moment; or before it, which takes up half of the circle that stamps run in.
  int64_t TicksTo(uint64_t stamp) const {
    const uint64_t mask = device_.stamp_mask();
    const uint64_t ahead = (stamp - stamp_) & mask;
    return ahead <= mask / 2 ? static_cast<int64_t>(ahead) : -static_cast<int64_t>((stamp_ - stamp) & mask);
  }
  void Compare() {
    ibv_values_ex values{};
    values.comp_mask = IBV_VALUES_MASK_RAW_CLOCK;
    known_ = ibv_query_rt_values_ex(device_.context(), &values) == 0;
    at_ = clock_.Now();
    stamp_ = static_cast<uint64_t>(values.raw_clock.tv_nsec);
  }

  const VerbsPort& device_;
  const Clock& clock_;
  bool known_ = false;
  uint64_t stamp_ = 0;
  Nanoseconds at_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_STAMPS_INTERNAL_H_

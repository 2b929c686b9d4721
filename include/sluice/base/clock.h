// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_CLOCK_H_
#define SLUICE_BASE_CLOCK_H_

// Time as the library sees it: nanoseconds that never go backwards. Whatever ages, paces or waits takes a
// Clock, so that a test moves time by hand and never sleeps.

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "sluice/base/export.h"

namespace sluice {

// Nanoseconds since an arbitrary start; plain so that it fits a packet.
using Nanoseconds = uint64_t;

class SLUICE_EXPORT Clock {
 public:
  virtual ~Clock() = default;

  // Any thread.
  virtual Nanoseconds Now() const = 0;

  // CLOCK_MONOTONIC, about 25 ns a call: read it once per burst, not per packet. Lives for the whole process.
  static const Clock& Monotonic();
};

// Stands still until told. Any thread may read while one advances.
class ManualClock final : public Clock {
 public:
  Nanoseconds Now() const override { return now_.load(std::memory_order_acquire); }
  void Advance(absl::Duration by) {
    now_.fetch_add(static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(by)), std::memory_order_release);
  }

 private:
  std::atomic<Nanoseconds> now_{0};
};

}  // namespace sluice

#endif  // SLUICE_BASE_CLOCK_H_

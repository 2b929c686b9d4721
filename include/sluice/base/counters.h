// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_COUNTERS_H_
#define SLUICE_BASE_COUNTERS_H_

// Counters of the data path: one writer each, any number of readers, no locked instruction.
//
//   enum class SwitchCounter { kLearned, kMoved, ... };
//   CounterSet<SwitchCounter, 3> counters;  // one per worker, so aligned that two workers never share a line
//   counters.Add(SwitchCounter::kLearned);
//
// A reader sees each counter whole and monotonic, but two counters not of the same instant. Totals over
// workers are made by the reader, by adding up the sets.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/base/drop_reason.h"

namespace sluice {

inline constexpr size_t kCacheLine = 64;

class Counter {
 public:
  // Writer only. A plain load and store: there is no other writer to race with, and readers order nothing by
  // a counter.
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

template <typename Enum, size_t kSize>
class alignas(kCacheLine) CounterSet {
 public:
  void Add(Enum which, uint64_t n = 1) { counters_[static_cast<size_t>(which)].Add(n); }
  uint64_t operator[](Enum which) const { return counters_[static_cast<size_t>(which)].value(); }

 private:
  std::array<Counter, kSize> counters_;
};

// Drops of one place by reason, written by one thread.
class DropCounters : public CounterSet<DropReason, kDropReasonCount> {
 public:
  DropCounts Read() const {
    DropCounts counts;
    for (size_t i = 0; i < kDropReasonCount; ++i) counts.by_reason[i] = (*this)[static_cast<DropReason>(i)];
    return counts;
  }
};

}  // namespace sluice

#endif  // SLUICE_BASE_COUNTERS_H_

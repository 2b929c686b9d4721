// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_ALLOCATION_COUNTER_H_
#define SLUICE_TESTS_SUPPORT_ALLOCATION_COUNTER_H_

// Counts what the calling thread allocates with operator new, in any form, since the counter was made:
//
//   const AllocationCounter counter;
//   pool.Get(burst, 32);
//   CHECK(counter.allocations() == 0);
//
// Every test program of this tree has the counting operators; they work under sanitizers too. malloc called
// by name is not counted.

#include <cstdint>

namespace sluice::testing {

class AllocationCounter {
 public:
  AllocationCounter() : start_(OfThisThread()) {}

  uint64_t allocations() const { return OfThisThread() - start_; }

 private:
  static uint64_t OfThisThread();

  const uint64_t start_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_ALLOCATION_COUNTER_H_

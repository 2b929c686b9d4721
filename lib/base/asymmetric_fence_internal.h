// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_ASYMMETRIC_FENCE_INTERNAL_H_
#define SLUICE_BASE_ASYMMETRIC_FENCE_INTERNAL_H_

// For two threads that each write one word and then read the other's, where one does so a million times a
// second and the other hardly ever:
//
//   often                        seldom
//     work = there                 asleep = true
//     LightFence()                 HeavyFence()
//     asleep? wake it              work there? do not sleep
//
// At least one of the two sees what the other wrote. A full fence on both sides would say the same, but makes
// the busy side wait, each time, until its last stores have left the processor: some 30 ns.
//
// The heavy side has the kernel run a fence on every processor that runs a thread of this process: membarrier(2),
// MEMBARRIER_CMD_PRIVATE_EXPEDITED, about a microsecond. The light side then only keeps the compiler from
// reordering. Where the kernel does not offer that when the library is loaded, both sides take the full fence; where a
// filter forbids it later, the heavy side waits for longer than any store stays in a processor.
// Threads of one process only.

#include <atomic>

namespace sluice {

// Reads false until the library is loaded, which is slow and safe.
extern const bool kKernelFences;

void FullFence();

inline void LightFence() {
  if (kKernelFences) [[likely]] {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    FullFence();
  }
}

void HeavyFence();

}  // namespace sluice

#endif  // SLUICE_BASE_ASYMMETRIC_FENCE_INTERNAL_H_

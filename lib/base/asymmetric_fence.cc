// SPDX-License-Identifier: Apache-2.0
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/asymmetric_fence_internal.h"

namespace sluice {
namespace {

constexpr std::chrono::milliseconds kLongestStore{10};

bool Ask(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

const bool kKernelFences = Ask(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);

// A locked instruction, rather than std::atomic_thread_fence, of which ThreadSanitizer knows nothing.
void FullFence() {
  static std::atomic<int> word{0};
  word.fetch_add(0, std::memory_order_seq_cst);
}

void HeavyFence() {
  FullFence();
  if (!kKernelFences || Ask(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
  std::this_thread::sleep_for(kLongestStore);
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/simd.h"

#include <algorithm>
#include <atomic>

namespace sluice {
namespace {

constinit std::atomic<SimdLevel> limit{SimdLevel::kIceLake};

SimdLevel LevelOfProcessor() {
#if defined(__x86_64__)
  const auto has = [](auto... features) { return (features && ...); };
  __builtin_cpu_init();  // for callers that run before the constructors of libgcc
  if (!has(__builtin_cpu_supports("avx2"), __builtin_cpu_supports("pclmul"), __builtin_cpu_supports("bmi"),
           __builtin_cpu_supports("bmi2"))) {
    return SimdLevel::kScalar;
  }
  if (!has(__builtin_cpu_supports("avx512f"), __builtin_cpu_supports("avx512bw"),
           __builtin_cpu_supports("avx512dq"), __builtin_cpu_supports("avx512vl"))) {
    return SimdLevel::kAvx2;
  }
  if (!has(__builtin_cpu_supports("avx512vnni"), __builtin_cpu_supports("avx512vbmi"),
           __builtin_cpu_supports("avx512vbmi2"), __builtin_cpu_supports("gfni"),
           __builtin_cpu_supports("vpclmulqdq"))) {
    return SimdLevel::kAvx512;
  }
  return SimdLevel::kIceLake;
#else
  return SimdLevel::kScalar;
#endif
}

}  // namespace

// Relaxed: the limit says nothing of other memory.
SimdLevel BestSimdLevel() { return std::min(LevelOfProcessor(), limit.load(std::memory_order_relaxed)); }

void LimitSimdLevel(SimdLevel level) { limit.store(level, std::memory_order_relaxed); }

}  // namespace sluice

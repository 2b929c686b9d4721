// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_SIMD_H_
#define SLUICE_PACKET_SIMD_H_

// Which vector instructions the inner loops (parsing, hashes, checksums, coalescing) use: those of this processor's level,
// found out when they first run. Every level gives the same results.
//
// Limit it where wide vectors slow the whole processor's clock and the rest of the program would notice, or to measure
// what a lower level costs: `sh benchmarks/run.sh --level avx2`.

#include <cstddef>
#include <cstdint>

#include "sluice/base/export.h"

namespace sluice {

// Each includes those before it.
enum class SimdLevel : uint8_t {
  kScalar,   // what every x86-64 has
  kAvx2,     // with PCLMULQDQ, BMI1 and BMI2: since 2013
  kAvx512,   // F, BW, DQ, VL: since 2017
  kIceLake,  // with VNNI, VBMI, GFNI and VPCLMULQDQ: since 2019 (Intel), 2022 (AMD)
};
inline constexpr size_t kSimdLevels = 4;

// The highest that this processor has, and its kernel keeps the registers of; no higher than the limit.
SLUICE_EXPORT SimdLevel BestSimdLevel();

// Uses nothing above `level` in this process. Call it before anything else of the library: loops that ran have chosen.
SLUICE_EXPORT void LimitSimdLevel(SimdLevel level);

}  // namespace sluice

#endif  // SLUICE_PACKET_SIMD_H_

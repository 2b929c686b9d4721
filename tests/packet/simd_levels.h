// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_PACKET_SIMD_LEVELS_H_
#define SLUICE_TESTS_PACKET_SIMD_LEVELS_H_

#include <vector>

#include "packet/simd_internal.h"

namespace sluice::testing {

// Every level that this processor can run, the lowest first.
inline std::vector<SimdLevel> SimdLevelsHere() {
  std::vector<SimdLevel> levels;
  for (size_t i = 0; i <= static_cast<size_t>(BestSimdLevel()); ++i)
    levels.push_back(static_cast<SimdLevel>(i));
  return levels;
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_PACKET_SIMD_LEVELS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_PACKET_BITWISE_TOEPLITZ_H_
#define SLUICE_TESTS_PACKET_BITWISE_TOEPLITZ_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace sluice::testing {

// The twin of every Toeplitz hash: Microsoft's definition, a bit of input at a time.
inline uint32_t BitwiseToeplitz(absl::Span<const uint8_t> key, absl::Span<const uint8_t> input) {
  const auto bit = [](absl::Span<const uint8_t> bytes, size_t i) {
    return (bytes[i / 8] >> (7 - i % 8)) & 1u;
  };
  uint32_t hash = 0;
  for (size_t i = 0; i < 8 * input.size(); ++i) {
    if (bit(input, i) == 0) continue;
    uint32_t window = 0;
    for (size_t j = 0; j < 32; ++j) window = window << 1 | bit(key, i + j);
    hash ^= window;
  }
  return hash;
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_PACKET_BITWISE_TOEPLITZ_H_

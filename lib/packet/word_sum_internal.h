// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_WORD_SUM_INTERNAL_H_
#define SLUICE_PACKET_WORD_SUM_INTERNAL_H_

// The inner loop of every Internet checksum: the one's complement sum of 16-bit words, in the byte order of
// memory. That sum does not care about the order (RFC 1071, 2 (B)), so that the caller swaps the result
// instead of each word.
//
// Sums are 64 bits wide with end-around carry: 2^64 - 1 is a multiple of 2^16 - 1, so FoldSum (checksum.h)
// gives what 16 bits would have. Zero only for zeros, as there.
//
//   up to 64 bytes   here, inline: eight bytes at a time, the last eight overlapping
//   more             LongWordSum, the best for this processor (simd_internal.h)

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "packet/simd_internal.h"

namespace sluice {

inline uint64_t AddWordSums(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  return sum + (sum < a ? 1 : 0);
}

// The sum of the same bytes, moved by one place.
inline uint64_t ShiftedWordSum(uint64_t sum) { return std::rotl(sum, 8); }

namespace word_sum {

template <typename Word>
inline Word Load(const uint8_t* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// What eight bytes of memory hold, without the first `n` of them and with zeros after the others; n < 8.
inline uint64_t WithoutFirst(size_t n, uint64_t word) {
  return std::endian::native == std::endian::little ? word >> (8 * n) : word << (8 * n);
}

// Fewer than eight bytes.
inline uint64_t SumOfFew(const uint8_t* bytes, size_t n) {
  uint64_t sum = 0;
  if ((n & 4) != 0) sum += Load<uint32_t>(bytes);
  if ((n & 2) != 0) sum += Load<uint16_t>(bytes + (n & 4));
  if ((n & 1) != 0) {
    const uint8_t last[2] = {bytes[n - 1], 0};
    sum += Load<uint16_t>(last);
  }
  return sum;
}

}  // namespace word_sum

// Of more than 64 bytes.
using WordSumFunction = uint64_t(const uint8_t* bytes, size_t n);
extern Dispatch<WordSumFunction> LongWordSum;

// Of `n` bytes at any address; an odd last one is the first half of a word.
inline uint64_t WordSum(const uint8_t* bytes, size_t n) {
  using namespace word_sum;
  if (n > 64) return LongWordSum(bytes, n);
  if (n < 8) return SumOfFew(bytes, n);
  uint64_t sum = 0;
  for (; n > 8; n -= 8, bytes += 8) sum = AddWordSums(sum, Load<uint64_t>(bytes));
  return AddWordSums(sum, WithoutFirst(8 - n, Load<uint64_t>(bytes + n - 8)));
}

}  // namespace sluice

#endif  // SLUICE_PACKET_WORD_SUM_INTERNAL_H_

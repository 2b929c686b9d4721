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
//   up to 64 bytes   inline, as in checksum.h
//   more             LongWordSum, the best for this processor (simd_internal.h)

#include <bit>
#include <cstddef>
#include <cstdint>

#include "packet/simd_internal.h"
#include "sluice/packet/checksum.h"

namespace sluice {

class Packet;

// The sum of the same bytes, moved by one place.
inline uint64_t ShiftedWordSum(uint64_t sum) { return std::rotl(sum, 8); }

namespace word_sum {

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

// Of what hangs behind each of `n` packets, in pieces of at least one byte and at most 64 KiB.
using TailSumsFunction = void(Packet* const* heads, size_t n, uint64_t* sums);
extern Dispatch<TailSumsFunction> TailSums;

// Of `n` bytes at any address; an odd last one is the first half of a word.
inline uint64_t WordSum(const uint8_t* bytes, size_t n) {
  if (n > 64) return LongWordSum(bytes, n);
  return n < 8 ? word_sum::SumOfFew(bytes, n) : word_sum::Sum(bytes, n);
}

}  // namespace sluice

#endif  // SLUICE_PACKET_WORD_SUM_INTERNAL_H_

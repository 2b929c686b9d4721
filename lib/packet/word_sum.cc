// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "packet/word_sum_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice {
namespace {

// Four sums, so that an addition need not wait for the carry of the one before.
uint64_t SumScalar(const uint8_t* bytes, size_t n) {
  using word_sum::Load;
  uint64_t sums[4] = {};
  for (; n >= 32; n -= 32, bytes += 32) {
    for (size_t i = 0; i < 4; ++i) sums[i] = word_sum::Add(sums[i], Load<uint64_t>(bytes + 8 * i));
  }
  const uint64_t sum = word_sum::Add(word_sum::Add(sums[0], sums[1]), word_sum::Add(sums[2], sums[3]));
  return word_sum::Add(sum, WordSum(bytes, n));
}

#if defined(__x86_64__)

// The instructions that multiply and add pairs of words take them as signed: each goes in less 2^15, which
// flipping its highest bit does, and the 2^15 are given back at the end. So the sum of a run is exact, and
// cannot leave 32 bits:
constexpr size_t kRun = 65536;  // bytes: 2^15 words between -2^15 and 2^15 - 1
constexpr uint64_t kBias = 0x8000;

SLUICE_TARGET_AVX2 inline uint64_t HorizontalSum(__m256i sums, size_t words) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 1));
  return static_cast<uint64_t>(int64_t{_mm_cvtsi128_si32(sum)}) + kBias * words;
}

SLUICE_TARGET_AVX2 inline __m256i Accumulate(__m256i sum, const uint8_t* bytes) {
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  const __m256i biased = _mm256_xor_si256(words, _mm256_set1_epi16(-0x8000));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(biased, _mm256_set1_epi16(1)));
}

// Of a multiple of 32 bytes, at most kRun.
SLUICE_TARGET_AVX2 uint64_t SumRunAvx2(const uint8_t* bytes, size_t n) {
  const uint8_t* end = bytes + n;
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (; end - bytes >= 128; bytes += 128) {
    a = Accumulate(a, bytes);
    b = Accumulate(b, bytes + 32);
    c = Accumulate(c, bytes + 64);
    d = Accumulate(d, bytes + 96);
  }
  for (; bytes != end; bytes += 32) a = Accumulate(a, bytes);
  return HorizontalSum(_mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d)), n / 2);
}

SLUICE_TARGET_AVX2 uint64_t SumAvx2(const uint8_t* bytes, size_t n) {
  uint64_t sum = 0;
  for (; n > kRun; n -= kRun, bytes += kRun) sum += SumRunAvx2(bytes, kRun);
  const size_t whole = n / 32 * 32;
  sum += SumRunAvx2(bytes, whole);
  return word_sum::Add(sum, WordSum(bytes + whole, n - whole));
}

SLUICE_TARGET_ICELAKE inline __m512i Accumulate(__m512i sum, __m512i words) {
  return _mm512_dpwssd_epi32(sum, _mm512_xor_si512(words, _mm512_set1_epi16(-0x8000)), _mm512_set1_epi16(1));
}

// Of what lies `from` bytes on, as far as there are `n`; zeros behind, which are words like others.
SLUICE_TARGET_ICELAKE inline __m512i LoadUpTo(const uint8_t* bytes, size_t from, size_t n) {
  const size_t left = n > from ? n - from : 0;
  return _mm512_maskz_loadu_epi8(_bzhi_u64(~0ull, static_cast<unsigned>(left)), bytes + from);
}

// Of what `a` has added up, `vectors` so far, and `n` bytes, together at most kRun. The last four vectors are filled up
// with zeros: as many for any length, for how many there are no processor foresees when pieces are cut anywhere.
SLUICE_TARGET_ICELAKE inline uint64_t SumRunIceLake(const uint8_t* bytes, size_t n,
                                                    __m512i a = _mm512_setzero_si512(), size_t vectors = 0) {
  vectors += (n / 256 + 1) * 4;
  __m512i b = _mm512_setzero_si512(), c = b, d = b;
  for (; n >= 256; n -= 256, bytes += 256) {
    a = Accumulate(a, _mm512_loadu_si512(bytes));
    b = Accumulate(b, _mm512_loadu_si512(bytes + 64));
    c = Accumulate(c, _mm512_loadu_si512(bytes + 128));
    d = Accumulate(d, _mm512_loadu_si512(bytes + 192));
  }
  a = Accumulate(a, LoadUpTo(bytes, 0, n));
  b = Accumulate(b, LoadUpTo(bytes, 64, n));
  c = Accumulate(c, LoadUpTo(bytes, 128, n));
  d = Accumulate(d, LoadUpTo(bytes, 192, n));
  const __m512i sums = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
  // Masked, for g++ 12 warns of the plain form's unset operand.
  const __m256i low = _mm512_maskz_extracti64x4_epi64(0xff, sums, 0);
  const __m256i high = _mm512_maskz_extracti64x4_epi64(0xff, sums, 1);
  return HorizontalSum(_mm256_add_epi32(low, high), 32 * vectors);
}

// By whole lines, the first of them with zeros in place of what lies before the bytes.
SLUICE_TARGET_ICELAKE uint64_t SumLinesIceLake(const uint8_t* bytes, size_t n) {
  const size_t before = reinterpret_cast<uintptr_t>(bytes) % 64;
  const __m512i line = _mm512_maskz_loadu_epi8(~0ull << before, bytes - before);
  const __m512i first = Accumulate(_mm512_setzero_si512(), line);
  const uint8_t* const end = bytes + n;
  bytes += 64 - before;
  const size_t run = std::min(static_cast<size_t>(end - bytes), kRun - 64);
  uint64_t sum = SumRunIceLake(bytes, run, first, 1);
  for (bytes += run; bytes != end;) {
    const size_t more = std::min(static_cast<size_t>(end - bytes), kRun);
    sum += SumRunIceLake(bytes, more);
    bytes += more;
  }
  return before % 2 == 0 ? sum : ShiftedWordSum(sum);
}

SLUICE_TARGET_ICELAKE uint64_t SumIceLake(const uint8_t* bytes, size_t n) {
  // What comes from beyond the first cache is read by whole lines: half as much again as across them.
  constexpr size_t kLong = 512;
  return n < kLong ? SumRunIceLake(bytes, n) : SumLinesIceLake(bytes, n);
}

#else
constexpr WordSumFunction* SumAvx2 = nullptr;
constexpr WordSumFunction* SumIceLake = nullptr;
#endif

}  // namespace

constinit Dispatch<WordSumFunction> LongWordSum({.scalar = SumScalar,
                                                 .avx2 = SumAvx2,
                                                 .icelake = SumIceLake});

}  // namespace sluice

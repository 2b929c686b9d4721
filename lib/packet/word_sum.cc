// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "packet/word_sum_internal.h"
#include "sluice/packet/packet.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice {
namespace {

// The sum of bytes that lie `by` places further on.
uint64_t Shifted(uint64_t sum, size_t by) { return by % 2 == 0 ? sum : ShiftedWordSum(sum); }

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

// A sum that grows, in four vectors: in one alone each addition would have to wait for the one before. Exact up to
// kMost vectors, two runs: 2^16 words of -2^15 are just within 32 bits.
struct GrowingSums {
  static constexpr size_t kMost = 2 * kRun / 64;
  __m512i a{}, b{}, c{}, d{};
  size_t vectors = 0;
};

// Adds `n` > 0 bytes at any address, by whole lines: where they come from beyond the first cache, that is half as
// fast again as across them. What is not asked for of the first line and of the last counts as zeros. Words start at
// even addresses.
SLUICE_TARGET_ICELAKE inline void AddLines(const uint8_t* bytes, size_t n, GrowingSums& sums) {
  const size_t before = reinterpret_cast<uintptr_t>(bytes) % 64;
  const uint8_t* line = bytes - before;
  const uint8_t* const last = line + (before + n - 1) / 64 * 64;
  uint64_t mask = ~0ull << before;  // of the line at hand
  const uint64_t last_mask = ~0ull >> (-(before + n) % 64);
  sums.vectors += static_cast<size_t>(last - line) / 64 + 1;
  if (line != last) {
    sums.a = Accumulate(sums.a, _mm512_maskz_loadu_epi8(mask, line));
    mask = ~0ull;
    for (line += 64; last - line >= 256; line += 256) {
      sums.a = Accumulate(sums.a, _mm512_load_si512(line));
      sums.b = Accumulate(sums.b, _mm512_load_si512(line + 64));
      sums.c = Accumulate(sums.c, _mm512_load_si512(line + 128));
      sums.d = Accumulate(sums.d, _mm512_load_si512(line + 192));
    }
    for (; line != last; line += 64) sums.c = Accumulate(sums.c, _mm512_load_si512(line));
  }
  sums.b = Accumulate(sums.b, _mm512_maskz_loadu_epi8(mask & last_mask, line));
}

SLUICE_TARGET_ICELAKE inline uint64_t Total(const GrowingSums& sums) {
  const __m512i all = _mm512_add_epi32(_mm512_add_epi32(sums.a, sums.b), _mm512_add_epi32(sums.c, sums.d));
  // Masked, for g++ 12 warns of the plain form's unset operand.
  const __m256i low = _mm512_maskz_extracti64x4_epi64(0xff, all, 0);
  const __m256i high = _mm512_maskz_extracti64x4_epi64(0xff, all, 1);
  return HorizontalSum(_mm256_add_epi32(low, high), 32 * sums.vectors);
}

SLUICE_TARGET_ICELAKE uint64_t SumIceLake(const uint8_t* bytes, size_t n) {
  uint64_t sum = 0;
  for (const uint8_t *end = bytes + n, *next = bytes; next != end;) {
    const size_t run = std::min(static_cast<size_t>(end - next), kRun);
    GrowingSums sums;
    AddLines(next, run, sums);
    sum += Total(sums);
    next += run;
  }
  return Shifted(sum, reinterpret_cast<uintptr_t>(bytes));
}

// One sum over the pieces of a chain, as long as words that start at even places do so at even addresses, or all at odd
// ones: per segment of two pieces a third less than a sum for each.
SLUICE_TARGET_ICELAKE uint64_t SumChainIceLake(const Packet* piece) {
  GrowingSums growing;
  uint64_t sum = 0;
  uintptr_t shift = 0;
  uintptr_t place = 0;
  for (; piece != nullptr; piece = piece->next()) {
    const uintptr_t start = reinterpret_cast<uintptr_t>(piece->data()) - place;
    if ((start - shift) % 2 != 0 || growing.vectors >= GrowingSums::kMost / 2) [[unlikely]] {
      sum = word_sum::Add(sum, Shifted(Total(growing), shift));
      growing = {};
      shift = start;
    }
    AddLines(piece->data(), piece->head_length(), growing);
    place += piece->head_length();
  }
  return word_sum::Add(sum, Shifted(Total(growing), shift));
}

SLUICE_TARGET_ICELAKE void SumTailsIceLake(Packet* const* heads, size_t n, uint64_t* sums) {
  for (size_t i = 0; i < n; ++i) sums[i] = SumChainIceLake(heads[i]->next());
}

#else
constexpr WordSumFunction* SumAvx2 = nullptr;
constexpr WordSumFunction* SumIceLake = nullptr;
constexpr TailSumsFunction* SumTailsIceLake = nullptr;
#endif

void SumTails(Packet* const* heads, size_t n, uint64_t* sums) {
  for (size_t i = 0; i < n; ++i) {
    uint64_t sum = 0;
    size_t place = 0;
    for (const Packet* piece = heads[i]->next(); piece != nullptr; piece = piece->next()) {
      sum = word_sum::Add(sum, Shifted(WordSum(piece->data(), piece->head_length()), place));
      place += piece->head_length();
    }
    sums[i] = sum;
  }
}

}  // namespace

constinit Dispatch<WordSumFunction> LongWordSum({.scalar = SumScalar,
                                                 .avx2 = SumAvx2,
                                                 .icelake = SumIceLake});
constinit Dispatch<TailSumsFunction> TailSums({.scalar = SumTails, .icelake = SumTailsIceLake});

}  // namespace sluice

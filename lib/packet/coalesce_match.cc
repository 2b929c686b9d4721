// SPDX-License-Identifier: Apache-2.0
#include "packet/coalesce_match_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice {
namespace {

using Mask = CoalesceShape::Mask;

// Bit i: whether a[i] and b[i] differ, of 32.
inline uint32_t Differing(const uint8_t* a, const uint8_t* b) {
  uint32_t differing = 0;
#if defined(__SSE2__)
  for (size_t half = 0; half < 32; half += 16) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + half));
    const __m128i y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + half));
    const auto equal = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(x, y)));
    differing |= (equal ^ 0xffff) << half;
  }
#else
  for (size_t i = 0; i < 32; ++i) differing |= uint32_t{a[i] != b[i]} << i;
#endif
  return differing;
}

// Units may have come since it was looked for them.
template <typename Differ>
[[gnu::always_inline]] inline size_t JoinRun(const CoalesceRun& run, size_t from, Differ differ) {
  const auto [packets, hashes, units, size, table] = run;
  for (size_t i = from; i < size; ++i) {
    CoalesceUnit* unit = &table[units[i]];
    if (!unit->JoinForeseen(*packets[i], differ)) [[unlikely]] {
      const uint32_t found = table.Find(hashes[i]);
      if (found == CoalesceTable::kNone || found == units[i]) return i;
      units[i] = found;
      unit = &table[found];
      if (!unit->JoinForeseen(*packets[i], differ)) return i;
    }
    if (unit->full_up()) return i + 1;
  }
  return size;
}

// By halves of the blocks that a mask has; the last 32 bytes may overlap those before.
template <typename Differing32>
[[gnu::always_inline]] inline bool DifferByHalves(const Mask& mask, const uint8_t* a, const uint8_t* b,
                                                  size_t n, Differing32 differing) {
  uint64_t found = 0;
  size_t at = 0;
  for (; at + 32 <= n; at += 32) found |= differing(a + at, b + at) & mask[at / 64] >> at % 64;
  const size_t more = n - at;
  if (more != 0) {
    const uint64_t last = uint64_t{differing(a + n - 32, b + n - 32)} >> (32 - more);
    found |= last & mask[at / 64] >> at % 64;
  }
  return found != 0;
}

size_t JoinPortably(const CoalesceRun& run, size_t from) {
  return JoinRun(run, from, [](const Mask& mask, const uint8_t* a, const uint8_t* b, size_t n) {
    return HeadersDiffer(mask, a, b, n);
  });
}

}  // namespace

bool HeadersDiffer(const Mask& mask, const uint8_t* a, const uint8_t* b, size_t n) {
  return DifferByHalves(mask, a, b, n, Differing);
}

#if defined(__x86_64__)
namespace {

SLUICE_TARGET_AVX2 inline uint32_t DifferingAvx2(const uint8_t* a, const uint8_t* b) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a));
  const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  return ~static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)));
}

SLUICE_TARGET_AVX2 inline bool DifferAvx2(const Mask& mask, const uint8_t* a, const uint8_t* b, size_t n) {
  return DifferByHalves(mask, a, b, n, DifferingAvx2);
}

SLUICE_TARGET_AVX2 size_t JoinAvx2(const CoalesceRun& run, size_t from) {
  return JoinRun(run, from, DifferAvx2);
}

// Bytes without a bit are not read.
SLUICE_TARGET_AVX512 inline __mmask64 DifferingAvx512(const Mask& mask, const uint8_t* a, const uint8_t* b,
                                                      size_t i) {
  const __m512i x = _mm512_maskz_loadu_epi8(mask[i], a + i * CoalesceShape::kBlock);
  const __m512i y = _mm512_maskz_loadu_epi8(mask[i], b + i * CoalesceShape::kBlock);
  return _mm512_mask_cmpneq_epu8_mask(mask[i], x, y);
}

SLUICE_TARGET_AVX512 inline bool DifferAvx512(const Mask& mask, const uint8_t* a, const uint8_t* b,
                                              size_t n) {
  const __mmask64 first = DifferingAvx512(mask, a, b, 0);
  const __mmask64 second = DifferingAvx512(mask, a, b, 1);
  const bool differ = !_kortestz_mask64_u8(first, second);
  return differ || (n > 2 * CoalesceShape::kBlock && DifferingAvx512(mask, a, b, 2) != 0);
}

SLUICE_TARGET_AVX512 size_t JoinAvx512(const CoalesceRun& run, size_t from) {
  return JoinRun(run, from, DifferAvx512);
}

}  // namespace

constinit Dispatch<size_t(const CoalesceRun&, size_t)> JoinForeseen({.scalar = &JoinPortably,
                                                                     .avx2 = &JoinAvx2,
                                                                     .avx512 = &JoinAvx512});
#else
constinit Dispatch<size_t(const CoalesceRun&, size_t)> JoinForeseen({.scalar = &JoinPortably});
#endif

}  // namespace sluice

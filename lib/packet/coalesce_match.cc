// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "packet/coalesce_match_internal.h"
#include "sluice/packet/headers.h"

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

// Of units that have one shape, and one mode, from that of run.units[from] on. What these say stays in registers.
template <bool kTwoIds, typename Differ>
[[gnu::always_inline]] inline size_t JoinAlike(const CoalesceRun& run, size_t from,
                                               const CoalesceShape& shape, Differ differ) {
  const uint32_t number = run.units[from]->foreseen().shape_number;
  const auto [sequence_at, id_at, other_id_at] = shape.counters;
  const size_t sum_at = shape.sum_at;
  const auto unfit_sum = static_cast<uint16_t>(shape.unfit_sum);
  const uint64_t id_step = shape.id_step(0, number);
  const uint64_t other_id_step = shape.id_step(1, number);
  const uint32_t header = shape.header;
  for (size_t i = from; i < run.size; ++i) {
    // 1. Is it?
    Packet& packet = *run.packets[i];
    CoalesceForeseen& next = run.units[i]->foreseen();
    if (!next.Agrees(packet) || next.shape_number != number) return i;
    const uint8_t* const data = packet.data();
    uint64_t different = (HeaderAt<Be64>(data, id_at)->get() ^ next.ids[0]) |
                         (HeaderAt<Be32>(data, sequence_at)->get() ^ next.sequence);
    if (kTwoIds) different |= HeaderAt<Be64>(data, other_id_at)->get() ^ next.ids[1];
    const uint16_t sum = HeaderAt<Be16>(data, sum_at)->get();
    if (different != 0 || sum == unfit_sum || differ(data, next.headers.data())) return i;

    // 2. Then it is right in all else, too.
    next.SumOf(next.left, packet.length() - header) += sum;
    next.sequence += next.step;
    next.ids[0] += id_step;
    if (kTwoIds) next.ids[1] += other_id_step;
    packet.TrimFront(header);
    next.Hang(packet);
    if (--next.left == 0) return i + 1;
  }
  return run.size;
}

template <typename Differ>
[[gnu::always_inline]] inline size_t JoinRun(const CoalesceRun& run, size_t from) {
  for (size_t i = from; i < run.size;) {
    const CoalesceShape* const shape = run.shapes.WithNumber(run.units[i]->foreseen().shape_number);
    if (shape == nullptr) return i;
    const Differ differ(*shape);
    const size_t begin =
        std::exchange(i, shape->counters[1] == shape->counters[2] ? JoinAlike<false>(run, i, *shape, differ)
                                                                  : JoinAlike<true>(run, i, *shape, differ));
    if (i == begin || run.units[i - 1]->full_up()) return i;
  }
  return run.size;
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

class Differ {
 public:
  explicit Differ(const CoalesceShape& shape) : mask_(shape.exact), n_(shape.header) {}
  bool operator()(const uint8_t* a, const uint8_t* b) const { return HeadersDiffer(mask_, a, b, n_); }

 private:
  const Mask& mask_;
  const size_t n_;
};

size_t JoinPortably(const CoalesceRun& run, size_t from) { return JoinRun<Differ>(run, from); }

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

class DifferAvx2 {
 public:
  explicit DifferAvx2(const CoalesceShape& shape) : mask_(shape.exact), n_(shape.header) {}
  SLUICE_TARGET_AVX2 bool operator()(const uint8_t* a, const uint8_t* b) const {
    return DifferByHalves(mask_, a, b, n_, DifferingAvx2);
  }

 private:
  const Mask& mask_;
  const size_t n_;
};

SLUICE_TARGET_AVX2 size_t JoinAvx2(const CoalesceRun& run, size_t from) {
  return JoinRun<DifferAvx2>(run, from);
}

// Bytes without a bit are not read.
SLUICE_TARGET_AVX512 inline __mmask64 DifferingAvx512(__mmask64 mask, const uint8_t* a, const uint8_t* b) {
  const __m512i x = _mm512_maskz_loadu_epi8(mask, a);
  return _mm512_mask_cmpneq_epu8_mask(mask, x, _mm512_load_si512(b));
}

class DifferAvx512 {
 public:
  explicit DifferAvx512(const CoalesceShape& shape)
      : first_(shape.exact[0]), second_(shape.exact[1]), third_(shape.exact[2]) {}
  SLUICE_TARGET_AVX512 bool operator()(const uint8_t* a, const uint8_t* b) const {
    constexpr size_t kBlock = CoalesceShape::kBlock;
    if (!_kortestz_mask64_u8(DifferingAvx512(first_, a, b), DifferingAvx512(second_, a + kBlock, b + kBlock)))
      return true;
    return third_ != 0 && DifferingAvx512(third_, a + 2 * kBlock, b + 2 * kBlock) != 0;
  }

 private:
  const uint64_t first_;
  const uint64_t second_;
  const uint64_t third_;
};

SLUICE_TARGET_AVX512 size_t JoinAvx512(const CoalesceRun& run, size_t from) {
  return JoinRun<DifferAvx512>(run, from);
}

}  // namespace

constinit Dispatch<size_t(const CoalesceRun&, size_t)> JoinForeseen({.scalar = &JoinPortably,
                                                                     .avx2 = &JoinAvx2,
                                                                     .avx512 = &JoinAvx512});
#else
constinit Dispatch<size_t(const CoalesceRun&, size_t)> JoinForeseen({.scalar = &JoinPortably});
#endif

}  // namespace sluice

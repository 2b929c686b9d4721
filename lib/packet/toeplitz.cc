// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "packet/toeplitz_internal.h"
#include "sluice/packet/headers.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice {
namespace {

// Adds what the 32 bits of input in `word`, first bit highest, select from the `key` that begins at the first
// of them.
uint32_t HashWord(uint64_t key, uint32_t word) {
  uint32_t hash = 0;
  for (; word != 0; word &= word - 1) hash ^= static_cast<uint32_t>(key >> (std::countr_zero(word) + 1));
  return hash;
}

void HashScalar(const ToeplitzKey& key, const ToeplitzInputs& inputs, size_t columns, size_t count,
                uint32_t* hashes) {
  for (size_t i = 0; i < count; ++i) {
    hashes[i] = 0;
    for (size_t part = 0; part < 2 * columns; ++part) {
      const uint8_t* input = inputs.columns[part / 2][i].data() + part % 2 * 8;
      const uint64_t first = key.first()[part] << 32 | key.rest()[part] >> 32;
      hashes[i] ^= HashWord(first, HeaderAt<Be32>(input, 0)->get());
      hashes[i] ^= HashWord(key.rest()[part], HeaderAt<Be32>(input, 4)->get());
    }
  }
}

#if defined(__x86_64__)

// The order of the bits in each byte turned round: its halves change places, each looked up.
SLUICE_TARGET_AVX2 inline __m128i ReversedBits(__m128i bytes) {
  const __m128i half = _mm_set1_epi8(0x0f);
  const __m128i high = _mm_setr_epi8(0x00, -0x80, 0x40, -0x40, 0x20, -0x60, 0x60, -0x20, 0x10, -0x70, 0x50,
                                     -0x30, 0x30, -0x50, 0x70, -0x10);
  const __m128i low = _mm_setr_epi8(0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15);
  return _mm_or_si128(_mm_shuffle_epi8(high, _mm_and_si128(bytes, half)),
                      _mm_shuffle_epi8(low, _mm_and_si128(_mm_srli_epi16(bytes, 4), half)));
}

SLUICE_TARGET_AVX2 void HashAvx2(const ToeplitzKey& key, const ToeplitzInputs& inputs, size_t columns,
                                 size_t count, uint32_t* hashes) {
  for (size_t i = 0; i < count; ++i) {
    __m128i low = _mm_setzero_si128(), high = low;
    for (size_t column = 0; column < columns; ++column) {
      const auto* unit = reinterpret_cast<const __m128i*>(&inputs.columns[column][i]);
      const __m128i input = ReversedBits(_mm_load_si128(unit));
      const __m128i first = _mm_load_si128(reinterpret_cast<const __m128i*>(&key.first()[2 * column]));
      const __m128i rest = _mm_load_si128(reinterpret_cast<const __m128i*>(&key.rest()[2 * column]));
      low = _mm_xor_si128(low, _mm_clmulepi64_si128(input, first, 0x00));
      low = _mm_xor_si128(low, _mm_clmulepi64_si128(input, first, 0x11));
      high = _mm_xor_si128(high, _mm_clmulepi64_si128(input, rest, 0x00));
      high = _mm_xor_si128(high, _mm_clmulepi64_si128(input, rest, 0x11));
    }
    const __m128i hash = _mm_xor_si128(low, _mm_unpackhi_epi64(high, high));
    hashes[i] = static_cast<uint32_t>(_mm_cvtsi128_si32(hash));
  }
}

// Masked, here and below, for g++ 12 warns of the plain forms' unset operand.
SLUICE_TARGET_ICELAKE inline __m512i ToEach(const uint64_t* pair) {
  return _mm512_maskz_broadcast_i32x4(0xffff, _mm_load_si128(reinterpret_cast<const __m128i*>(pair)));
}

// Four inputs at a time. The number of columns is known, so that the key stays in registers.
template <size_t kColumns>
SLUICE_TARGET_ICELAKE void HashColumns(const ToeplitzKey& key, const ToeplitzInputs& inputs, size_t count,
                                       uint32_t* hashes) {
  const __m512i reversed = _mm512_set1_epi64(static_cast<int64_t>(kBitReversal));
  const __m512i third = _mm512_setr_epi32(2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  for (size_t i = 0; i < count; i += 4) {
    __m512i low = _mm512_setzero_si512(), high = low;
    for (size_t column = 0; column < kColumns; ++column) {
      const __m512i units = _mm512_load_si512(&inputs.columns[column][i]);
      const __m512i input = _mm512_gf2p8affine_epi64_epi8(units, reversed, 0);
      const __m512i first = ToEach(&key.first()[2 * column]);
      const __m512i rest = ToEach(&key.rest()[2 * column]);
      low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(input, first, 0x00));
      low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(input, first, 0x11));
      high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(input, rest, 0x00));
      high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(input, rest, 0x11));
    }
    const __m512i sum = _mm512_xor_si512(high, _mm512_maskz_shuffle_epi32(0xffff, low, _MM_PERM_BADC));
    const __m512i packed = _mm512_maskz_permutexvar_epi32(0x000f, third, sum);
    const auto wanted = static_cast<__mmask16>(count - i < 4 ? (1u << (count - i)) - 1 : 0xfu);
    _mm512_mask_storeu_epi32(hashes + i, wanted, packed);
  }
}

SLUICE_TARGET_ICELAKE void HashIceLake(const ToeplitzKey& key, const ToeplitzInputs& inputs, size_t columns,
                                       size_t count, uint32_t* hashes) {
  if (columns == 1) return HashColumns<1>(key, inputs, count, hashes);
  if (columns == 2) return HashColumns<2>(key, inputs, count, hashes);
  HashColumns<3>(key, inputs, count, hashes);
}

#else
constexpr ToeplitzFunction* HashAvx2 = nullptr;
constexpr ToeplitzFunction* HashIceLake = nullptr;
#endif

}  // namespace

constinit Dispatch<ToeplitzFunction> ToeplitzHashes({.scalar = HashScalar,
                                                     .avx2 = HashAvx2,
                                                     .icelake = HashIceLake});

ToeplitzKey::ToeplitzKey(absl::Span<const uint8_t> key) {
  uint8_t padded[kMaxInput + sizeof(uint32_t)] = {};
  std::memcpy(padded, key.data(), std::min(key.size(), sizeof(padded)));
  for (size_t part = 0; part < kParts; ++part) {
    first_[part] = HeaderAt<Be32>(padded, 8 * part)->get();
    rest_[part] = HeaderAt<Be64>(padded, 8 * part + 4)->get();
  }
}

uint32_t ToeplitzKey::Hash(absl::Span<const uint8_t> input) const {
  assert(input.size() <= kMaxInput);
  if (input.empty()) return 0;
  ToeplitzInputs inputs;
  const size_t columns = (input.size() + 15) / 16;
  for (size_t column = 0; column < columns; ++column) {
    ToeplitzUnit& unit = inputs.columns[column][0];
    unit.fill(0);
    std::memcpy(unit.data(), input.data() + 16 * column, std::min<size_t>(16, input.size() - 16 * column));
  }
  uint32_t hash;
  ToeplitzHashes(*this, inputs, columns, 1, &hash);
  return hash;
}

namespace {

// `put` writes one tuple into the inputs.
template <typename Tuple, typename PutOne>
void HashInTurns(const ToeplitzKey& key, absl::Span<const Tuple> tuples, size_t columns,
                 absl::Span<uint32_t> hashes, PutOne put) {
  assert(hashes.size() >= tuples.size());
  ToeplitzInputs inputs;
  for (size_t done = 0; done < tuples.size(); done += Burst::kCapacity) {
    const size_t count = std::min(Burst::kCapacity, tuples.size() - done);
    for (size_t i = 0; i < count; ++i) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&tuples[done + i]);
      put(bytes, bytes + offsetof(Tuple, source_port), inputs, i);
    }
    ToeplitzHashes(key, inputs, columns, count, hashes.data() + done);
  }
}

}  // namespace

void ToeplitzKey::HashAll(absl::Span<const RssTuple4> tuples, absl::Span<uint32_t> hashes) const {
  HashInTurns(*this, tuples, 1, hashes, PutIpv4);
}

void ToeplitzKey::HashAll(absl::Span<const RssTuple6> tuples, absl::Span<uint32_t> hashes) const {
  HashInTurns(*this, tuples, kToeplitzColumns, hashes, PutIpv6);
}

uint32_t ToeplitzHash(absl::Span<const uint8_t> key, absl::Span<const uint8_t> input) {
  assert(key.size() >= input.size() + 4);
  uint32_t hash = 0;
  for (size_t at = 0; at < input.size(); at += ToeplitzKey::kMaxInput) {
    const size_t length = std::min(ToeplitzKey::kMaxInput, input.size() - at);
    const ToeplitzKey here(absl::MakeConstSpan(key.data() + at, length + 4));
    hash ^= here.Hash(absl::MakeConstSpan(input.data() + at, length));
  }
  return hash;
}

}  // namespace sluice

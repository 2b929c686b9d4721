// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MLX5_BITS_INTERNAL_H_
#define SLUICE_NIC_VERBS_MLX5_BITS_INTERNAL_H_

// Commands to mlx5 cards, their answers, and masks of headers: words of 32 bits, most significant byte first, of whose bits
// the first is number 0, as in the card's manual (PRM, command interface).

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "sluice/packet/big_endian.h"

namespace sluice {

// Some bits of one word.
struct Mlx5Field {
  uint32_t at;
  uint32_t bits;

  constexpr uint32_t shift() const { return 32 - at % 32 - bits; }
  constexpr uint32_t mask() const { return static_cast<uint32_t>((uint64_t{1} << bits) - 1); }
  // The same of a part that starts `bits` from here.
  constexpr Mlx5Field In(uint32_t part) const { return {part + at, bits}; }
};

template <size_t kBytes>
class Mlx5Bits {
 public:
  static_assert(kBytes % sizeof(Be32) == 0);

  uint32_t Get(Mlx5Field field) const { return Word(field).get() >> field.shift() & field.mask(); }
  // Over zeros.
  void Put(Mlx5Field field, uint32_t value) {
    words_[field.at / 32] = Word(field).get() | (value & field.mask()) << field.shift();
  }
  // At a whole word, whole words.
  void PutBytes(uint32_t at, absl::Span<const uint8_t> bytes) {
    for (uint32_t i = 0; i < bytes.size(); ++i) Put({at + 8 * i, 8}, bytes[i]);
  }

  const void* data() const { return words_.data(); }
  void* data() { return words_.data(); }
  static constexpr size_t size() { return kBytes; }

 private:
  Be32 Word(Mlx5Field field) const { return words_[field.at / 32]; }

  std::array<Be32, kBytes / sizeof(Be32)> words_{};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MLX5_BITS_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_TOEPLITZ_INTERNAL_H_
#define SLUICE_PACKET_TOEPLITZ_INTERNAL_H_

// Toeplitz hashes of many inputs at once, by carry-less multiplication.
//
// Each set bit j of the input adds the 32 bits of key from bit j on. With the first 64 bits of input as a
// polynomial x whose power j is bit j, and the key's first 32 bits F and next 64 bits R as numbers, their
// first bit highest, that is
//
//   hash = bits 0 to 31 of x * F  +  bits 64 to 95 of x * R        (without carries)
//
// and likewise for every 64 bits after. A load from memory gives x but for the order of the bits in each
// byte, which GFNI reverses in one step, or two look-ups of half a byte do.
//
// Inputs stand in columns of 16 bytes, filled up with zeros, which add nothing:
//
//   column 0   addresses and ports of IPv4, or the source of IPv6   input 0 | input 1 | input 2 | ...
//   column 1   the destination of IPv6                              input 0 | input 1 | ...
//   column 2   the ports of IPv6                                    ...

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "packet/simd_internal.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/rss.h"

namespace sluice {

// The matrix by which GF2P8AFFINEQB turns round the bits of a byte: bit i of the product is bit 7 - i of the
// input (Intel, "Software Developer's Manual" 2, GF2P8AFFINEQB). Tests multiply by it without the instruction, for
// processors that have none.
inline constexpr uint64_t kBitReversal = 0x8040201008040201;

inline constexpr size_t kToeplitzColumns = ToeplitzKey::kMaxInput / 16;

using ToeplitzUnit = std::array<uint8_t, 16>;

struct ToeplitzInputs {
  alignas(64) std::array<std::array<ToeplitzUnit, Burst::kCapacity>, kToeplitzColumns> columns;
};

// Four bytes of memory, and four of zeros after them.
inline uint64_t FourBytes(const uint8_t* bytes) {
  uint32_t four;
  std::memcpy(&four, bytes, sizeof(four));
  return std::endian::native == std::endian::little ? four : uint64_t{four} << 32;
}

// Fill column 0, or all, of input `i`; both addresses, 8 or 32 bytes, and both ports, as they lie in headers.
inline void PutIpv4(const uint8_t* addresses, const uint8_t* ports, ToeplitzInputs& inputs, size_t i) {
  uint64_t halves[2];
  std::memcpy(&halves[0], addresses, 8);
  halves[1] = FourBytes(ports);
  std::memcpy(&inputs.columns[0][i], halves, 16);
}
inline void PutIpv6(const uint8_t* addresses, const uint8_t* ports, ToeplitzInputs& inputs, size_t i) {
  const uint64_t halves[2] = {FourBytes(ports), 0};
  std::memcpy(&inputs.columns[0][i], addresses, 16);
  std::memcpy(&inputs.columns[1][i], addresses + 16, 16);
  std::memcpy(&inputs.columns[2][i], halves, 16);
}

// Of the first `count` inputs, of which only the first `columns` columns, 1 to 3, are looked at.
// Whole vectors are read; what stands after the last input does not matter.
using ToeplitzFunction = void(const ToeplitzKey& key, const ToeplitzInputs& inputs, size_t columns,
                              size_t count, uint32_t* hashes);
extern Dispatch<ToeplitzFunction> ToeplitzHashes;

}  // namespace sluice

#endif  // SLUICE_PACKET_TOEPLITZ_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_BIG_ENDIAN_H_
#define SLUICE_PACKET_BIG_ENDIAN_H_

// Integers as they lie in a frame: most significant byte first, at any address. The type keeps the two byte
// orders apart, so that a port read from a header and never swapped does not compile:
//
//   udp->source_port = uint16_t{53};            // host order in
//   uint16_t port = udp->source_port.get();     // host order out
//
// T may be an enum, as Ethertype. Cost: one load and one bswap.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace sluice {

template <typename T>
class BigEndian {
 public:
  constexpr BigEndian() = default;  // zero
  constexpr BigEndian(T value) : bytes_(ToBytes(value)) {}

  constexpr T get() const { return static_cast<T>(Swapped(std::bit_cast<Unsigned>(bytes_))); }
  constexpr void set(T value) { bytes_ = ToBytes(value); }

  friend constexpr bool operator==(BigEndian a, BigEndian b) { return a.bytes_ == b.bytes_; }

 private:
  template <typename U, bool is_enum>
  struct Rep {
    using type = std::make_unsigned_t<U>;
  };
  template <typename U>
  struct Rep<U, true> {
    using type = std::underlying_type_t<U>;
  };
  using Unsigned = typename Rep<T, std::is_enum_v<T>>::type;
  using Bytes = std::array<uint8_t, sizeof(T)>;

  static constexpr Unsigned Swapped(Unsigned value) {
    if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) return value;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  }
  static constexpr Bytes ToBytes(T value) {
    return std::bit_cast<Bytes>(Swapped(static_cast<Unsigned>(value)));
  }

  Bytes bytes_{};
};

using Be16 = BigEndian<uint16_t>;
using Be32 = BigEndian<uint32_t>;
using Be64 = BigEndian<uint64_t>;

// 24 bits, as network identifiers have them. The value is below 2^24; higher bits are cut.
class Be24 {
 public:
  constexpr Be24() = default;
  constexpr Be24(uint32_t value)
      : bytes_{static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8),
               static_cast<uint8_t>(value)} {}

  constexpr uint32_t get() const {
    return static_cast<uint32_t>(bytes_[0] << 16 | bytes_[1] << 8 | bytes_[2]);
  }

  friend constexpr bool operator==(Be24 a, Be24 b) { return a.bytes_ == b.bytes_; }

 private:
  std::array<uint8_t, 3> bytes_{};
};

static_assert(alignof(Be16) == 1 && alignof(Be32) == 1 && alignof(Be64) == 1 && sizeof(Be24) == 3);
static_assert(std::is_trivially_copyable_v<Be32>);

}  // namespace sluice

#endif  // SLUICE_PACKET_BIG_ENDIAN_H_

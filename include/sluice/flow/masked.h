// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_FLOW_MASKED_H_
#define SLUICE_FLOW_MASKED_H_

// A value of which only some bits count: what a rule wants of one field of a header.
//
//   Masked<uint16_t> port = 53;                                     // 53 and nothing else
//   Masked<Ipv4Address> net = Prefix(*Ipv4Address::Parse("10.1.0.0"), 16);
//   Masked<uint16_t, 12> any;                                       // a field of 12 bits; anything will do
//
// Two that accept the same are equal: bits of the value that do not count are zero. A value that is wider than
// its field is kept as it is, for CheckRule (rule.h) to refuse. T is an unsigned integer in host order, or an
// address.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "sluice/packet/ip_address.h"
#include "sluice/packet/mac_address.h"

namespace sluice {

template <typename T, int kBits = static_cast<int>(8 * sizeof(T))>
class Masked {
 public:
  using Value = T;
  static constexpr int kWidth = kBits;

  constexpr Masked() = default;
  constexpr Masked(T value) : value_(value), mask_(Leading(kBits)) {}
  constexpr Masked(T value, T mask) : value_(And(value, mask)), mask_(mask) {}
  // Of enumerations of header fields, as Ethertype.
  template <typename Enum>
  requires std::is_enum_v<Enum> && std::same_as<std::underlying_type_t<Enum>, T>
  constexpr Masked(Enum value) : Masked(static_cast<T>(value)) {}

  constexpr T value() const { return value_; }
  constexpr T mask() const { return mask_; }
  constexpr bool any() const { return mask_ == T{}; }
  constexpr bool exact() const { return mask_ == Leading(kBits); }
  // Whether neither value nor mask has a bit that the field has not.
  constexpr bool fits() const {
    return And(value_, Leading(kBits)) == value_ && And(mask_, Leading(kBits)) == mask_;
  }
  constexpr bool Accepts(T value) const { return And(value, mask_) == value_; }

  // The mask of the `bits` most significant bits of the field; 0 <= bits <= kBits.
  static constexpr T Leading(int bits) {
    if constexpr (std::unsigned_integral<T>) {
      const uint64_t all = kBits == 64 ? std::numeric_limits<uint64_t>::max() : (uint64_t{1} << kBits) - 1;
      return static_cast<T>(bits == 0 ? 0 : all & (all << (kBits - bits)));
    } else {
      auto bytes = T{}.bytes();
      for (int bit = 0; bit < bits; ++bit) bytes[static_cast<size_t>(bit / 8)] |= uint8_t(0x80 >> bit % 8);
      return T(bytes);
    }
  }

  constexpr bool operator==(const Masked&) const = default;

 private:
  static constexpr T And(T value, T mask) {
    if constexpr (std::unsigned_integral<T>) {
      return static_cast<T>(value & mask);
    } else {
      auto bytes = value.bytes();
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] &= mask.bytes()[i];
      return T(bytes);
    }
  }

  T value_{};
  T mask_{};
};

// All addresses that begin with the first `bits` bits of `address`; 0 <= bits <= its size.
template <typename Address>
constexpr Masked<Address> Prefix(const Address& address, int bits) {
  return Masked<Address>(address, Masked<Address>::Leading(bits));
}

}  // namespace sluice

#endif  // SLUICE_FLOW_MASKED_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_MAC_ADDRESS_H_
#define SLUICE_PACKET_MAC_ADDRESS_H_

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"

namespace sluice {

// An Ethernet address (IEEE 802-2014, 8.2), in the order in which it is sent. Can lie in a frame: six bytes,
// alignment 1. A value; any thread.
class SLUICE_EXPORT MacAddress {
 public:
  static constexpr size_t kSize = 6;

  constexpr MacAddress() = default;  // all zero, which is nobody's
  constexpr explicit MacAddress(const std::array<uint8_t, kSize>& bytes) : bytes_(bytes) {}

  static constexpr MacAddress Broadcast() { return MacAddress({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); }

  // Six pairs of hexadecimal digits between colons: "02:00:5e:10:00:01". kInvalidArgument for anything else.
  static absl::StatusOr<MacAddress> Parse(absl::string_view text);
  // The same form, in lower case.
  std::string ToString() const;

  constexpr const std::array<uint8_t, kSize>& bytes() const { return bytes_; }
  constexpr bool is_zero() const { return *this == MacAddress(); }
  constexpr bool is_multicast() const { return (bytes_[0] & 1) != 0; }  // the broadcast address too
  constexpr bool is_broadcast() const { return *this == Broadcast(); }
  constexpr bool is_local() const { return (bytes_[0] & 2) != 0; }  // made up, not bought with a card

  // As a number below 2^48, for tables.
  constexpr uint64_t value() const {
    uint64_t value = 0;
    for (const uint8_t byte : bytes_) value = value << 8 | byte;
    return value;
  }

  constexpr auto operator<=>(const MacAddress&) const = default;

  template <typename Hash>
  friend Hash AbslHashValue(Hash hash, const MacAddress& mac) {
    return Hash::combine(std::move(hash), mac.value());
  }

 private:
  std::array<uint8_t, kSize> bytes_{};
};

static_assert(sizeof(MacAddress) == 6 && alignof(MacAddress) == 1);

}  // namespace sluice

#endif  // SLUICE_PACKET_MAC_ADDRESS_H_

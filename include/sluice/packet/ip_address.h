// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_IP_ADDRESS_H_
#define SLUICE_PACKET_IP_ADDRESS_H_

// Addresses as they lie in an IP header: network order, alignment 1. Values; any thread.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"

namespace sluice {

template <size_t kSize>
class SLUICE_EXPORT IpAddress {
 public:
  constexpr IpAddress() = default;  // "0.0.0.0", "::"
  constexpr explicit IpAddress(const std::array<uint8_t, kSize>& bytes) : bytes_(bytes) {}

  // The text forms of inet_pton(3), without a prefix length. kInvalidArgument for anything else.
  static absl::StatusOr<IpAddress> Parse(absl::string_view text);
  // The canonical text; of IPv6 as in RFC 5952.
  std::string ToString() const;

  constexpr const std::array<uint8_t, kSize>& bytes() const { return bytes_; }

  constexpr auto operator<=>(const IpAddress&) const = default;

  template <typename Hash>
  friend Hash AbslHashValue(Hash hash, const IpAddress& address) {
    return Hash::combine(std::move(hash), address.bytes_);
  }

 private:
  std::array<uint8_t, kSize> bytes_{};
};

using Ipv4Address = IpAddress<4>;
using Ipv6Address = IpAddress<16>;

extern template class IpAddress<4>;
extern template class IpAddress<16>;

static_assert(sizeof(Ipv4Address) == 4 && sizeof(Ipv6Address) == 16 && alignof(Ipv6Address) == 1);

}  // namespace sluice

#endif  // SLUICE_PACKET_IP_ADDRESS_H_

// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/mac_address.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr size_t kTextSize = 17;  // "xx:xx:xx:xx:xx:xx"

bool IsWellFormed(absl::string_view text) {
  if (text.size() != kTextSize) return false;
  for (size_t i = 0; i < kTextSize; ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (i % 3 == 2 ? c != ':' : !absl::ascii_isxdigit(c)) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<MacAddress> MacAddress::Parse(absl::string_view text) {
  if (!IsWellFormed(text)) {
    return ErrorStatus(absl::StatusCode::kInvalidArgument,
                       {.stage = "parse MAC address",
                        .what = absl::StrCat("\"", absl::CHexEscape(text), "\" is not one"),
                        .remedy = "write six pairs of hexadecimal digits, as 02:00:5e:10:00:01"});
  }
  std::array<uint8_t, kSize> bytes;
  for (size_t i = 0; i < kSize; ++i) {
    bytes[i] = static_cast<uint8_t>(absl::HexStringToBytes(text.substr(3 * i, 2))[0]);
  }
  return MacAddress(bytes);
}

std::string MacAddress::ToString() const {
  return absl::StrFormat("%02x:%02x:%02x:%02x:%02x:%02x", bytes_[0], bytes_[1], bytes_[2], bytes_[3],
                         bytes_[4], bytes_[5]);
}

}  // namespace sluice

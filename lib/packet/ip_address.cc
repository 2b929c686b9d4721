// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/ip_address.h"

#include <arpa/inet.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

template <size_t kSize>
constexpr int kFamily = kSize == 4 ? AF_INET : AF_INET6;

}  // namespace

template <size_t kSize>
absl::StatusOr<IpAddress<kSize>> IpAddress<kSize>::Parse(absl::string_view text) {
  std::array<uint8_t, kSize> bytes;
  const bool has_nul = text.find('\0') != absl::string_view::npos;
  if (has_nul || inet_pton(kFamily<kSize>, std::string(text).c_str(), bytes.data()) != 1) {
    return ErrorStatus(absl::StatusCode::kInvalidArgument,
                       {.stage = absl::StrCat("parse IPv", kSize == 4 ? 4 : 6, " address"),
                        .what = absl::StrCat("\"", absl::CHexEscape(text), "\" is not one"),
                        .remedy = kSize == 4 ? "write four numbers, as 192.0.2.1"
                                             : "write hexadecimal groups, as 2001:db8::1"});
  }
  return IpAddress(bytes);
}

template <size_t kSize>
std::string IpAddress<kSize>::ToString() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(kFamily<kSize>, bytes_.data(), text, sizeof(text));
}

template class IpAddress<4>;
template class IpAddress<16>;

}  // namespace sluice

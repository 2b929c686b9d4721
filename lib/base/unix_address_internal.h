// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_UNIX_ADDRESS_INTERNAL_H_
#define SLUICE_BASE_UNIX_ADDRESS_INTERNAL_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <optional>
#include <string>

namespace sluice {

// The address of a UNIX socket at a path, as bind(2) and connect(2) take it.
class UnixAddress {
 public:
  // Nothing for an empty path, and one too long for the kernel.
  static std::optional<UnixAddress> Of(const std::string& path) {
    UnixAddress made;
    if (path.empty() || path.size() >= sizeof(made.address_.sun_path)) return std::nullopt;
    made.address_.sun_family = AF_UNIX;
    std::memcpy(made.address_.sun_path, path.data(), path.size());
    return made;
  }

  const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t length() const { return sizeof(address_); }

 private:
  UnixAddress() = default;

  sockaddr_un address_{};
};

}  // namespace sluice

#endif  // SLUICE_BASE_UNIX_ADDRESS_INTERNAL_H_

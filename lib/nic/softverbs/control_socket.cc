// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/unix_address_internal.h"
#include "nic/softverbs/control_socket_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr int kBacklog = 8;
constexpr mode_t kOwnerOnly = 0600;

UniqueFd NewSocket() { return UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

absl::Status Refuse(const std::string& path, const char* stage, int error) {
  return ErrorStatus({.device = absl::StrCat("control socket ", path),
                      .stage = stage,
                      .error_number = error,
                      .remedy = "give a path of up to 107 bytes, in a folder that may be written to"});
}

// False when somebody listens there, or it is no socket.
bool RemoveStale(const std::string& path, const UnixAddress& address) {
  struct stat file {};
  if (lstat(path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  const UniqueFd probe = NewSocket();
  const bool deaf = connect(probe.get(), address.generic(), address.length()) != 0 && errno == ECONNREFUSED;
  return deaf && unlink(path.c_str()) == 0;
}

}  // namespace

SoftControlSocket::~SoftControlSocket() {
  if (listener_.valid()) unlink(path_.c_str());
}

absl::Status SoftControlSocket::Bind(const std::string& path) {
  const std::optional<UnixAddress> address = UnixAddress::Of(path);
  if (!address.has_value()) return Refuse(path, "bind", ENAMETOOLONG);
  UniqueFd made = NewSocket();
  if (!made.valid()) return Refuse(path, "socket", errno);
  fchmod(made.get(), kOwnerOnly);  // before there is a file
  const auto bound = [&] { return bind(made.get(), address->generic(), address->length()) == 0; };
  if (!bound()) {
    if (errno != EADDRINUSE) return Refuse(path, "bind", errno);
    if (!RemoveStale(path, *address) || !bound()) {
      return ErrorStatus(absl::StatusCode::kUnavailable, {.device = absl::StrCat("control socket ", path),
                                                          .stage = "bind",
                                                          .what = "the path is in use",
                                                          .remedy = "give each device a path of its own"});
    }
  }
  if (listen(made.get(), kBacklog) != 0) return Refuse(path, "listen", errno);
  path_ = path;
  listener_ = std::move(made);
  return absl::OkStatus();
}

void SoftControlSocket::Serve(SoftDevice& device) {
  if (!caller_.valid()) {
    caller_ = UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    return;
  }
  char order[kLongestOrder];
  const ssize_t got = recv(caller_.get(), order, sizeof(order), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    const std::string answer =
        Obey(device, std::string(order, static_cast<size_t>(got))).substr(0, kLongestAnswer);
    (void)!send(caller_.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  }
  caller_ = UniqueFd();
}

}  // namespace sluice

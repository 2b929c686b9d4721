// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/softverbs/control_socket_internal.h"

namespace sluice {

absl::Status SoftControlSocket::Bind(const std::string& path) {
  absl::StatusOr<UnixListener> made =
      UnixListener::Listen({.device = absl::StrCat("control socket ", path),
                            .path = path,
                            .if_taken = "give each device a path of its own"});
  if (!made.ok()) return made.status();
  listener_.emplace(*std::move(made));
  return absl::OkStatus();
}

void SoftControlSocket::Serve(SoftDevice& device) {
  if (!caller_.valid()) {
    caller_ = listener_->Accept();
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

// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/softverbs/control_socket_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::Status SoftControlSocket::Bind(const std::string& path) {
  absl::StatusOr<UnixListener> made =
      UnixListener::Listen({.device = absl::StrCat("control socket ", path),
                            .path = path,
                            .if_taken = "give each device a path of its own"});
  if (!made.ok()) return made.status();
  all_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (absl::Status watched = Watch(made->fd()); !watched.ok()) return watched;
  listener_.emplace(*std::move(made));
  return absl::OkStatus();
}

absl::Status SoftControlSocket::Watch(int fd) const {
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  wanted.data.fd = fd;
  if (epoll_ctl(all_.get(), EPOLL_CTL_ADD, fd, &wanted) == 0) return absl::OkStatus();
  return ErrorStatus({.device = "control socket", .stage = "watch", .error_number = errno});
}

void SoftControlSocket::Serve(SoftDevice& device) {
  std::array<epoll_event, 16> ready;
  const int count = epoll_wait(all_.get(), ready.data(), static_cast<int>(ready.size()), 0);
  for (int i = 0; i < count; ++i) {
    const int fd = ready[static_cast<size_t>(i)].data.fd;
    if (fd == listener_->fd()) {
      TakeCallers();
    } else {
      Answer(device, fd);
    }
  }
}

// A caller that cannot be watched is let go, which it sees.
void SoftControlSocket::TakeCallers() {
  for (UniqueFd caller = listener_->Accept(); caller.valid(); caller = listener_->Accept()) {
    if (callers_.size() == kMostCallers) LetGo(callers_.front().get());
    if (Watch(caller.get()).ok()) callers_.push_back(std::move(caller));
  }
}

// One that was let go a moment ago may be among those that were ready, and its descriptor somebody else's by now.
void SoftControlSocket::Answer(SoftDevice& device, int caller) {
  const auto is = [caller](const UniqueFd& one) { return one.get() == caller; };
  if (std::none_of(callers_.begin(), callers_.end(), is)) return;
  char order[kLongestOrder];
  const ssize_t got = recv(caller, order, sizeof(order), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    const std::string answer =
        Obey(device, std::string(order, static_cast<size_t>(got))).substr(0, kLongestAnswer);
    (void)!send(caller, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  LetGo(caller);
}

// Closed, it is no longer watched.
void SoftControlSocket::LetGo(int caller) {
  std::erase_if(callers_, [caller](const UniqueFd& one) { return one.get() == caller; });
}

}  // namespace sluice

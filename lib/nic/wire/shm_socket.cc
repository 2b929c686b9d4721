// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/wire/shm_socket_internal.h"

namespace sluice {
namespace {

// Room for more descriptors than are allowed, so that a message with too many shows.
constexpr size_t kMostFds = kShmHelloFds + 1;
union Control {
  char bytes[CMSG_SPACE(kMostFds * sizeof(int))];
  cmsghdr aligned;
};

// Takes over all descriptors in `message`; returns how many, and the first ones in `fds`.
size_t TakeFds(msghdr& message, ShmFds& fds) {
  size_t found = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      UniqueFd taken(fd);
      if (found < fds.size()) fds[found] = std::move(taken);
      ++found;
    }
  }
  return found;
}

}  // namespace

absl::StatusOr<UnixListener> ListenForShm(const std::string& path, mode_t mode) {
  return UnixListener::Listen({.device = absl::StrCat("shm ", path),
                               .path = path,
                               .mode = mode,
                               .if_taken = "stop it, be its client, or use another path"});
}

UniqueFd ConnectShm(const std::string& path) { return ConnectUnix(path, SOCK_SEQPACKET); }

bool SendHello(int fd, const ShmHello& hello, const std::array<int, kShmHelloFds>& fds) {
  ShmHello copy = hello;
  iovec part{&copy, sizeof(copy)};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof(fds));
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(fds));
  std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(fds));
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof(copy));
}

ShmMessage ReceiveHello(int fd, ShmHello& hello, ShmFds& fds) {
  iovec part{&hello, sizeof(hello)};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  const ssize_t bytes = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (bytes < 0) return errno == EAGAIN || errno == EINTR ? ShmMessage::kNothingYet : ShmMessage::kGone;
  const size_t found = TakeFds(message, fds);
  if (bytes == 0 && found == 0) return ShmMessage::kGone;
  const bool whole = bytes == static_cast<ssize_t>(sizeof(hello)) && found == fds.size() &&
                     (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  return whole ? ShmMessage::kHello : ShmMessage::kOther;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/wire/shm_socket_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr int kBacklog = 8;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

// 0, or the errno.
int With(int (*call)(int, const sockaddr*, socklen_t), int fd, const std::string& path) {
  const sockaddr_un address = AddressOf(path);
  return call(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
}

UniqueFd NewSocket() { return UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

absl::Status Refuse(const std::string& path, std::string stage, int error, std::string what,
                    std::string remedy) {
  return ErrorStatus({.device = absl::StrCat("shm ", path),
                      .stage = std::move(stage),
                      .error_number = error,
                      .what = std::move(what),
                      .remedy = std::move(remedy)});
}

// Makes way for a new socket at `path`: removes one that nobody listens on.
absl::Status RemoveStale(const std::string& path) {
  struct stat file {};
  if (lstat(path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode))
    return Refuse(path, "bind", EADDRINUSE, "the path is a file that is no socket",
                  "remove it, or use another path");
  const UniqueFd probe = NewSocket();
  if (With(connect, probe.get(), path) != ECONNREFUSED)
    return Refuse(path, "bind", EBUSY, "a server listens there",
                  "stop it, be its client, or use another path");
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return Refuse(path, "remove stale socket", errno, "", "remove it, or allow writing to its folder");
  return absl::OkStatus();
}

absl::Status Bind(int fd, const std::string& path, mode_t mode) {
  // On the socket before bind, so that the file is never open to more than it should; once more after, for the umask
  // takes bits away.
  fchmod(fd, mode);
  int error = With(bind, fd, path);
  if (error == EADDRINUSE) {
    if (absl::Status removed = RemoveStale(path); !removed.ok()) return removed;
    error = With(bind, fd, path);
  }
  if (error != 0) return Refuse(path, "bind", error, "", "make its folder, and allow writing to it");
  if (chmod(path.c_str(), mode) != 0) return Refuse(path, "set mode", errno, "", "use another folder");
  if (listen(fd, kBacklog) != 0) return Refuse(path, "listen", errno, "", "use another path");
  return absl::OkStatus();
}

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

absl::StatusOr<ShmListener> ShmListener::Listen(const std::string& path, mode_t mode) {
  UniqueFd fd = NewSocket();
  if (!fd.valid()) return Refuse(path, "socket", errno, "", "raise the limit of open files");
  if (absl::Status bound = Bind(fd.get(), path, mode); !bound.ok()) return bound;
  struct stat file {};
  lstat(path.c_str(), &file);
  return ShmListener(std::move(fd), path, file.st_dev, file.st_ino);
}

ShmListener::~ShmListener() {
  struct stat file {};
  if (!fd_.valid() || lstat(path_.c_str(), &file) != 0) return;
  if (file.st_dev == device_ && file.st_ino == inode_) unlink(path_.c_str());
}

UniqueFd ShmListener::Accept() const {
  return UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

UniqueFd ConnectShm(const std::string& path) {
  UniqueFd fd = NewSocket();
  if (With(connect, fd.get(), path) != 0) return UniqueFd();
  return fd;
}

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

// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/unix_address_internal.h"
#include "base/unix_listener_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr int kBacklog = 8;

UniqueFd NewSocket(int type) { return UniqueFd(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

absl::Status Refuse(const UnixListenerOptions& options, const char* stage, int error, const char* what,
                    std::string remedy) {
  return ErrorStatus({.device = options.device,
                      .stage = stage,
                      .error_number = error,
                      .what = what,
                      .remedy = std::move(remedy)});
}

// Makes way for a new socket: removes one that nobody listens on. Whatever the type of a server that lives, it does not
// answer with ECONNREFUSED.
absl::Status RemoveStale(const UnixListenerOptions& options, const UnixAddress& address) {
  struct stat file {};
  if (lstat(options.path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode))
    return Refuse(options, "bind", EADDRINUSE, "the path is a file that is no socket",
                  "remove it, or use another path");
  const UniqueFd probe = NewSocket(options.type);
  if (connect(probe.get(), address.generic(), address.length()) == 0 || errno != ECONNREFUSED)
    return Refuse(options, "bind", EBUSY, "a server listens there", options.if_taken);
  if (unlink(options.path.c_str()) != 0 && errno != ENOENT)
    return Refuse(options, "remove stale socket", errno, "", "remove it, or allow writing to its folder");
  return absl::OkStatus();
}

absl::Status Bind(int fd, const UnixListenerOptions& options, const UnixAddress& address) {
  const auto bound = [&] { return bind(fd, address.generic(), address.length()) == 0 ? 0 : errno; };
  int error = bound();
  if (error == EADDRINUSE) {
    if (absl::Status removed = RemoveStale(options, address); !removed.ok()) return removed;
    error = bound();
  }
  if (error != 0) return Refuse(options, "bind", error, "", "make its folder, and allow writing to it");
  return absl::OkStatus();
}

// The owner first: the mode may open the file to a group that is not its group yet.
absl::Status Expose(const UnixListenerOptions& options) {
  const char* const path = options.path.c_str();
  if (lchown(path, options.owner, options.group) != 0)
    return Refuse(options, "set owner", errno, "",
                  "name an owner and group that this user may give files to");
  if (chmod(path, options.mode) != 0) return Refuse(options, "set mode", errno, "", "use another folder");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UnixListener> UnixListener::Listen(const UnixListenerOptions& options) {
  const std::optional<UnixAddress> address = UnixAddress::Of(options.path);
  if (!address) return Refuse(options, "bind", ENAMETOOLONG, "", "give a path of 1 to 107 bytes");
  UniqueFd fd = NewSocket(options.type);
  if (!fd.valid()) return Refuse(options, "socket", errno, "", "raise the limit of open files");
  fchmod(fd.get(),
         options.mode & S_IRWXU);  // before there is a file, so that it is never open to more than it should
  if (absl::Status bound = Bind(fd.get(), options, *address); !bound.ok()) return bound;
  struct stat file {};
  lstat(options.path.c_str(), &file);
  UnixListener made(std::move(fd), options.path, file.st_dev, file.st_ino);
  if (absl::Status exposed = Expose(options); !exposed.ok()) return exposed;
  if (listen(made.fd(), kBacklog) != 0) return Refuse(options, "listen", errno, "", "use another path");
  return made;
}

UnixListener::~UnixListener() {
  struct stat file {};
  if (!fd_.valid() || lstat(path_.c_str(), &file) != 0) return;
  if (file.st_dev == device_ && file.st_ino == inode_) unlink(path_.c_str());
}

UniqueFd UnixListener::Accept() const {
  return UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

UniqueFd ConnectUnix(const std::string& path, int type) {
  const std::optional<UnixAddress> address = UnixAddress::Of(path);
  errno = ENAMETOOLONG;
  if (!address) return UniqueFd();
  UniqueFd fd = NewSocket(type);
  if (connect(fd.get(), address->generic(), address->length()) != 0) return UniqueFd();
  return fd;
}

}  // namespace sluice

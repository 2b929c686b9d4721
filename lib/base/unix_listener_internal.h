// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_UNIX_LISTENER_INTERNAL_H_
#define SLUICE_BASE_UNIX_LISTENER_INTERNAL_H_

// A listening UNIX socket and the file by which it is found. Nothing here blocks.

#include <sys/socket.h>
#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"

namespace sluice {

struct UnixListenerOptions {
  std::string device = {};    // who it is in statuses: "shm /run/a"
  std::string path = {};      // up to 107 bytes
  int type = SOCK_SEQPACKET;  // or SOCK_STREAM
  mode_t mode = 0600;
  uid_t owner = static_cast<uid_t>(-1);  // -1: who we are
  gid_t group = static_cast<gid_t>(-1);
  std::string if_taken = "stop it, or use another path";  // the remedy where a server listens already
};

// Removes the file at its end, unless somebody else's stands there by then.
class UnixListener {
 public:
  // Takes over a socket file whose server is gone; refuses any other file, and a server that lives (kUnavailable). Two
  // servers that start at once on one path are the operator's to prevent.
  static absl::StatusOr<UnixListener> Listen(const UnixListenerOptions& options);

  UnixListener(UnixListener&&) = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();

  int fd() const { return fd_.get(); }
  UniqueFd Accept() const;  // non-blocking; none when nobody waits

 private:
  UnixListener(UniqueFd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  UniqueFd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

// A non-blocking connection to the server at `path`; none, and errno, while nobody listens there or may be talked to.
UniqueFd ConnectUnix(const std::string& path, int type);

}  // namespace sluice

#endif  // SLUICE_BASE_UNIX_LISTENER_INTERNAL_H_

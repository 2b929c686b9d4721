// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_SHM_SOCKET_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_SHM_SOCKET_INTERNAL_H_

// The socket over which the ends of a shared-memory wire meet: unix(7), SOCK_SEQPACKET. Nothing here blocks.

#include <sys/types.h>

#include <array>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "nic/wire/shm_link_internal.h"
#include "nic/wire/shm_protocol_internal.h"

namespace sluice {

// A listening socket, and the file by which it is found; removes the file unless somebody else's stands there
// now.
class ShmListener {
 public:
  // Takes over a socket file whose server is gone; refuses any other file, and a server that lives. Two
  // servers that start at once on one path are the operator's to prevent.
  static absl::StatusOr<ShmListener> Listen(const std::string& path, mode_t mode);

  ShmListener(ShmListener&&) = default;
  ShmListener& operator=(ShmListener&&) = delete;
  ~ShmListener();

  int fd() const { return fd_.get(); }
  UniqueFd Accept() const;  // none when nobody waits

 private:
  ShmListener(UniqueFd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  UniqueFd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

// A connection to the server at `path`; none while nobody listens there or may be talked to.
UniqueFd ConnectShm(const std::string& path);

// False when the peer is gone already.
bool SendHello(int fd, const ShmHello& hello, const std::array<int, kShmHelloFds>& fds);

enum class ShmMessage : uint8_t { kNothingYet, kHello, kOther, kGone };

// Takes one message off the connection. Descriptors are taken over whatever the message is.
ShmMessage ReceiveHello(int fd, ShmHello& hello, ShmFds& fds);

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_SHM_SOCKET_INTERNAL_H_

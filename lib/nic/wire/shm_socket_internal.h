// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_SHM_SOCKET_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_SHM_SOCKET_INTERNAL_H_

// The socket over which the ends of a shared-memory wire meet: unix(7), SOCK_SEQPACKET. Nothing here blocks.

#include <sys/types.h>

#include <array>
#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "base/unix_listener_internal.h"
#include "nic/wire/shm_link_internal.h"
#include "nic/wire/shm_protocol_internal.h"

namespace sluice {

// The socket file of a server.
absl::StatusOr<UnixListener> ListenForShm(const std::string& path, mode_t mode);

// A connection to the server at `path`; none while nobody listens there or may be talked to.
UniqueFd ConnectShm(const std::string& path);

// False when the peer is gone already.
bool SendHello(int fd, const ShmHello& hello, const std::array<int, kShmHelloFds>& fds);

enum class ShmMessage : uint8_t { kNothingYet, kHello, kOther, kGone };

// Takes one message off the connection. Descriptors are taken over whatever the message is.
ShmMessage ReceiveHello(int fd, ShmHello& hello, ShmFds& fds);

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_SHM_SOCKET_INTERNAL_H_

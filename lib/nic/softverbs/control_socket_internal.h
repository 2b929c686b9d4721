// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_CONTROL_SOCKET_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_CONTROL_SOCKET_INTERNAL_H_

// Where a device takes orders from outside of its process: a UNIX socket (SOCK_SEQPACKET), one order and one answer a
// connection, one connection at a time. An answer begins with "ok" or "wrong".
// Threads: Bind before the service starts; the rest is the service's.

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/unique_fd_internal.h"
#include "base/unix_listener_internal.h"

namespace sluice {

struct SoftDevice;

inline constexpr size_t kLongestOrder = 512;
inline constexpr size_t kLongestAnswer = 16 * 1024;

class SoftControlSocket {
 public:
  // A file there that nobody listens on makes way. kUnavailable when somebody does.
  absl::Status Bind(const std::string& path);

  // Readable when there is something to serve; -1 when not bound.
  int fd() const { return caller_.valid() ? caller_.get() : listener_ ? listener_->fd() : -1; }
  // Takes the caller, or its order. Not under the gate of the device; does not wait.
  void Serve(SoftDevice& device);

 private:
  std::optional<UnixListener> listener_;
  UniqueFd caller_;
};

// command.cc: does what the order says, and answers. Takes the gate.
std::string Obey(SoftDevice& device, const std::string& order);

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_CONTROL_SOCKET_INTERNAL_H_

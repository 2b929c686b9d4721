// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_CONTROL_SOCKET_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_CONTROL_SOCKET_INTERNAL_H_

// Where a device takes orders from outside of its process: a UNIX socket (SOCK_SEQPACKET), one order and one answer a
// connection. An answer begins with "ok" or "wrong". Callers are served as they order, and none waits for another that
// has not yet said a word; past kMostCallers, the one that has been silent the longest is let go.
// Threads: Bind before the service starts; the rest is the service's.

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/unique_fd_internal.h"
#include "base/unix_listener_internal.h"

namespace sluice {

struct SoftDevice;

inline constexpr size_t kLongestOrder = 512;
inline constexpr size_t kLongestAnswer = 16 * 1024;
inline constexpr size_t kMostCallers = 64;  // that are connected at once

class SoftControlSocket {
 public:
  // A file there that nobody listens on makes way. kUnavailable when somebody does.
  absl::Status Bind(const std::string& path);

  // Readable when there is something to serve; -1 when not bound.
  int fd() const { return listener_ ? all_.get() : -1; }
  // Takes new callers, and the orders of those that have one. Not under the gate of the device; does not wait.
  void Serve(SoftDevice& device);

 private:
  absl::Status Watch(int fd) const;
  void TakeCallers();
  void Answer(SoftDevice& device, int caller);
  void LetGo(int caller);

  std::optional<UnixListener> listener_;
  UniqueFd all_;                   // of epoll: the listener, and who called
  std::vector<UniqueFd> callers_;  // as they came
};

// command.cc: does what the order says, and answers. Takes the gate.
std::string Obey(SoftDevice& device, const std::string& order);

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_CONTROL_SOCKET_INTERNAL_H_

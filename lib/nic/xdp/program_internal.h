// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_PROGRAM_INTERNAL_H_
#define SLUICE_NIC_XDP_PROGRAM_INTERNAL_H_

// The XDP program of a port: a frame goes to the socket in XSKMAP[receive queue], or on to the kernel's stack
// where there is none. Held to the interface by a bpf_link, so that it goes when this process does, however
// it ends.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "sluice/nic/nic.h"

namespace sluice {

class XdpProgram {
 public:
  // Loads the program with a map of `queues` entries. Needs CAP_BPF and CAP_NET_ADMIN.
  static absl::StatusOr<XdpProgram> Load(const std::string& device, uint32_t queues);

  // Sends what arrives on hardware queue `queue` to a bound AF_XDP socket.
  absl::Status Redirect(uint32_t queue, int socket) const;

  // From here on frames are taken. EBUSY when another program has the interface.
  absl::Status Attach(uint32_t interface_index, Want native);
  void Detach() { link_ = UniqueFd(); }

  bool native() const { return native_; }
  const std::string& reason() const { return reason_; }  // why not, when it was wanted

 private:
  XdpProgram(std::string device, UniqueFd map, UniqueFd program)
      : device_(std::move(device)), map_(std::move(map)), program_(std::move(program)) {}

  int TryAttach(uint32_t interface_index, uint32_t mode);  // 0 or errno

  std::string device_;
  UniqueFd map_;
  UniqueFd program_;
  UniqueFd link_;
  bool native_ = false;
  std::string reason_;
};

// kUnavailable, naming the program, when one is attached to the interface; asks in the thread's network
// namespace.
absl::Status CheckNoProgram(const std::string& device, uint32_t interface_index);

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_PROGRAM_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_SHM_MEETING_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_SHM_MEETING_INTERNAL_H_

// How the ends of a shared-memory wire find each other, and find out that the other is gone. Runs on the control
// thread; what it learns reaches the lanes through a ShmLinkSlot.
//
//   alone ──connected──▶ greeting ──hello checked──▶ linked
//     ▲                     │                          │
//     └──── hung up ◀───────┴── gone, in breach, ... ──┘

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "nic/wire/shm_link_internal.h"
#include "nic/wire/shm_socket_internal.h"
#include "sluice/nic/shm_wire.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class ShmMeeting {
 public:
  // Offers `lanes` of `ring` descriptors with buffers of `pool`. `slot` outlives this.
  static absl::StatusOr<std::unique_ptr<ShmMeeting>> Open(const ShmWireOptions& options,
                                                          const WireOptions& wire, ShmLinkSlot& slot);

  int doorbell() const { return doorbell_.get(); }   // where rings arrive
  int service_fd() const { return service_.get(); }  // readable when Service has something to do
  void Service();

  // What became of the last peer, or why there is none. Any thread.
  std::string detail() const;

 private:
  ShmMeeting(const ShmWireOptions& options, const ShmHello& hello, ShmLinkSlot& slot)
      : options_(options), hello_(hello), slot_(slot) {}

  absl::Status OpenDescriptors(const Region& packets);
  bool Watch(int fd) const;
  void WakeReceiver() const;
  void RetryEvery(absl::Duration interval) const;

  bool PeerIsWell();
  void AcceptPeers();
  void Connect();
  void Adopt(UniqueFd connection);
  bool SendOurHello(const ShmLink& link) const;
  void Greet();
  void LinkUp();
  void HangUp(const std::string& why);
  void SetDetail(const std::string& detail);

  const ShmWireOptions options_;
  const ShmHello hello_;
  ShmLinkSlot& slot_;

  UniqueFd packets_;          // the pool's region, to be read only
  UniqueFd doorbell_, bell_;  // the peer gets the bell; kept here too, to ring ourselves
  UniqueFd service_, wake_, timer_;
  std::optional<UnixListener> listener_;

  UniqueFd connection_;
  std::shared_ptr<ShmLink> greeting_;  // while the peer's hello is awaited
  std::shared_ptr<ShmLink> link_;      // while linked

  mutable std::mutex mutex_;  // of detail_
  std::string detail_ = "no peer yet";
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_SHM_MEETING_INTERNAL_H_

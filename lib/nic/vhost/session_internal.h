// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_SESSION_INTERNAL_H_
#define SLUICE_NIC_VHOST_SESSION_INTERNAL_H_

// The control side of a vhost-user port: the socket, the front-end that talks through it, and what it asks for.
//
//   front-end ──messages──▶ VhostSession ──StartRing, RestRing, ...──▶ VhostBackend, which moves the packets
//
// A session outlives its front-ends: one leaves, or breaks a rule and is hung up on, and the next is awaited. What is wrong
// with one front-end is seen by no other session.
//
// A ring runs between StartRing and StopRing. It is started once it has all it needs, in whatever order that came: features,
// memory, size, addresses, and SET_VRING_KICK. That message counts as the first kick, which the document waits for: a driver that
// was told not to kick, by the back-end of before, would never send one.
//
// Threads: one at a time, the host's control thread; Snapshot from any. The calls of VhostBackend come from inside Service,
// and from the destructor.
// Nothing blocks, apart from what the VhostBackend does.

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd_internal.h"
#include "base/unix_listener_internal.h"
#include "nic/vhost/guest_memory_internal.h"
#include "nic/vhost/message_internal.h"
#include "nic/vhost/ring_internal.h"
#include "sluice/nic/vhost_nic.h"
#include "sluice/packet/headers.h"

namespace sluice {

// A descriptor that goes with its last user: a worker may be about to write to one that the front-end has just replaced.
using VhostFd = std::shared_ptr<const UniqueFd>;

// A ring as it is to be served. All of it was checked: sizes, alignment, and that it lies in the memory.
struct VhostRingSetup {
  uint16_t index = 0;     // 0, 2, ...: what the guest receives; 1, 3, ...: what it sends
  uint64_t features = 0;  // negotiated
  uint32_t size = 0;      // entries
  uint32_t base = 0;      // where to go on, as SET_VRING_BASE has it (see VhostRingState)
  bool enabled =
      false;  // a ring that is not is served without effect: nothing goes in, what comes out is discarded

  RingPlace place = {};

  VhostFd kick = {};  // null: the guest kicks nobody, poll
  VhostFd call = {};  // null: nobody wants to be called
  VhostFd err = {};   // null: nobody wants to hear of errors
};

// Who moves the packets. Each call returns when its effect has come about.
class VhostBackend {
 public:
  virtual ~VhostBackend() = default;

  virtual void OnConnected() {}
  // The rings were stopped before. Told once for each OnConnected; `why` is OK when the front-end just left.
  virtual void OnDisconnected(const absl::Status& why) { (void)why; }
  virtual void OnFeatures(uint64_t negotiated) { (void)negotiated; }  // 0 after a reset

  virtual void StartRing(const VhostRingSetup& setup) = 0;
  // Between RestRing and ResumeRing or StopRing, nothing of the ring's memory, log and descriptors is touched. Loans of the
  // guest's memory may stay out: who has one holds its GuestMemory.
  virtual void RestRing(uint16_t ring) = 0;
  // `setup` differs from that of StartRing in addresses, memory, log, descriptors, `enabled` or VHOST_F_LOG_ALL; its base is
  // without meaning.
  virtual void ResumeRing(const VhostRingSetup& setup) = 0;
  // Returns where the ring is, as GET_VRING_BASE has it; what was taken from it has been given back.
  virtual uint32_t StopRing(uint16_t ring) = 0;

  // Of a ring that runs and does not rest.
  virtual void EnableRing(uint16_t ring, bool enabled) = 0;
  virtual void SetCall(uint16_t ring, VhostFd call) = 0;

  virtual bool SetMtu(uint16_t mtu) = 0;  // false when it can't be had
  virtual void SendRarp(const MacAddress& guest) = 0;
};

struct VhostSessionOptions {
  std::string path = {};
  VhostRole role = VhostRole::kServer;   // kClient: QEMU has server=on
  mode_t mode = 0660;                    // of the socket file; this and the next two for a server
  uid_t owner = static_cast<uid_t>(-1);  // -1: who we are
  gid_t group = static_cast<gid_t>(-1);
  uint64_t features = 0;                      // offered, of virtio; vhost's own come by themselves
  uint64_t required_features = 0;             // of those: who does without is hung up on
  uint64_t protocol_features = ~uint64_t{0};  // offered, as far as they are served
  uint16_t queue_pairs = 1;                   // at most kVhostMostQueuePairs
};

// Served, each of them: see dialogue_internal.h. Not served: CROSS_ENDIAN and HOST_NOTIFIER, which no Linux guest on one of
// our machines uses, and what is no network card's.
inline constexpr uint64_t kVhostServedProtocolFeatures =
    BitOf(VhostProtocolFeature::kMq) | BitOf(VhostProtocolFeature::kLogShmfd) |
    BitOf(VhostProtocolFeature::kRarp) | BitOf(VhostProtocolFeature::kReplyAck) |
    BitOf(VhostProtocolFeature::kNetMtu) | BitOf(VhostProtocolFeature::kBackendReq) |
    BitOf(VhostProtocolFeature::kInflightShmfd) | BitOf(VhostProtocolFeature::kResetDevice) |
    BitOf(VhostProtocolFeature::kConfigureMemSlots) | BitOf(VhostProtocolFeature::kStatus);

struct VhostRingView {
  uint32_t size = 0;
  bool enabled = false;
  bool runs = false;
  bool kick = false;  // a descriptor is there
  bool call = false;
};

struct VhostRegionView {
  uint64_t guest = 0;
  uint64_t bytes = 0;
  bool sealed = false;  // its file cannot shrink; of one that can, the front-end's owner is trusted not to
};

// For people. Any thread; a copy.
struct VhostSnapshot {
  bool connected = false;
  uint64_t features = 0;           // negotiated
  uint64_t protocol_features = 0;  // likewise
  uint8_t device_status = 0;       // SET_STATUS
  bool logging = false;
  std::vector<VhostRegionView> regions = {};
  std::vector<VhostRingView> rings = {};  // 2 a queue pair
  absl::Status last_error =
      {};  // why the last front-end that was hung up on was; stays while the next is there

  uint64_t connections = 0;   // front-ends that came
  uint64_t refused = 0;       // came while another was there
  uint64_t bad_messages = 0;  // were hung up on
  uint64_t messages = 0;
};

class VhostDialogue;

class VhostSession {
 public:
  // Listens, or begins to connect: a server that is not there yet is asked again, after 10 ms at first and 1 s at last.
  // `backend` outlives the session.
  static absl::StatusOr<std::unique_ptr<VhostSession>> Open(const VhostSessionOptions& options,
                                                            VhostBackend& backend);
  VhostSession(const VhostSession&) = delete;
  VhostSession& operator=(const VhostSession&) = delete;
  ~VhostSession();  // hangs up: stops the rings, and removes the socket file

  int service_fd() const;  // readable when Service has something to do
  void Service();

  VhostSnapshot Snapshot() const;

 private:
  VhostSession(const VhostSessionOptions& options, VhostBackend& backend);
  absl::Status OpenDescriptors();
  bool Watch(int fd) const;

  void AcceptCallers();
  void Connect();
  void Adopt(UniqueFd connection);
  void HangUp();
  void RetryLater();
  void Publish();

  const VhostSessionOptions options_;
  VhostBackend& backend_;
  std::optional<UnixListener> listener_;  // of a server
  UniqueFd service_, timer_;
  absl::Duration retry_;  // until the next attempt of a client
  std::unique_ptr<VhostDialogue> dialogue_;

  VhostSnapshot counts_;      // the counters, and the last error
  uint64_t published_ = 0;    // messages of the dialogue that the snapshot knows
  bool changed_ = true;       // since the last snapshot
  mutable std::mutex mutex_;  // of snapshot_
  VhostSnapshot snapshot_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_SESSION_INTERNAL_H_

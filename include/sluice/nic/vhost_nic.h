// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_NIC_H_
#define SLUICE_NIC_VHOST_NIC_H_

// A guest's network card as a Nic: the rings of its virtio-net, which a hypervisor hands over by vhost-user.
//
//   guest's memory, shared                                       this process
//   ┌─────────────────────────────────┐
//   │ transmitq 0, 1 ... ─ frames ────┼─▶ headers copied, long payload lent ─▶ rx(0), rx(1) ...
//   │ receiveq 0, 1 ...  ◀─ frames ───┼── copied once, to where the guest wants them ◀── tx(0), tx(1) ...
//   └─────────────────────────────────┘
//     QEMU, cloud-hypervisor, libvirt, virtio-user ═ unix socket ═ control thread (event_fd, TakeEvents)
//
//   absl::StatusOr<std::unique_ptr<VhostNic>> nic = OpenVhostNic({.path = "/run/guest1.sock"});
//   absl::Status started = (*nic)->Start({.rx_queues = 2, .tx_queues = 2, .pool = &pool});
//   // qemu ... -chardev socket,id=c,path=/run/guest1.sock,reconnect=1 -netdev vhost-user,id=n,chardev=c,queues=2
//   //   -object memory-backend-memfd,id=m,size=1G,share=on -machine memory-backend=m
//
// Use it for guests of this machine. Between processes that both link sluice a shared-memory wire costs less.
//
// Socket: made by Start and gone with Stop; one front-end at a time, and the next when it has gone. It is served by
//   TakeEvents alone: the guest's driver waits for the answers, so watch event_fd and call it soon.
// Front-ends: the memory of the guest must be shared (QEMU: a memory backend with share=on); one that is not is refused, and
//   TakeEvents says what to set. A front-end is trusted in two things, which no back-end can check: that it does not shrink
//   files that are no memfd, and that it leaves the eventfd by which it is called not to block, as we make it.
// Queues: transmitq i of the guest comes out of rx(i % rx_queues). Each tx queue has its share of the receiveqs that the guest has
//   enabled, or shares one where there are fewer, and spreads flows over those. Numbers that disagree are served.
// Frames from the guest: up to VhostNicOptions::copy_up_to bytes are copied. Of longer ones the headers are, so that what was checked
//   stays as it was; the payload is lent by the guest until the packet is freed (Packet::borrows), wherever that is done.
// Frames to the guest: copied once into its buffers. A guest with no free buffer shows as packets not taken. With a copy engine
//   (VhostNicOptions::copies) long ones are on their way when Send returns; the guest is told of them with the next Send,
//   or with a Reclaim when the queue's due() has passed.
// Offloads: what the guest leaves unfinished (checksum, TCP segments) arrives as an OffloadRequest, and such a request goes to a
//   guest that takes it. All else is done in software by Send, with the same bytes. Segments for which the guest makes no room
//   within 100 ms are dropped with their frame, kTransmitRingFull.
// Bad input: a ring with something impossible in it stops by itself, and is told (kQueueError); the guest's other rings go on. A
//   message that is wrong ends the connection, with its reason in a kLinkDown. Neither touches other guests.
// Hashes: with HASH_REPORT each frame says which hash its packet has (Packet::rss_hash), or that there is none. Which hashes the
//   guest wants, by which key, and RSS, it says to the hypervisor by the control queue, and that tells no back-end: rings are
//   chosen here, and nothing is hashed for the guest alone.
// A host that was killed and starts again at the same path goes on with the guest's rings: with split ones from their used index,
//   and with any where the front-end keeps track of what is in flight (INFLIGHT_SHMFD). Each buffer goes back to the guest once; a
//   frame that was on its way may be lost, or come twice.
// Link: up while there is a ring each way.
//
// Threads: as nic.h. TakeEvents may wait for a Receive or Send on another thread to end, when rings change.
// Cost: no system call but the guest's interrupt, once a burst where it wants one. No lock but one exchange a burst and ring.
// Specification: virtio 1.2, 2.7, 2.8 and 5.1; QEMU's "Vhost-user Protocol".

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/nic/copy_engine.h"
#include "sluice/nic/nic.h"
#include "sluice/packet/mac_address.h"

namespace sluice {

// Who listens.
enum class VhostRole : uint8_t {
  kServer,  // this side; QEMU's chardev has reconnect=1, and finds us again when we were gone
  kClient,  // the hypervisor (server=on,wait=off); we come again until it is there, 10 ms to 1 s apart
};

struct VhostNicOptions {
  std::string path = {};  // of the socket. Required
  VhostRole role = VhostRole::kServer;
  mode_t mode = 0660;  // of the socket's file, as are the next two; of a server
  std::optional<uid_t> owner = {};
  std::optional<gid_t> group = {};

  MacAddress mac{};  // as told to others; the guest's own is set at the hypervisor
  uint32_t mtu =
      1500;  // of IP packets: longer frames to the guest are dropped (kTooLong), unless cut on the way
  uint16_t pairs = 64;  // queue pairs that the guest may have, 1 to 64
  // Bytes of frame; longer ones are lent: what passes through is then copied once. Raise it to 1600 where frames of usual
  // length are kept for long, or have to lie in one piece.
  uint32_t copy_up_to = 1000;

  // What the guest is offered beyond plain frames. Off where it is not to be used, require refuses guests without.
  Want checksums = Want::kPrefer;
  Want tso = Want::kPrefer;        // needs checksums
  Want uso = Want::kPrefer;        // likewise; guests of Linux 6.2
  Want mergeable = Want::kPrefer;  // long frames over several buffers
  // Rings in one piece (virtio 1.2, 2.8): faster. But where this process is killed and comes again, they go on only with a
  // hypervisor that keeps track of what is in flight (INFLIGHT_SHMFD); QEMU's network cards do not, and go on at the wrong place.
  Want packed = Want::kOff;
  Want in_order = Want::kPrefer;
  Want hash_report = Want::kPrefer;  // QEMU: hash=on

  // Copies to the guest by something else than the processor: an engine for each receiveq. Off, and of use with hardware only.
  DeferredCopyOptions copies = {};

  // Of how long a frame waits to be cut; outlives the port. Null = Clock::Monotonic().
  const Clock* clock = nullptr;
};

// One ring of the guest, for people.
struct VhostRingReport {
  uint16_t index = 0;  // 2i = receiveq i, 2i + 1 = transmitq i
  uint16_t size = 0;
  bool enabled = false;
  bool running = false;
  std::string fault = {};  // why it stopped; empty: it did not
};

// What there is at the other end now.
struct VhostReport {
  bool connected = false;
  std::string features = {};  // that both sides have, as the specifications name them: "CSUM MRG_RXBUF ..."
  std::string protocol_features = {};  // likewise
  uint16_t pairs_enabled = 0;
  std::vector<VhostRingReport> rings = {};
  uint64_t memory_bytes = 0;  // of the guest, mapped here
  uint32_t memory_regions = 0;
  bool dirty_logging = false;   // the guest is moving
  std::string last_error = {};  // why the last connection ended
  uint64_t connections = 0;     // since Open, as are the next two
  uint64_t refused = 0;         // connections beside the one
  uint64_t bad_messages = 0;
  uint64_t idle_kicks = 0;  // times that a sleeping queue was woken by a guest that had sent nothing
  std::string copy_engine =
      {};                  // what copies to the guest now, or why nothing does; empty where nothing was to
  CopyCounts copies = {};  // since Open
};

class SLUICE_EXPORT VhostNic : public Nic {
 public:
  // Control thread.
  virtual VhostReport report() const = 0;
};

// kInvalidArgument for an option out of range. Start then refuses a socket that cannot be made: kAlreadyExists where another
// program serves that path, kPermissionDenied, kNotFound for its folder.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<VhostNic>> OpenVhostNic(const VhostNicOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_NIC_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_WIRE_H_
#define SLUICE_NIC_WIRE_H_

// What a ModelNic is plugged into: one end of something that carries frames. The Nic owns its end.
//
//   ModelNic ─ lane 0 ─▶┐                  a lane for each transmit queue, so that senders never meet
//            ─ lane 1 ─▶┤ Wire ═════ peer: another ModelNic, a process, a kernel interface, a capture file
//            ◀─ Receive ┘                  one stream of arrivals, which the Nic steers to its queues
//
// A wire neither looks into frames nor steers. What it cannot carry it says in WireTraits, and the Nic
// finishes it before Transmit.
//
// Threads: Transmit and Reclaim, one thread at a time per lane; Receive and Arm, one at a time; all of them
//   side by side, and beside whatever the peer does, its Close included. Open, Close and Service from the
//   control thread, Open and Close with nobody polling this end. link() and drops() from any thread.
// Accounts: frames transmitted = received by the peer + drops() of both ends + under way.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/base/drop_reason.h"
#include "sluice/base/export.h"
#include "sluice/nic/link_state.h"
#include "sluice/nic/mode.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

struct WireTraits {
  std::string name;               // "pair", "shm /run/x.sock", "tap0"
  uint32_t max_frame = 65535;     // bytes, Ethernet header included
  bool carries_offloads = false;  // a frame may cross unfinished, with its OffloadRequest: memory to memory
  // Where carries_offloads is not set, of the requests these may cross, to a device that does them:
  bool carries_l4_checksum = false;  // OffloadRequest::l4_checksum
  bool carries_tso = false;          // with it `segment`, of TCP that is in no tunnel
  uint16_t uso_segments = 0;         // with it `segment`, of UDP that is in no tunnel, into at most so many
  bool carries_fragments = false;    // packets of several pieces may be sent as they are
  bool sleeps = true;                // Arm and fd work
};

struct WireOptions {
  uint16_t lanes = 1;          // transmit queues
  uint32_t ring = 1024;        // packets a lane holds, a power of two
  PacketPool* pool = nullptr;  // for arrivals that the wire has to copy; outlives the wire's Close
};

class SLUICE_EXPORT Wire {
 public:
  virtual ~Wire() = default;

  // Of a closed wire the least that it will have; Open may find that more can be carried.
  virtual const WireTraits& traits() const = 0;
  // What was asked of the wire beyond frames, and what came of it at the last Open. Any thread.
  virtual std::vector<ModeInForce> modes() const { return {}; }

  virtual absl::Status Open(const WireOptions& options) = 0;
  // Gives back every packet that this end still owns or has not received (kStopped), and every descriptor.
  // What the peer has been given already, it may still deliver. Harmless when closed.
  virtual void Close() = 0;

  // Takes packets from the front of `burst`, as many as fit: a slow peer shows as packets not taken. Takes
  // none while the link is down; the Nic then drops them (kLinkDown).
  virtual size_t Transmit(uint16_t lane, Burst& burst) = 0;
  // Frees what has been sent on `lane`; returns how many.
  virtual size_t Reclaim(uint16_t lane) = 0;

  // Appends arrivals, in order within each lane of the peer. They may carry what an earlier hop knew of them:
  // the Nic wipes it.
  virtual size_t Receive(Burst& burst) = 0;

  // As RxQueue::Arm and fd.
  virtual bool Arm() = 0;
  virtual int fd() const = 0;

  virtual LinkState link() const = 0;
  // Why the link is as it is, for people: "the peer is gone"; may be empty. Any thread.
  virtual std::string link_detail() const { return ""; }
  // Whether the other side is no more, and the link, which is then down, stays so for as long as this end is open: the
  // interface was deleted, the other end destroyed. The Nic tells it once (NicEvent::kRemoved). Any thread.
  virtual bool gone() const { return false; }
  virtual DropCounts drops() const = 0;  // of frames the wire itself had to drop

  // A descriptor, while open, that is readable when Service has something to do, or when link() may have
  // changed; -1 = never.
  virtual int service_fd() const { return -1; }
  virtual void Service() {}
};

}  // namespace sluice

#endif  // SLUICE_NIC_WIRE_H_

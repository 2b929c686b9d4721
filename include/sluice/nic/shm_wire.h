// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SHM_WIRE_H_
#define SLUICE_NIC_SHM_WIRE_H_

// A wire between two processes of one machine through shared memory: lossless, one copy, no system call while
// both ends are busy. Use the pair wire inside one process, a TAP wire to reach the kernel.
//
//   process A                                                          process B
//   ┌───────────────────┐    A's board: produced, descriptors          ┌───────────────────┐
//   │ pool A            │ ── read-only to B ─────────────────────────▶ │ copies each frame │
//   │ (packets stay put │    B's board: consumed, asleep               │ once, from pool A │
//   │  until consumed)  │ ◀───────────────────────── read-only to A ── │ into pool B       │
//   └───────────────────┘    (and the same the other way round)        └───────────────────┘
//
// Trust: neither end can write the other's memory, and each index and descriptor is read once, checked, then
//   used. A peer that breaks the rules loses the connection (one drop counted as kDeviceError, the reason in
//   link_detail()); it can send rubbish as frames, no more. It does read the whole of this end's pool: give a
//   peer that must not see other traffic a pool of its own.
// Loss: none while both live. When the peer goes, what it had published is still delivered; what it had taken
//   no notice of is counted here as kLinkDown, and all packets return to their pools at the next Transmit or
//   Reclaim of their lane, or at Close. A frame that it was copying at that moment may be counted and
//   delivered.
// Connection: a Unix socket (SOCK_SEQPACKET) at `path`, over which the ends pass their memory and a doorbell.
//   Ends may start, die and come back in any order; whoever drives Service() gets them together again.

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/base/export.h"
#include "sluice/nic/wire.h"

namespace sluice {

enum class ShmRole : uint8_t {
  kServer,  // owns the socket file; takes over one that a dead server left behind
  kClient,  // connects, and tries again while nobody listens
};

struct ShmWireOptions {
  std::string path = {};  // of the socket, up to 107 bytes. Required
  ShmRole role = ShmRole::kServer;
  mode_t mode = 0660;                              // of the socket file: who may connect. Server only
  absl::Duration retry = absl::Milliseconds(100);  // between attempts to connect. Client only
};

// Refuses options out of range (kInvalidArgument). Nothing is opened before Wire::Open, which fails when the
// path is in use by a live server (kUnavailable), cannot be made, or the pool's memory cannot be shared.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<Wire>> MakeShmWire(const ShmWireOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_SHM_WIRE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_NIC_H_
#define SLUICE_NIC_XDP_NIC_H_

// A kernel network interface as a Nic, through AF_XDP: any Ethernet device, no driver of ours, the kernel's
// stack still there for what is not taken.
//
//   wire ──▶ driver ──▶ XDP program ──▶ XSKMAP[queue] ──▶ receive ring ──▶ RxQueue::Receive
//                            │ (queue not ours: XDP_PASS)
//                            └──────────▶ kernel stack
//   wire ◀── driver ◀──────────────────────────────────── transmit ring ◀─ TxQueue::Send
//
//   pool's region = the UMEM: a descriptor names a buffer of the pool, and its frame is never copied by the
//   library (the kernel copies once where the driver has no zero-copy).
//
//   absl::StatusOr<std::unique_ptr<XdpNic>> nic = OpenXdpNic({.interface = "eth1"});
//   absl::Status started = (*nic)->Start({.rx_queues = 2, .tx_queues = 2, .pool = &pool});
//
// Use it for uplinks and for guests that hang on veth. Do not use it when every frame must also reach the
// kernel, nor for the interface that carries your own login (see allow_default_route).
//
// Pool: buffer_size 2048 or 4096 (the kernel's chunk sizes). The largest frame is the interface's MTU + 18
//   (Ethernet header and one VLAN tag) and must fit a buffer behind 256 bytes that XDP keeps in front, or
//   behind the pool's headroom when that is larger: 1,792 of 2,048 bytes. Start refuses a larger MTU.
//   Several Nics may share one pool: a packet that one received is sent by the other from where it lies.
//   Each Nic registers the pool's region by itself, so that one may be in zero-copy mode while its
//   neighbour copies; where RLIMIT_MEMLOCK counts (no CAP_IPC_LOCK), the region counts once a port.
// Queues: receive queue i is hardware queue i. With fewer queues than the device has, the RSS indirection
//   table is narrowed to ours and put back by Stop; Start refuses where there is no such table, for frames
//   would pass us by.
// Owners: one XDP program at a time fits an interface, and one socket a queue. Start refuses (kUnavailable,
//   EBUSY) when another has them, and has then changed nothing. Program and sockets go with the process,
//   however it ends; an indirection table narrowed by a process that was killed stays so until `ethtool -X
//   IFACE default`.
// Offloads: AF_XDP takes finished frames in one piece. What a packet asks for is done in software by Send:
//   checksums filled, VLAN tags put in, TCP and UDP cut (packet/segment.h), pieces joined by a copy into the pool;
//   so a TAP port, or one that coalesces, may forward here what it likes. Segments that the ring has no room for
//   stay in the queue, which then takes nothing more, and go with the next Send or Reclaim. A segment takes three
//   buffers of the pool while it is made, and one until it is sent.
// Frames: a sender on this machine may leave checksums to "hardware": switch that off at the veth peer
//   (`ethtool -K PEER tx off`), for AF_XDP does not tell which frames are unfinished.
//
// Threads: as nic.h. Open and Start on a thread in the interface's network namespace; the rest anywhere.
// Blocks: Start and Stop for as long as the kernel takes to attach and to release, some 10 ms; up to 0.2 s
//   more when a queue was let go a moment ago, or frames are still being sent.
// Cost: no system call on receive; on send one a burst, where the driver asks for it.
// Needs: CAP_NET_RAW for the socket, CAP_BPF (before Linux 5.8 CAP_SYS_ADMIN) and CAP_NET_ADMIN for the
// program; Linux 5.11.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/base/export.h"
#include "sluice/nic/nic.h"

namespace sluice {

struct XdpNicOptions {
  std::string interface = {};  // by its name in the thread's network namespace

  // Run the program in the driver, before an skb is made. kPrefer falls back to the generic hook, which any
  // device has and which is slower; kOff goes there at once.
  Want native = Want::kPrefer;

  // Let the device read and write the pool's buffers itself. Few drivers can; the others copy each frame
  // once, in the kernel. kOff when a driver's zero-copy misbehaves.
  Want zero_copy = Want::kPrefer;

  // Run the driver's receive work inside Receive and Send instead of in interrupts: the best latency on a
  // core of its own, a system call for each poll that finds nothing. Wants
  // /sys/class/net/IFACE/napi_defer_hard_irqs and gro_flush_timeout set. See "Busy polling" in the kernel's
  // networking/napi.rst.
  Want busy_poll = Want::kOff;
  uint32_t busy_poll_budget = 64;                          // frames a poll handles at most
  absl::Duration busy_poll_time = absl::Microseconds(20);  // how long a blocking call polls before it sleeps

  // An interface through which the default route goes is refused, since taking its frames cuts off whoever is
  // logged in through it. True when that is wanted.
  bool allow_default_route = false;
};

// What AF_XDP has to tell beyond a Nic's statistics. Each field is monotonic.
struct XdpCounters {
  uint64_t copies = 0;     // sent frames that were not one piece of this Nic's pool, and were copied into it;
                           // each segment is one
  uint64_t doorbells = 0;  // system calls made on send and receive
  uint64_t transmit_retries = 0;  // doorbells that the kernel answered with "not now": sent later
};

class SLUICE_EXPORT XdpNic : public Nic {
 public:
  virtual XdpCounters counters() const = 0;  // any thread

  // Which hardware queues are held, in words; empty when stopped.
  virtual std::string queue_plan() const = 0;
};

// kNotFound: no such interface. kPermissionDenied: names the capabilities. kFailedPrecondition: it carries
// the default route. kUnavailable (EBUSY): another XDP program is attached; names it. kUnimplemented: built
// without libxdp, or the kernel has no AF_XDP. Has changed nothing on the interface, also when it succeeds:
// that is Start's business.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<XdpNic>> OpenXdpNic(const XdpNicOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_NIC_H_

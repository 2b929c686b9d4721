// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_QUEUE_H_
#define SLUICE_NIC_QUEUE_H_

// A queue is the one place where packets cross between a Nic and its caller, a burst at a time.
//
//            Receive                                    Send
//   wire ──▶ RxQueue ──▶ Burst ──▶ (your stages) ──▶ Burst ──▶ TxQueue ──▶ wire
//                          ▲                           │
//                          └──── what was not taken ◀──┘   stays with you: send again, or drop and count
//
// A NIC, a guest and a capture file all look like this. Use Switch or Engine instead when you want
// forwarding; use a queue when you are the forwarding.
//
// Threads: one thread at a time per queue, not always the same one. Queues of one Nic share no line that
//   either writes per packet.
// Cost: one indirect call per burst. Nothing here allocates, locks, logs, or enters the kernel but for the
//   doorbell where a device needs one.
// Loss: what is dropped inside is in stats().drops under its reason; received + drops = what the wire gave.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "sluice/base/drop_reason.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/packet/burst.h"

namespace sluice {

// What a queue did since its Nic was opened. Each field is monotonic, and exact once the queue rests.
struct QueueStats {
  uint64_t packets = 0;  // that crossed the queue: after coalescing on receive, before segmenting on send
  uint64_t bytes = 0;    // of those, from the Ethernet header to the last payload byte, without FCS
  uint64_t wakeups = 0;  // times that Arm() led to a sleep that fd() ended; receive only
  DropCounts drops;      // by reason, in packets
  // Bytes that were copied in the queue to pass those on, by the processor or an engine; absent where that is not counted. By
  // those that were lent instead it is short of `bytes`.
  std::optional<uint64_t> copied = {};
};

class SLUICE_EXPORT RxQueue {
 public:
  virtual ~RxQueue() = default;

  // Appends up to burst.room() packets in arrival order and returns how many. Zero means that nothing is
  // waiting now, also while the link is down or the Nic is stopped; never blocks. The burst owns the packets.
  virtual size_t Receive(Burst& burst) = 0;

  // Asks for one wake-up on fd() when a packet is waiting. False when one may already be: poll again before
  // sleeping, for a wake-up lost here is a guest that hangs. Arming twice is harmless; Receive disarms.
  virtual bool Arm() = 0;

  // Readable (EPOLLIN) after Arm() when there is something to Receive. The queue clears it itself: never read
  // it. Owned by the queue, and the same until the Nic is closed. -1 where the device cannot wake a sleeper:
  // poll it.
  virtual int fd() const = 0;

  virtual QueueId id() const = 0;
  virtual QueueStats stats() const = 0;  // any thread
};

class SLUICE_EXPORT TxQueue {
 public:
  virtual ~TxQueue() = default;

  // Takes packets from the front of `burst` until the ring is full, rings the doorbell once, and returns how
  // many it took. The rest stays in the burst, in order. A packet that cannot be sent at all (too long, link
  // down, an offload that cannot be done) is dropped under its reason, and counts as taken. One that is cut
  // is taken whole: segments for which there is no room go with the next Send or Reclaim, before all else.
  virtual size_t Send(Burst& burst) = 0;

  // Frees the packets whose sending has completed. Send does this when it runs short; call it when idle, so
  // that a quiet queue holds no buffers, nor segments. Returns how many came back.
  virtual size_t Reclaim() = 0;

  // How long what was taken may wait for the next Send or Reclaim, as frames do that a copy engine brings: who sends, and then
  // has nothing to send, calls Reclaim when that has passed. Infinite: there is no hurry. Thread as Send.
  virtual absl::Duration due() const { return absl::InfiniteDuration(); }

  virtual QueueId id() const = 0;
  virtual QueueStats stats() const = 0;  // any thread
};

}  // namespace sluice

#endif  // SLUICE_NIC_QUEUE_H_

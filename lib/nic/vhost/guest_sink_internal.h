// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GUEST_SINK_INTERNAL_H_
#define SLUICE_NIC_VHOST_GUEST_SINK_INTERNAL_H_

// What a guest receives: packets, written into the buffers of its receiveq (virtio 1.2, 5.1.6.3).
//
//   packet ─▶ borrowed ─▶ borrowed        each piece copied once, from where it lies, and freed
//      │          └────────┐
//   │ header │ frame ... ││ ... ││ ... │  one chain a packet; with mergeable buffers as many as it takes
//
// With a copy engine the pieces that are long enough are copied by it, and the guest is told of their chains later: Reclaim
// when due() has passed, if no Send comes before (held_frames_internal.h).
//
// The packets ask for nothing but what the guest agreed to finish itself: who sends sees to that (egress_internal.h). What no
// header can say is dropped as kUnsupportedOffload.
//
// Threads: Send, Reclaim, Finish, due and TakeCall one at a time; the control calls while none of these runs. fault and the
// counts of held() from any thread.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/held_frames_internal.h"
#include "nic/vhost/packed_ring_internal.h"
#include "nic/vhost/ring_internal.h"
#include "nic/vhost/split_ring_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/burst.h"

namespace sluice {

class GuestSink {
 public:
  GuestSink() = default;
  explicit GuestSink(std::unique_ptr<HeldFrames> held) : held_(std::move(held)) {}  // null: no copy engine
  ~GuestSink() { Finish(); }
  GuestSink(const GuestSink&) = delete;
  GuestSink& operator=(const GuestSink&) = delete;

  // Control.
  // ----------------------------------------------------------------------------------------------------
  void Start(const RingShape& shape, const RingPlace& place, const RingPosition& position);
  // The same ring in other memory, or with another log. Finish first, as before Stop.
  void Replace(const RingPlace& place);
  // Returns where the ring stands. The guest may want a call.
  RingPosition Stop();
  bool running() const { return running_; }
  RingPosition position() const;

  // Data path.
  // ----------------------------------------------------------------------------------------------------
  // As TxQueue::Send: takes packets from the front as far as the guest has buffers, and shows all of them to it at once. One
  // that is longer than a chain, or with mergeable buffers than ChainBatch::kChains of them, is dropped as kTooLong. Returns
  // what the guest got; what was dropped is in `drops`.
  RingTraffic Send(Burst& burst, DropCounters& drops);
  // Whether the guest wants to be called for what was sent since this was last asked.
  bool TakeCall() { return std::exchange(call_, false); }

  // Tells the guest of frames that have come, when it is time to look. Returns how many packets that frees.
  size_t Reclaim() { return held_ != nullptr ? ReclaimHeld() : 0; }
  // How long until Reclaim has something to look at: see TxQueue::due.
  absl::Duration due() const { return held_ != nullptr ? held_->copies().due() : absl::InfiniteDuration(); }
  // Waits for all copies, and tells the guest of all frames. Bounded, as CopyEngine::Quiesce.
  void Finish();
  const HeldFrames* held() const { return held_.get(); }

  RingFault fault() const { return fault_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kUsualHeader = 12;

  // Of one Send: packets off the burst, and those of them that were not dropped.
  struct Done {
    DropCounters& drops;
    size_t taken = 0;
    RingTraffic sent = {};

    void Add(size_t packets, uint64_t bytes) {
      taken += packets;
      sent.packets += packets;
      sent.bytes += bytes;
    }
  };
  // Of one packet: how many chains it took; or why it is dropped; or that it has to wait for more.
  struct Outcome {
    size_t chains = 0;
    std::optional<DropReason> dropped = {};
    bool waits = false;
  };
  template <typename Ring>
  void GiveUp(Ring& ring);
  // How frames are written: at once, or by HeldFrames.
  struct AtOnce;
  template <typename Way>
  void SendBy(Way& way, Burst& burst, Done& done);
  template <typename Way, typename Ring>
  void SendTo(Way& way, Ring& ring, Burst& burst, Done& done);
  template <typename Way>
  size_t WriteAll(Way& way, Burst& burst, Done& done);
  void SendForFirstLines() const;
  static void WriteHeader(uint8_t* at, uint64_t flags);
  void SendForRest(const Packet& packet, const RingChain& chain) const;
  template <typename Way>
  size_t WritePlain(Way& way, const Burst& burst, Done& done, size_t first);
  template <typename Way>
  Outcome WriteOdd(Way& way, Packet& packet, size_t first);
  size_t ReclaimHeld();
  size_t TellOfHeld();
  size_t ChainsFor(uint32_t bytes, size_t first) const;
  bool HasVerdict(const Packet& packet) const;
  void LogWritten(size_t chains) const;

  RingShape shape_;
  SplitRing split_;
  PackedRing packed_;
  bool running_ = false;
  bool call_ = false;
  const DirtyLog* log_ = nullptr;  // of the ring's place, as the next
  const GuestMemory* memory_ = nullptr;
  std::atomic<RingFault> fault_{RingFault::kNone};
  ChainBatch batch_;
  const std::unique_ptr<HeldFrames> held_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GUEST_SINK_INTERNAL_H_

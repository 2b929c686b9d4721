// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_HELD_FRAMES_INTERNAL_H_
#define SLUICE_NIC_VHOST_HELD_FRAMES_INTERNAL_H_

// Frames on their way to a guest whose bytes a copy engine brings (see deferred_copies_internal.h): what stands for them until the
// bytes are there.
//
//   Copy, Copy, Wrote ─▶ │ frame: its packet, chains, and the last of its copies │ ... ─▶ GiveBackDone: chains to the guest,
//                                                                                       packets to their pools
//
// In the order of the frames: one that is there waits for those before it. A guest is told of no chain, and a packet is freed,
// before the last byte was copied. Of a frame in several chains it is told at once.
//
// A way of writing, for GuestSink. Threads: as GuestSink's; counts() and engine() from any.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "nic/copy/deferred_copies_internal.h"
#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/ring_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class HeldFrames {
 public:
  HeldFrames(std::unique_ptr<CopyEngine> engine, const DeferredCopyOptions& options)
      : copies_(std::move(engine), options) {}

  // Control; nothing is held.
  void Start(const RingShape& shape, bool logs);
  // A page is marked in a log behind the write, and before the guest is told: while there is one, nothing is late.
  void SetLog(bool logs) { copies_.Allow(!logs); }

  // Data path, as ways have it.
  // ----------------------------------------------------------------------------------------------------
  static constexpr bool kByProcessor = false;
  void Copy(uint8_t* to, const uint8_t* from, size_t bytes) {
    copies_.Copy(to, from, static_cast<uint32_t>(bytes));
  }
  // The i-th packet of the burst was written, into so many chains.
  void Wrote(Packet& packet, size_t i, size_t chains) {
    frames_[frames_end_++ & mask_] = {&packet, copies_.mark(), chains};
    held_of_burst_ |= uint64_t{1} << i;
  }
  template <typename Ring>
  void GiveBack(Ring&, const RingChain* chains, size_t n) {
    for (size_t i = 0; i < n; ++i) chains_[chains_end_++ & mask_] = chains[i];
  }
  template <typename Ring>
  void EndBurst(Ring& ring) {
    copies_.EndBatch();
    GiveBackDone(ring);
  }
  // Of the first `n` packets of the burst, those that are not held.
  void Free(Packet* const* packets, size_t n);

  // Between bursts.
  // ----------------------------------------------------------------------------------------------------
  // Gives back the chains of frames that are there. Returns how many packets that frees.
  template <typename Ring>
  size_t GiveBackDone(Ring& ring);
  DeferredCopies& copies() { return copies_; }
  const DeferredCopies& copies() const { return copies_; }
  bool empty() const { return frames_first_ == frames_end_; }

 private:
  struct Frame {
    Packet* packet;
    uint64_t mark;
    size_t chains;
  };
  static_assert(Burst::kCapacity <= 64, "a bit a packet");

  DeferredCopies copies_;
  uint64_t held_of_burst_ = 0;

  // Rings, each with a place for every chain that the guest can have with us. A frame takes at least one.
  std::vector<Frame> frames_;
  std::vector<RingChain> chains_;
  uint64_t mask_ = 0;
  uint64_t frames_first_ = 0, frames_end_ = 0;
  uint64_t chains_first_ = 0, chains_end_ = 0;
};

template <typename Ring>
size_t HeldFrames::GiveBackDone(Ring& ring) {
  std::array<Packet*, Burst::kCapacity> packets;
  const uint64_t before = frames_first_;
  size_t n = 0, chains = 0;
  while (frames_first_ != frames_end_ && frames_[frames_first_ & mask_].mark <= copies_.done()) {
    const Frame& frame = frames_[frames_first_++ & mask_];
    chains += frame.chains;
    packets[n++] = frame.packet;
    if (n == packets.size()) PacketPool::Put(packets.data(), std::exchange(n, 0));
  }
  PacketPool::Put(packets.data(), n);
  // In two parts where they lie at the end and the beginning.
  while (chains != 0) {
    const size_t at = chains_first_ & mask_;
    const size_t part = std::min(chains, chains_.size() - at);
    ring.GiveBack(&chains_[at], part);
    chains_first_ += part;
    chains -= part;
  }
  return static_cast<size_t>(frames_first_ - before);
}

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_HELD_FRAMES_INTERNAL_H_

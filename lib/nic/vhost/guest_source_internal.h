// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GUEST_SOURCE_INTERNAL_H_
#define SLUICE_NIC_VHOST_GUEST_SOURCE_INTERNAL_H_

// What a guest sends: the chains of its transmitq, as packets (virtio 1.2, 5.1.6.2).
//
//   short frame   │ header │ frame │ ──copied──▶ packet               its chain goes back at once
//   long frame    │ header │ headers │ payload │ payload │            its chain goes back when the last piece came home
//                      copied ─▶ packet ─▶ borrowed ─▶ borrowed
//
// A long frame in one piece, as one of usual length is, for whose payload the pool has no packet is copied if it fits one.
//
// Each descriptor is read once, into private memory, checked there, and used; and so are the header and the frame's own
// headers: what the guest writes there afterwards changes nothing.
//
// A chain that is lent holds up those taken after it. Who keeps packets for long calls Packet::Own.
//
// Threads: Receive, Reclaim, Arm and TakeCall one at a time; packets are freed on any. The control calls while none of these
//   runs. fault and lent from any thread.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "base/unique_fd_internal.h"
#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/guest_loans_internal.h"
#include "nic/vhost/packed_ring_internal.h"
#include "nic/vhost/piece_cursor_internal.h"
#include "nic/vhost/ring_internal.h"
#include "nic/vhost/split_ring_internal.h"
#include "nic/wire/virtio_net_header_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

struct GuestSourceOptions {
  PacketPool* pool = nullptr;    // outlives the source and its packets
  OwnerId owner = kNobody;       // who is charged for the buffers
  Packet::Arrival arrival = {};  // what packets carry
  DropCounters* drops =
      nullptr;  // counts frames that cannot be received, by who calls Receive; outlives the source
  // Frames longer than this are borrowed; at most what fits a fresh packet is copied. 0: all but their headers.
  uint32_t copy_up_to = 65536;
  // An eventfd that is written when a loan comes home to a source that sleeps. Null: Arm is false while anything is lent.
  std::shared_ptr<const UniqueFd> wake = {};
};

class GuestSource {
 public:
  // The longest frame: tagged, the IP datagram as long as it can tell. Longer ones are dropped as kTooLong.
  static constexpr uint32_t kLongestFrame = 14 + 4 + 65535;

  explicit GuestSource(const GuestSourceOptions& options) : options_(options) {}
  ~GuestSource() { Stop(); }
  GuestSource(const GuestSource&) = delete;
  GuestSource& operator=(const GuestSource&) = delete;

  // Control.
  // ----------------------------------------------------------------------------------------------------
  void Start(const RingShape& shape, const RingPlace& place, const RingPosition& position);
  // The same ring in other memory, or with another log. Loans keep what they point to. Disarms: poll before the next sleep.
  void Replace(const RingPlace& place);
  // Gives back every chain that was taken: also those still lent, whose payload then is what the guest writes there. So
  // poll Reclaim until lent() is 0, if only for a while, before. Returns where the ring stands.
  RingPosition Stop();
  bool running() const { return running_; }
  RingPosition position() const;

  // Data path.
  // ----------------------------------------------------------------------------------------------------
  // As RxQueue::Receive, and tells what it appended. While the pool is dry, frames wait in the ring.
  RingTraffic Receive(Burst& burst);
  // Gives chains back whose loans came home; Receive does so too. Returns how many.
  size_t Reclaim();
  // As RxQueue::Arm: asks the guest for a kick and says true when nothing is there to be done. Receive disarms.
  bool Arm();
  // Whether the guest wants to be called for what was given back since this was last asked.
  bool TakeCall() { return std::exchange(call_, false); }

  size_t lent() const { return loans_ == nullptr ? 0 : loans_->lent(); }  // chains that are out
  RingFault fault() const { return fault_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kLongestHeader = 20;

  template <typename Ring>
  RingTraffic ReceiveFrom(Ring& ring, Burst& burst);
  template <typename Ring>
  RingTraffic TakeAll(Ring& ring, Burst& burst);
  size_t SendForFirstLines(size_t n) const;
  uint8_t* FrameOf(const RingChain& chain) const;
  bool LendsOnePiece(const RingChain& chain) const;
  void GetNames(size_t frames);
  bool Fill(Packet& packet, size_t i);
  uint32_t CopiedOf(uint32_t bytes) const;
  void LendRest(Packet& packet, absl::Span<uint8_t> rest, size_t slot);
  void LinkLent(Packet& behind, Packet* name, absl::Span<uint8_t> part, size_t slot);
  bool FillOdd(Packet& packet, size_t i);
  bool TakeInHeader(const VirtioNetHeader& header, Packet& packet);
  bool Drop(DropReason reason);
  bool Borrow(Packet& packet, PieceCursor cursor, uint32_t bytes, size_t slot);
  size_t GetPackets(Packet** to, size_t n);
  size_t GetCharged(Packet** to, size_t n);

  // Where the i-th chain of the batch is held, if it has to be.
  size_t SlotOf(size_t i) const {
    const size_t slot = held_first_ + held_count_ + i;  // less than twice the size
    return slot < shape_.size ? slot : slot - shape_.size;
  }
  void Hold(size_t n);
  template <typename Ring>
  size_t GiveBackHome(Ring& ring);
  template <typename Ring>
  void GiveBackHeld(Ring& ring, size_t run);
  template <typename Ring>
  void GiveAllBack(Ring& ring);
  void Disarm();

  const GuestSourceOptions options_;
  RingShape shape_;
  SplitRing split_;
  PackedRing packed_;
  bool running_ = false;
  bool call_ = false;
  bool armed_ = false;
  bool lending_ = false;  // a chain of the batch at hand was lent
  uint32_t headroom_ = 0;
  uint32_t room_ = 0;        // of a packet behind the headroom
  uint32_t head_bytes_ = 0;  // copied of a frame that is lent
  uint32_t copy_limit_ = 0;
  std::atomic<RingFault> fault_{RingFault::kNone};

  GuestLoans* loans_ = nullptr;
  std::vector<RingChain> held_;  // taken and not given back, in order: a ring, by slots of loans_
  size_t held_first_ = 0;
  size_t held_count_ = 0;
  ChainBatch batch_;
  std::array<Packet*, ChainBatch::kChains> names_;  // for pieces that are lent
  size_t names_got_ = 0, names_taken_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GUEST_SOURCE_INTERNAL_H_

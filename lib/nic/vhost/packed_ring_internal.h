// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_PACKED_RING_INTERNAL_H_
#define SLUICE_NIC_VHOST_PACKED_RING_INTERNAL_H_

// The device's side of a packed virtqueue (virtio 1.2, 2.8): one ring, in which both sides write.
//
//   │ address bytes id flags │ ... │
//     driver: available in this round = AVAIL flag is the wrap counter, and USED is not
//     device: used in this round      = both are
//
//     used_ ────────── taken_ ──────────▶ descriptors that the driver has made available
//
// Has the same verbs as SplitRing, for templates; see there what they do. Threads: one at a time.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/packed_notes_internal.h"
#include "nic/vhost/ring_internal.h"

namespace sluice {

class PackedRing {
 public:
  void Start(const RingShape& shape, const RingPlace& place, const RingPosition& position);
  void Replace(const RingPlace& place);
  // Of memory, notes and log. Nothing but the position is of use then.
  void LetGo() {
    notes_ = nullptr;
    place_ = {};
  }
  RingPosition position() const;

  void Fetch(ChainBatch& batch, size_t most, bool writable);
  RingFault fault() const { return fault_; }
  void Take(const RingChain* chains, size_t n);
  void GiveBack(const RingChain* chains, size_t n);
  void GiveBackUnwritten(const RingChain* chains, size_t n);
  bool Publish();
  void GiveUpInFlight() {}  // it is in the ring, to be taken

  void AskForKicks(bool wanted);
  bool waiting() const;

 private:
  using Place = PackedNotes::Place;
  // A descriptor, read from the guest once; in two words, for as a rule few of its fields are looked at.
  struct Descriptor {
    uint64_t address;
    uint64_t rest;
    uint32_t bytes() const { return static_cast<uint32_t>(rest); }
    uint16_t id() const { return static_cast<uint16_t>(rest >> 32); }
    uint16_t flags() const { return static_cast<uint16_t>(rest >> 48); }
  };
  Place After(Place place, uint32_t slots) const {
    const uint32_t index = place.index + slots;
    if (index < shape_.size) return {static_cast<uint16_t>(index), place.wrap};
    return {static_cast<uint16_t>(index - shape_.size), !place.wrap};
  }
  static Descriptor Read(const uint8_t* at);
  bool TakeOverNotes();
  void PutBack(Place place, const VhostInflightPackedEntry& noted);
  bool IsAvailable(Place place) const;
  size_t FetchPlain(ChainBatch& batch, Place at, size_t most, bool writable);
  uint32_t FetchOdd(ChainBatch& batch, Place at, uint32_t room, bool writable);
  bool AddTable(ChainBatch& batch, const Descriptor& table, bool writable, uint64_t& bytes);
  bool AddPieces(ChainBatch& batch, const Descriptor& descriptor, bool writable);
  bool Fail(ChainBatch& batch, RingFault fault);
  void PutUsed(const RingChain& chain, uint32_t slots);
  bool WantsCall();
  void LogDescriptor(uint32_t index) const;

  RingShape shape_;
  RingPlace place_;
  uint64_t descriptors_guest_ = 0;      // where the guest sees the ring
  uint64_t device_guest_ = 0;           // and the event structure that we write
  std::unique_ptr<PackedNotes> notes_;  // null: what is in flight is not noted
  GuestMemory::Hint hint_;
  Place taken_;
  Place used_;
  uint32_t outstanding_ = 0;  // slots that were taken, and that the driver has not back
  uint32_t unshown_ = 0;      // of those, given back
  Place shown_;               // the first that was given back since Publish
  uint64_t first_rest_ = 0;   // of its descriptor, but the address: written when all others are
  bool pending_ = false;      // there is such a one
  bool never_called_ = true;  // since the start
  RingFault fault_ = RingFault::kNone;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_PACKED_RING_INTERNAL_H_

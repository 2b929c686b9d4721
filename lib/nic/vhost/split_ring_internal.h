// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_SPLIT_RING_INTERNAL_H_
#define SLUICE_NIC_VHOST_SPLIT_RING_INTERNAL_H_

// The device's side of a split virtqueue (virtio 1.2, 2.7).
//
//   available ring │ flags │ index │ head head head ... │ used_event │      the driver writes
//                                     │
//   descriptors    │ address bytes flags next │ ... │                       the driver writes
//                                     │
//   used ring      │ flags │ index │ id bytes, ...      │ avail_event │     we write
//
//     used_ ────────── taken_ ─────────── available index
//       given back       with us            waiting
//
// Has the same verbs as PackedRing, for templates. Threads: one at a time.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/ring_internal.h"
#include "nic/vhost/split_notes_internal.h"

namespace sluice {

class SplitRing {
 public:
  void Start(const RingShape& shape, const RingPlace& place, const RingPosition& position);
  void Replace(const RingPlace& place);
  // Of memory, notes and log. Nothing but the position is of use then.
  void LetGo() {
    notes_ = nullptr;
    place_ = {};
  }
  RingPosition position() const { return {.available = taken_, .used = used_}; }

  // Reads up to `most` of the waiting chains into an empty batch, without taking them: fewer when there are no more, when the
  // batch is full, or behind what is wrong. Their pieces are all to be written, or all to be read. What is wrong at the very
  // front is the ring's fault, for good.
  void Fetch(ChainBatch& batch, size_t most, bool writable);
  RingFault fault() const { return fault_; }
  // The first of those that were fetched are ours now.
  void Take(const RingChain* chains, size_t n) {
    if (notes_ != nullptr) [[unlikely]]
      notes_->Take(chains, n);
    taken_ = static_cast<uint16_t>(taken_ + n);
  }
  // Gives back chains, in the order in which they were taken.
  void GiveBack(const RingChain* chains, size_t n);
  // The same, of chains that nothing was written to.
  void GiveBackUnwritten(const RingChain* chains, size_t n);
  // Shows the driver what was given back. Whether it wants to be called for that.
  bool Publish();
  // Before the ring is left for good: gives back, unused, what was in flight at Start and was not taken again since.
  void GiveUpInFlight();

  // Whether the driver is to kick when it makes more available. After true, look whether it did: waiting().
  void AskForKicks(bool wanted);
  bool waiting() const;

 private:
  // A descriptor, read from the guest once; in two words, for as a rule few of its fields are looked at.
  struct Descriptor {
    uint64_t address;
    uint64_t rest;
    uint32_t bytes() const { return static_cast<uint32_t>(rest); }
    uint16_t flags() const { return static_cast<uint16_t>(rest >> 32); }
    uint16_t next() const { return static_cast<uint16_t>(rest >> 48); }
  };
  // A table of them: the ring's own, or a chain's.
  struct Table {
    const uint8_t* at;
    uint32_t size;
    bool indirect;
  };
  static Descriptor Read(const uint8_t* at);
  bool TakeOverNotes();
  void ReadHeads(uint16_t* heads, size_t n) const;
  size_t HeadsInFlight(uint16_t* heads, size_t n) const;
  size_t FetchPlain(ChainBatch& batch, const uint16_t* heads, size_t n, bool writable);
  bool FetchOdd(ChainBatch& batch, uint16_t head, bool writable);
  RingFault Open(const Descriptor& descriptor, Table& table);
  bool AddPieces(ChainBatch& batch, const Descriptor& descriptor, bool writable);
  bool Fail(ChainBatch& batch, RingFault fault);
  void PutElement(uint16_t index, const RingChain& chain);
  bool WantsCall(uint16_t before);
  void LogElements(size_t n) const;
  void Log(uint64_t offset, uint64_t bytes) const;

  RingShape shape_;
  RingPlace place_;
  uint64_t device_guest_ = 0;          // where the guest sees the used ring
  std::unique_ptr<SplitNotes> notes_;  // null: what is in flight is not noted
  GuestMemory::Hint hint_;
  uint16_t mask_ = 0;
  uint16_t taken_ = 0;
  uint16_t used_ = 0;
  uint16_t shown_ = 0;        // the used index as the driver sees it
  bool never_called_ = true;  // since the start: the driver's used_event is of before
  RingFault fault_ = RingFault::kNone;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_SPLIT_RING_INTERNAL_H_

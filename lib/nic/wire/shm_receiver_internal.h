// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_SHM_RECEIVER_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_SHM_RECEIVER_INTERNAL_H_

// The receiving end of a shared-memory wire: takes frames from the peer's lanes in turn, and copies each once into a
// packet of its own pool. One thread at a time.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/unique_fd_internal.h"
#include "nic/wire/shm_link_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class alignas(kShmApart) ShmReceiver {
 public:
  // `slot` and `pool` outlive this, and so does `doorbell`, a socket from which rings are read.
  ShmReceiver(const ShmLinkSlot& slot, int doorbell, PacketPool& pool);

  // As Wire. When the peer is gone, first gives what it had published, then turns to the next link.
  size_t Receive(Burst& burst);
  bool Arm();

  DropCounts drops() const { return drops_.Read(); }  // any thread

 private:
  struct Lane {
    const ShmOut* out;  // the peer's, likewise the next
    const ShmWord* places;
    const ShmWord* metas;
    const uint8_t* short_frames;
    uint64_t mask;          // of the ring
    ShmIn* in;              // own
    uint64_t produced = 0;  // as last read
    uint64_t consumed = 0;
    bool over = false;  // closed by its owner, or in breach

    uint64_t waiting() const { return produced - consumed; }
    // Each word is to be read once, for its owner may change it.
    uint64_t PlaceAt(uint64_t index) const { return places[index & mask].load(std::memory_order_relaxed); }
    uint64_t MetaAt(uint64_t index) const { return metas[index & mask].load(std::memory_order_relaxed); }
  };

  void Join();
  void Disarm();
  void ClearDoorbell() const;
  size_t ReceiveLast(Burst& burst);
  size_t Poll(Burst& burst);
  void ReceiveLane(Lane& lane, Burst& burst);
  void Settle(Lane& lane, Burst& burst, size_t before);
  void Look(Lane& lane);
  size_t CopyRun(Lane& lane, Burst& burst, size_t n);
  bool IsPlain(uint64_t place) const;
  bool IsWithin(uint64_t place) const;
  const uint8_t* Find(const Lane& lane, uint64_t index, uint64_t place) const;
  void CopyOdd(Lane& lane, Burst& burst);
  PacketPtr CopyChain(Lane& lane, uint64_t& index, uint64_t& meta);
  void Accuse(Lane& lane, ShmViolation violation);

  const ShmLinkSlot& slot_;
  const int doorbell_;
  PacketPool& pool_;
  const size_t capacity_;  // of one buffer, in whole copy blocks

  uint64_t seen_ = 0;  // generation of link_
  std::shared_ptr<ShmLink> link_;
  const uint8_t* packets_ = nullptr;  // the peer's region
  uint64_t packet_bytes_ = 0;
  uint64_t ring_ = 0;  // of the peer's lanes
  std::vector<Lane> lanes_;
  bool draining_ = false;  // the link is over: nothing new is looked at
  size_t next_ = 0;        // the lane that has the first turn

  uint64_t arms_ = 0;
  bool armed_ = false;

  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_SHM_RECEIVER_INTERNAL_H_

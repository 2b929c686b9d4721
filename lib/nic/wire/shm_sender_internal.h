// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_SHM_SENDER_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_SHM_SENDER_INTERNAL_H_

// One transmit lane of a shared-memory wire. Packets stay where they are, held here until the peer's consumer
// index has passed them, but for short ones, which are copied:
//
//         reclaimed_                                     produced_
//   ─ free ─┼─ consumed, to be freed ─┼─ the peer copies ─┼─ room ─
//
// One thread at a time.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "nic/wire/shm_link_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class alignas(kShmApart) ShmSender {
 public:
  // `slot` and `pool` outlive this.
  ShmSender(const ShmLinkSlot& slot, uint32_t lane, uint32_t ring, PacketPool& pool);
  ~ShmSender() { LetGo(DropReason::kStopped); }
  ShmSender(const ShmSender&) = delete;
  ShmSender& operator=(const ShmSender&) = delete;

  // As Wire. Nothing is taken while there is no link.
  size_t Transmit(Burst& burst);
  size_t Reclaim();

  // Takes all packets back and leaves the link; those that the peer had not consumed are counted under
  // `reason`. Returns how many came back.
  size_t LetGo(DropReason reason);

  DropCounts drops() const { return drops_.Read(); }  // any thread

 private:
  size_t Refresh();
  void Join();
  size_t ReclaimConsumed();
  size_t FreeThrough(uint64_t index);

  size_t used() const { return produced_ - reclaimed_; }
  bool SendsAsIs(const Packet& packet) const;
  uint64_t PlaceOf(const Packet& piece) const;
  void Put(Packet* holder, uint64_t place, uint64_t meta);
  void PutShort(const Packet& packet, uint64_t meta);
  void FetchAhead(size_t frames, size_t told, size_t short_frames) const;
  bool PutOdd(Packet* packet);
  void PutPieces(Packet* packet, size_t pieces);
  void Drop(Packet* packet, DropReason reason);
  void Publish();

  const ShmLinkSlot& slot_;
  const uint32_t lane_;
  const size_t ring_;
  PacketPool& pool_;
  const uint8_t* const base_;

  uint64_t seen_ = 0;  // generation of link_
  std::shared_ptr<ShmLink> link_;
  ShmOut* out_ = nullptr;
  ShmWord* places_ = nullptr;
  ShmWord* metas_ = nullptr;
  uint8_t* short_frames_ = nullptr;
  const ShmIn* in_ = nullptr;  // the peer's, likewise the next
  const ShmSleep* sleep_ = nullptr;

  uint64_t produced_ = 0;
  uint64_t reclaimed_ = 0;
  uint64_t rung_ = 0;  // the Arm() of the peer that was last answered
  // By slot: the packet to free when the slot is consumed. Null: goes with a later one. kCopied: is free already.
  std::vector<Packet*> held_;

  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_SHM_SENDER_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PACKET_DEPOT_INTERNAL_H_
#define SLUICE_PACKET_PACKET_DEPOT_INTERNAL_H_

// The free packets of a pool that no thread's cache holds: a lock-free stack of groups of up to 64. A group
// costs one compare-and-swap, and no memory but the second line of its own packets, which nobody needs while
// they are free:
//
//   head ──▶ packet 7 ─depot_next_─▶ packet 900 ─▶ ...       one link a group
//            companions_: 1..14 of the group
//              │ first companion: 15..28  │ second: 29..42 ...   the next 14 of each in turn, so that a pop
//                                                                misses the cache side by side, not in a row
//
// Threads: any. A tag beside the head's index counts changes, so that a head seen twice is the same stack
// (2^32 changes within one pop would be needed to fool it).

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sluice/base/counters.h"
#include "sluice/packet/packet.h"

namespace sluice {

class alignas(kCacheLine) PacketDepot {
 public:
  static constexpr size_t kGroup = 64;

  // `packets` is the pool's array; it outlives the depot.
  explicit PacketDepot(Packet* packets) : packets_(packets) {}

  // Takes `n` packets, 1 to kGroup.
  void Push(Packet* const* group, size_t n);

  // Fills `group`, which has room for kGroup, with the group pushed last; returns its size, 0 when empty.
  size_t Pop(Packet** group);

  // Exact when nobody pushes or pops; never less than what is there.
  size_t size() const { return size_.load(std::memory_order_acquire); }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};

  void Link(Packet* const* group, size_t n) const;
  void Unlink(Packet** group, size_t n) const;
  uint32_t IndexOf(const Packet* packet) const { return static_cast<uint32_t>(packet - packets_); }

  // Low half: index of the first group's first packet. High half: the tag.
  static uint64_t Head(uint32_t index, uint64_t old_head) { return ((old_head >> 32) + 1) << 32 | index; }

  Packet* const packets_;
  std::atomic<uint64_t> head_{kNone};
  std::atomic<size_t> size_{0};
};

}  // namespace sluice

#endif  // SLUICE_PACKET_PACKET_DEPOT_INTERNAL_H_

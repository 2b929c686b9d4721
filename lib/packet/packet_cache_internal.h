// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PACKET_CACHE_INTERNAL_H_
#define SLUICE_PACKET_PACKET_CACHE_INTERNAL_H_

// The free packets that one thread keeps for itself: a stack, so that what was freed last, and is still in
// the processor's cache, is got first.
//
// Threads: its owner; anybody may read size().

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>

#include "absl/types/span.h"
#include "packet/packet_depot_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class alignas(kCacheLine) PacketCache {
 public:
  // Grants room for `n` (<= kGroup), by giving groups to the depot when it would be full, and returns where
  // they go.
  Packet** Extend(size_t n, PacketDepot& depot) {
    size_t held = size();
    if (held + n > PacketPool::kThreadCache) [[unlikely]]
      held = Spill(n, depot);
    Store(held + n);
    return &packets_[held];
  }

  // Takes out `n` (<= kGroup), or what there is with the depot's help, and returns how many and where they
  // are: good until the next call.
  absl::Span<Packet* const> Take(size_t n, PacketDepot& depot) {
    size_t held = size();
    if (held < n) [[unlikely]] {
      held = Refill(n, depot);
      n = std::min(n, held);
    }
    Store(held - n);
    return {&packets_[held - n], n};
  }

  // Gives all to the depot.
  void Empty(PacketDepot& depot) {
    while (size() > 0) SpillGroup(depot);
  }

  size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  void Store(size_t size) { size_.store(size, std::memory_order_relaxed); }
  size_t Spill(size_t n, PacketDepot& depot);
  void SpillGroup(PacketDepot& depot);
  size_t Refill(size_t n, PacketDepot& depot);

  std::atomic<size_t> size_{0};  // written by the owner; atomic for those who only read it
  alignas(kCacheLine) std::array<Packet*, PacketPool::kThreadCache> packets_;
};

}  // namespace sluice

#endif  // SLUICE_PACKET_PACKET_CACHE_INTERNAL_H_

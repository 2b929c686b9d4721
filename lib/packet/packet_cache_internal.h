// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PACKET_CACHE_INTERNAL_H_
#define SLUICE_PACKET_PACKET_CACHE_INTERNAL_H_

// The free packets that one thread keeps for itself: a stack, so that what was freed last, and is still in
// the processor's cache, is got first.
//
// Threads: its owner; anybody may read size().

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "absl/types/span.h"
#include "packet/packet_depot_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class alignas(kCacheLine) PacketCache {
 public:
  size_t size() const { return size_.load(std::memory_order_relaxed); }
  bool HasRoom(size_t n) const { return size() + n <= PacketPool::kThreadCache; }

  // Opens `n` places on top for the caller to fill, or says with null that there is no room. Whoever finds that it
  // does not want them forgets them by Take.
  Packet** Open(size_t n) {
    const size_t held = size();
    if (held + n > PacketPool::kThreadCache) [[unlikely]]
      return nullptr;
    Resize(held + n);
    return &packets_[held];
  }

  // The free places on top, to be filled from the front, and Keep for as many as were filled: for whoever learns on
  // the way how many come.
  absl::Span<Packet*> places() { return {&packets_[size()], PacketPool::kThreadCache - size()}; }
  void Keep(size_t n) { Resize(size() + n); }

  // Takes out `n` and says where they are, good until the next call; null if there are fewer.
  Packet* const* Take(size_t n) {
    const size_t held = size();
    if (held < n) [[unlikely]]
      return nullptr;
    Resize(held - n);
    return &packets_[held - n];
  }

  // Gives groups to the depot until there is room for `n` <= kGroup.
  void Spill(size_t n, PacketDepot& depot);

  // Gets groups from the depot until there are `n` <= kGroup; false when the depot is dry before that.
  bool Refill(size_t n, PacketDepot& depot);

  // Gives all to the depot.
  void Empty(PacketDepot& depot);

 private:
  void Resize(size_t size) { size_.store(size, std::memory_order_relaxed); }

  std::atomic<size_t> size_{0};  // atomic for those who only read it
  alignas(kCacheLine) std::array<Packet*, PacketPool::kThreadCache> packets_;
};

// Between a cache and a burst, two at a time: a call of memcpy, with its wider loads, would have to wait
// until the last stores to the same place have left the store buffer.
inline void CopyPair(Packet* const* from, Packet** to) { std::memcpy(to, from, 2 * sizeof(Packet*)); }

inline void CopyPointers(Packet* const* from, size_t n, Packet** to) {
  size_t i = 0;
#pragma GCC unroll 4
  for (; i + 2 <= n; i += 2) CopyPair(from + i, to + i);
  if (i < n) to[i] = from[i];
}

}  // namespace sluice

#endif  // SLUICE_PACKET_PACKET_CACHE_INTERNAL_H_

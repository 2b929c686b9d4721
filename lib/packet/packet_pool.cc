// SPDX-License-Identifier: Apache-2.0
// What happens to packets: got, put, counted. See packet_pool_create.cc for how a pool begins and ends.
#include "sluice/packet/packet_pool.h"

#include <algorithm>
#include <array>

#include "packet/freed_packet_internal.h"
#include "packet/packet_stock_internal.h"
#include "sluice/packet/budget.h"

namespace sluice {

// Where `n` free packets are that the caller may take out of this thread's cache, or null: then TakeSlowly.
inline Packet* const* PacketPool::FindCached(size_t n) {
  const uint32_t slot = thread_slot;
  return slot < kThreadSlots ? stock_->caches[slot].Take(n) : nullptr;
}

// Where the caller may put `n` into it, or null: then a slow way.
inline Packet** PacketPool::OpenCached(size_t n) {
  const uint32_t slot = thread_slot;
  return slot < kThreadSlots ? stock_->caches[slot].Open(n) : nullptr;
}

// Puts up to a group of packets that are all of this pool and plain, where the thread's cache has room: nearly
// always. Calls nothing, so that it costs no saved registers; false leaves all to PutSlowly.
inline bool PacketPool::PutPlain(Packet* const* packets, size_t n) {
  Packet** const to = OpenCached(n);
  if (to == nullptr) [[unlikely]]
    return false;

  const uintptr_t plain = reinterpret_cast<uintptr_t>(this);
  uintptr_t difference = 0;
  size_t i = 0;
#pragma GCC unroll 4
  for (; i + 2 <= n; i += 2) {
    CopyPair(packets + i, to + i);
    difference |= (packets[i]->home_ ^ plain) | (packets[i + 1]->home_ ^ plain);
  }
  if (i < n) {
    to[i] = packets[i];
    difference |= packets[i]->home_ ^ plain;
  }
  if (difference != 0) [[unlikely]] {
    FindCached(n);  // and leave them: the places were filled in vain
    return false;
  }
  if constexpr (kCheckFrees) Bury(packets, n);
  return true;
}

// A burst that starts with an encumbered packet mostly goes on so.
void PacketPool::Put(Packet* const* packets, size_t n) {
  if (n == 0) return;
  if (packets[0]->encumbered()) [[unlikely]]
    return PutEncumbered(packets, n);
  if (n > PacketDepot::kGroup || !packets[0]->pool()->PutPlain(packets, n)) [[unlikely]]
    PutSlowly(packets, n);
}

void PacketPool::PutSlowly(Packet* const* packets, size_t n) {
  while (n > 0) {
    const size_t some = std::min(n, PacketDepot::kGroup);
    PacketPool& pool = *packets[0]->pool();
    if (const uint32_t slot = ThreadSlot(); slot < kThreadSlots) {
      pool.stock_->caches[slot].Spill(some, pool.stock_->depot);
    }
    if (!pool.PutPlain(packets, some)) PutEncumbered(packets, some);
    packets += some;
    n -= some;
  }
}

void ReturnToPool::operator()(Packet* packet) const { PacketPool::Put(&packet, 1); }

void Burst::ReturnAll() { PacketPool::Put(begin(), size()); }

// Only pointers move: no packet is touched.
size_t PacketPool::GetRaw(Packet** to, size_t n) {
  Packet* const* const from = FindCached(n);
  if (from == nullptr) [[unlikely]]
    return TakeSlowly(to, n);
  CopyPointers(from, n, to);
  if constexpr (kCheckFrees) Exhume(to, n);
  return n;
}

void PacketPool::PutRaw(Packet* const* packets, size_t n) {
  if constexpr (kCheckFrees) Bury(packets, n);
  Packet** const to = OpenCached(n);
  if (to == nullptr) [[unlikely]]
    return PutRawSlowly(packets, n);
  CopyPointers(packets, n, to);
}

// What the cache has no room for goes to the depot, or all when the thread has no cache.
void PacketPool::PutRawSlowly(Packet* const* packets, size_t n) {
  if (n == 0) return;
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) return stock_->depot.Push(packets, n);
  PacketCache& cache = stock_->caches[slot];
  cache.Spill(n, stock_->depot);
  CopyPointers(packets, n, cache.Open(n));
}

size_t PacketPool::Get(Burst& burst, size_t n) {
  Packet** const to = burst.Extend(n);
  Packet* const* const from = FindCached(n);
  if (from == nullptr) [[unlikely]] {
    const size_t taken = TakeSlowly(to, n);
    burst.DropBack(n - taken);
    CopyFresh(to, taken, to);
    return taken;
  }
  if constexpr (kCheckFrees) Exhume(from, n);  // before anything is written to them
  CopyFresh(from, n, to);
  return n;
}

// From `from` to `to`, which may be the same, and each made fresh: by its address alone, so that no packet is read.
inline void PacketPool::CopyFresh(Packet* const* from, size_t n, Packet** to) const {
  using Pair = uint64_t __attribute__((vector_size(2 * sizeof(Packet*))));
  const auto [shift, start] = fresh_;  // or they would be read again after every store
  size_t i = 0;
#pragma GCC unroll 2
  for (; i + 2 <= n; i += 2) {
    Pair packets;
    std::memcpy(&packets, from + i, sizeof(packets));
    std::memcpy(to + i, &packets, sizeof(packets));
    const Pair data = (packets << shift) + start;
    from[i]->WriteHalf(Packet::Half{data[0]});
    from[i + 1]->WriteHalf(Packet::Half{data[1]});
  }
  if (i < n) {
    to[i] = from[i];
    to[i]->Restart(options_.headroom, 0);
  }
}

size_t PacketPool::Get(Burst& burst, size_t n, OwnerId owner) {
  BudgetBook* const budget = options_.budget;
  if (budget == nullptr || owner == kNobody) return Get(burst, n);
  const size_t granted = budget->Charge(owner, options_.buffer_size, n);
  const size_t taken = GetGranted(burst, granted, owner);
  if (taken < granted) budget->Release(owner, options_.buffer_size, granted - taken);
  return taken;
}

size_t PacketPool::GetGranted(Burst& burst, size_t n, OwnerId owner) {
  const size_t taken = Get(burst, n);
  if (options_.budget == nullptr) return taken;
  Packet* const* const fresh = burst.end() - taken;
  for (size_t i = 0; i < taken; ++i) {
    fresh[i]->details_.owner = owner;
    fresh[i]->home_ |= Packet::kCharged;
  }
  return taken;
}

PacketPtr PacketPool::GetOne() {
  Packet* packet = nullptr;
  if (GetRaw(&packet, 1) == 1) packet->Restart(options_.headroom, 0);
  return PacketPtr(packet);
}

// From the depot into the cache first, and when that is dry too, from the caches of threads that ended.
size_t PacketPool::TakeSlowly(Packet** to, size_t n) {
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) return TakeUncached(to, n);
  PacketCache& cache = stock_->caches[slot];
  while (!cache.Refill(n, stock_->depot) && CollectIdleCaches()) {
  }
  return GetRaw(to, std::min(n, cache.size()));
}

// For threads without a slot: the depot gives whole groups, so what is too much goes back.
size_t PacketPool::TakeUncached(Packet** to, size_t n) {
  std::array<Packet*, 2 * PacketDepot::kGroup> found;
  size_t have = 0;
  while (have < n) {
    const size_t more = stock_->depot.Pop(&found[have]);
    if (more == 0 && !CollectIdleCaches()) break;
    have += more;
  }
  const size_t taken = std::min(n, have);
  if (have > taken) stock_->depot.Push(&found[taken], have - taken);
  std::copy_n(found.data(), taken, to);
  if constexpr (kCheckFrees) Exhume(to, taken);
  return taken;
}

// The depot is dry. What ended threads left in their caches is as free as the rest: true when there was
// some.
bool PacketPool::CollectIdleCaches() {
  bool found = false;
  for (uint32_t slot = 0; slot < kThreadSlots; ++slot) {
    PacketCache& cache = stock_->caches[slot];
    if (cache.size() == 0 || !ClaimThreadSlot(slot)) continue;
    found |= cache.size() > 0;
    cache.Empty(stock_->depot);
    ReleaseThreadSlot(slot);
  }
  return found;
}

void PacketPool::Bury(Packet* const* packets, size_t n) {
  for (size_t i = 0; i < n; ++i) FreedPacket::Bury(*packets[i]);
}

void PacketPool::Exhume(Packet* const* packets, size_t n) {
  for (size_t i = 0; i < n; ++i) FreedPacket::Exhume(*packets[i]);
}

uint32_t PacketPool::IndexOf(const Packet& packet) const { return static_cast<uint32_t>(&packet - packets_); }

Packet& PacketPool::At(uint32_t index) { return packets_[index]; }

size_t PacketPool::available() const {
  size_t free = stock_->depot.size();
  for (const PacketCache& cache : stock_->caches) free += cache.size();
  return free;
}

}  // namespace sluice

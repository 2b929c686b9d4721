// SPDX-License-Identifier: Apache-2.0
// What happens to packets: got, put, counted. See packet_pool_create.cc for how a pool begins and ends.
#include "sluice/packet/packet_pool.h"

#include <algorithm>
#include <array>

#include "packet/freed_packet_internal.h"
#include "packet/packet_stock_internal.h"
#include "sluice/packet/budget.h"

namespace sluice {

// Puts packets that are all of this pool and plain, or says that they are not. The line is in the cache once
// home_ is read, so it is wiped at once: also of a packet that turns out not to be plain, for its frame ends
// here as well.
inline bool PacketPool::PutPlain(Packet* const* packets, size_t n) {
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) [[unlikely]]
    return false;
  PacketCache& cache = stock_->caches[slot];
  if (!cache.HasRoom(n)) [[unlikely]]
    cache.Spill(n, stock_->depot);

  const Refresher refresh(*this);
  const uintptr_t plain = reinterpret_cast<uintptr_t>(this);
  Packet** const to = cache.Top();
  uintptr_t difference = 0;
  size_t i = 0;
  // In pairs, which is a tenth faster than one by one.
  for (; i + 2 <= n; i += 2) {
    Packet* const one = packets[i];
    Packet* const two = packets[i + 1];
    CopyPair(packets + i, to + i);
    difference |= (one->home_ ^ plain) | (two->home_ ^ plain);
    refresh(*one);
    refresh(*two);
  }
  if (i < n) {
    to[i] = packets[i];
    difference |= packets[i]->home_ ^ plain;
    refresh(*packets[i]);
  }
  if (difference != 0) [[unlikely]]
    return false;
  if constexpr (kCheckFrees) Bury(packets, n);
  cache.Grow(n);
  return true;
}

void PacketPool::Put(Packet* const* packets, size_t n) {
  while (n > 0) {
    const size_t some = std::min(n, PacketDepot::kGroup);
    if (!packets[0]->pool()->PutPlain(packets, some)) [[unlikely]]
      PutEncumbered(packets, some);
    packets += some;
    n -= some;
  }
}

void ReturnToPool::operator()(Packet* packet) const { PacketPool::Put(&packet, 1); }

void Burst::ReturnAll() { PacketPool::Put(begin(), size()); }

// A free packet is a fresh one, so only pointers move here: nothing of the packets is touched.
inline bool PacketPool::TakeCached(Packet** to, size_t n) {
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) [[unlikely]]
    return false;
  Packet* const* const from = stock_->caches[slot].Take(n);
  if (from == nullptr) [[unlikely]]
    return false;
  CopyPointers(from, n, to);
  if constexpr (kCheckFrees) Unbury(to, n);
  return true;
}

size_t PacketPool::Get(Burst& burst, size_t n) {
  Packet** const to = burst.Extend(n);
  if (TakeCached(to, n)) [[likely]]
    return n;
  const size_t taken = TakeSlowly(to, n);
  burst.DropBack(n - taken);
  return taken;
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
  if (!TakeCached(&packet, 1)) [[unlikely]]
    TakeSlowly(&packet, 1);
  return PacketPtr(packet);
}

// From the depot into the cache first, and when that is dry too, from the caches of threads that ended.
size_t PacketPool::TakeSlowly(Packet** to, size_t n) {
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) return TakeUncached(to, n);
  PacketCache& cache = stock_->caches[slot];
  while (!cache.Refill(n, stock_->depot) && CollectIdleCaches()) {
  }
  const size_t taken = std::min(n, cache.size());
  TakeCached(to, taken);
  return taken;
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
  if constexpr (kCheckFrees) Unbury(to, taken);
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

// Charges of one owner in one pool, taken back together: neighbours in a burst mostly share both.
class PacketPool::ChargeRun {
 public:
  ~ChargeRun() { Release(); }
  void Add(const Packet& packet) {
    if (packet.pool() != pool_ || packet.owner() != owner_) {
      Release();
      pool_ = packet.pool();
      owner_ = packet.owner();
    }
    ++buffers_;
  }

 private:
  void Release() {
    if (buffers_ > 0) pool_->options_.budget->Release(owner_, pool_->options_.buffer_size, buffers_);
    buffers_ = 0;
  }

  const PacketPool* pool_ = nullptr;
  OwnerId owner_;
  size_t buffers_ = 0;
};

// Settles what a packet must not take home. A charge ends after the buffer is home, so that whoever waited for
// the one finds the other.
void PacketPool::PutEncumbered(Packet* const* packets, size_t n) {
  ChargeRun charges;
  for (size_t i = 0; i < n; ++i) {
    for (Packet* piece = packets[i]; piece != nullptr;) {
      Packet* const next = piece->next_;
      if (piece->owner() != kNobody) charges.Add(*piece);
      if (piece->borrows()) piece->EndLoan();
      piece->next_ = nullptr;
      piece->home_ &= ~(Packet::kFragments | Packet::kCharged);
      piece->pool()->PutOne(piece);
      piece = next;
    }
  }
}

void PacketPool::PutOne(Packet* packet) {
  Refresher (*this)(*packet);
  if constexpr (kCheckFrees) Bury(&packet, 1);
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) [[unlikely]]
    return stock_->depot.Push(&packet, 1);
  PacketCache& cache = stock_->caches[slot];
  if (!cache.HasRoom(1)) [[unlikely]]
    cache.Spill(1, stock_->depot);
  *cache.Top() = packet;
  cache.Grow(1);
}

void PacketPool::Bury(Packet* const* packets, size_t n) {
  for (size_t i = 0; i < n; ++i) FreedPacket::Bury(*packets[i]);
}

void PacketPool::Unbury(Packet* const* packets, size_t n) const {
  const Refresher refresh(*this);
  for (size_t i = 0; i < n; ++i) {
    FreedPacket::Exhume(*packets[i]);
    refresh(*packets[i]);
  }
}

uint32_t PacketPool::IndexOf(const Packet& packet) const { return static_cast<uint32_t>(&packet - packets_); }

Packet& PacketPool::At(uint32_t index) { return packets_[index]; }

size_t PacketPool::available() const {
  size_t free = stock_->depot.size();
  for (const PacketCache& cache : stock_->caches) free += cache.size();
  return free;
}

}  // namespace sluice

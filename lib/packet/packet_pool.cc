// SPDX-License-Identifier: Apache-2.0
// What happens to packets: got, put, counted. See packet_pool_create.cc for how a pool begins and ends.
#include "sluice/packet/packet_pool.h"

#include <algorithm>
#include <array>
#include <utility>

#include "packet/freed_packet_internal.h"
#include "packet/packet_stock_internal.h"
#include "sluice/packet/budget.h"
#include "sluice/packet/shared_packet.h"

namespace sluice {

// Puts up to a group of packets that are all of this pool and plain, where the thread's cache has room: nearly
// always. Calls nothing, so that it costs no saved registers; false leaves all to PutSlowly.
inline bool PacketPool::PutPlain(Packet* const* packets, size_t n) {
  const uint32_t slot = thread_slot;
  if (slot >= kThreadSlots) [[unlikely]]
    return false;
  PacketCache& cache = stock_->caches[slot];
  Packet** const to = cache.Open(n);
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
    cache.Take(n);
    return false;
  }
  if constexpr (kCheckFrees) Bury(packets, n);
  return true;
}

void PacketPool::Put(Packet* const* packets, size_t n) {
  if (n == 0) return;
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

// Where `n` free packets are that the caller may take out of this thread's cache, or null: then TakeSlowly.
inline Packet* const* PacketPool::FindCached(size_t n) {
  const uint32_t slot = thread_slot;
  return slot < kThreadSlots ? stock_->caches[slot].Take(n) : nullptr;
}

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
  const uint32_t slot = thread_slot;
  Packet** const to = slot < kThreadSlots ? stock_->caches[slot].Open(n) : nullptr;
  if (to == nullptr) [[unlikely]]
    return Put(packets, n);
  CopyPointers(packets, n, to);
  if constexpr (kCheckFrees) Bury(packets, n);
}

size_t PacketPool::Get(Burst& burst, size_t n) {
  Packet** const to = burst.Extend(n);
  const size_t taken = GetRaw(to, n);
  const size_t headroom = options_.headroom;
  for (size_t i = 0; i < taken; ++i) to[i]->Restart(headroom, 0);
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

// Pieces on their way home together: neighbours mostly share the pool, who pays, and who lends their bytes. They
// are put where the thread's cache will have them, and belong to it once all are there. A charge ends after the
// buffer is home, so that whoever waited for the one finds the other.
class PacketPool::Homecoming {
 public:
  ~Homecoming() {
    SendHome();
    EndShares();
  }

  // Settles what the piece must not take home.
  void Add(Packet& piece) {
    if (piece.borrows()) EndLoan(piece);
    if (piece.pool() != pool_ || piece.owner() != owner_ || size_ == pieces_.size()) Turn(piece);
    piece.next_ = nullptr;
    piece.home_ &= ~(Packet::kFragments | Packet::kCharged);
    pieces_[size_++] = &piece;
  }

 private:
  void Turn(const Packet& piece) {
    SendHome();
    pool_ = piece.pool();
    owner_ = piece.owner();
  }

  // Others may free packets in turn before the next piece comes.
  void SendHome() {
    if (size_ == 0) return;
    const size_t pieces = std::exchange(size_, 0);
    pool_->PutHome(pieces_.data(), pieces);
    if (owner_ != kNobody) pool_->options_.budget->Release(owner_, pool_->options_.buffer_size, pieces);
  }

  // Who is told may free packets in turn.
  void EndLoan(Packet& piece) {
    Packet* const lending = piece.lending_packet();
    if (lending == nullptr) {
      SendHome();
      return piece.EndLoan();
    }
    if (lending != lending_) EndShares();
    piece.home_ &= ~Packet::kBorrows;
    lending_ = lending;
    ++shares_;
  }

  void EndShares() {
    if (shares_ == 0) return;
    SendHome();
    SharedPacket::Return(lending_, std::exchange(shares_, 0));
  }

  PacketPool* pool_ = nullptr;
  Packet* lending_ = nullptr;
  OwnerId owner_;
  uint32_t shares_ = 0;
  size_t size_ = 0;
  std::array<Packet*, PacketDepot::kGroup> pieces_;
};

void PacketPool::PutEncumbered(Packet* const* packets, size_t n) {
  Homecoming homecoming;
  for (size_t i = 0; i < n; ++i) {
    for (Packet* piece = packets[i]; piece != nullptr;) {
      Packet* const next = piece->next_;
      homecoming.Add(*piece);
      piece = next;
    }
  }
}

// Up to a group of plain packets of this pool.
void PacketPool::PutHome(Packet* const* packets, size_t n) {
  if constexpr (kCheckFrees) Bury(packets, n);
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) [[unlikely]]
    return stock_->depot.Push(packets, n);
  PacketCache& cache = stock_->caches[slot];
  cache.Spill(n, stock_->depot);
  CopyPointers(packets, n, cache.Open(n));
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

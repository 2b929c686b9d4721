// SPDX-License-Identifier: Apache-2.0
// What happens to packets: got, put, counted. See packet_pool_create.cc for how a pool begins and ends.
#include "sluice/packet/packet_pool.h"

#include <algorithm>
#include <array>

#include "packet/freed_packet_internal.h"
#include "packet/packet_stock_internal.h"

namespace sluice {

void ReturnToPool::operator()(Packet* packet) const { PacketPool::Put(&packet, 1); }

void Burst::ReturnAll() { PacketPool::Put(begin(), size()); }

size_t PacketPool::Get(Burst& burst, size_t n) {
  const size_t taken = Take(burst.Extend(n), n);
  burst.DropBack(n - taken);
  return taken;
}

PacketPtr PacketPool::GetOne() {
  Packet* packet = nullptr;
  Take(&packet, 1);
  return PacketPtr(packet);
}

size_t PacketPool::Take(Packet** to, size_t n) {
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) [[unlikely]]
    return TakeUncached(to, n);
  const absl::Span<Packet* const> taken = stock_->caches[slot].Take(n, stock_->depot);
  for (size_t i = 0; i < taken.size(); ++i) {
    Refresh(*taken[i]);
    to[i] = taken[i];
  }
  if (taken.size() < n && CollectIdleCaches()) [[unlikely]] {
    return taken.size() + Take(to + taken.size(), n - taken.size());
  }
  return taken.size();
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
  for (size_t i = 0; i < taken; ++i) {
    Refresh(*found[i]);
    to[i] = found[i];
  }
  return taken;
}

// The depot is dry. What ended threads left in their caches is as free as the rest: true when there was some.
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

void PacketPool::Refresh(Packet& packet) const {
  if constexpr (kCheckFrees) FreedPacket::Exhume(packet);
  packet.data_ = packet.buffer_ + options_.headroom;
  packet.next_ = nullptr;
  packet.length_ = 0;
  packet.head_length_ = 0;
  packet.ingress_port = {};
  packet.ingress_queue = {};
  packet.vlan_tci = 0;
  packet.vlan_stripped = false;
  packet.l3_checksum = ChecksumVerdict::kUnknown;
  packet.l4_checksum = ChecksumVerdict::kUnknown;
  packet.rss_type = RssType::kNone;
  packet.rss_hash = 0;
  packet.offload = {};
  packet.state_ = 0;
}

void PacketPool::Put(Packet* const* packets, size_t n) {
  while (n > 0) {
    const size_t some = std::min(n, PacketDepot::kGroup);
    PacketPool* const pool = packets[0]->pool_;
    // One test for all: bursts that mix pools, or bring loans, charges or fragments, are the rarer kind.
    bool plain = true;
    for (size_t i = 0; i < some; ++i) {
      plain &= packets[i]->pool_ == pool && (packets[i]->state_ & Packet::kEncumbered) == 0;
    }
    if (plain) [[likely]] {
      pool->Store(packets, some);
    } else {
      PutEncumbered(packets, some);
    }
    packets += some;
    n -= some;
  }
}

void PacketPool::PutEncumbered(Packet* const* packets, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    for (Packet* piece = packets[i]; piece != nullptr;) {
      Packet* const next = piece->next_;
      if (piece->borrows()) piece->EndLoan();
      piece->pool_->Store(&piece, 1);
      piece = next;
    }
  }
}

void PacketPool::Store(Packet* const* packets, size_t n) {
  if constexpr (kCheckFrees) {
    for (size_t i = 0; i < n; ++i) FreedPacket::Bury(*packets[i]);
  }
  const uint32_t slot = ThreadSlot();
  if (slot >= kThreadSlots) [[unlikely]]
    return stock_->depot.Push(packets, n);
  std::copy_n(packets, n, stock_->caches[slot].Extend(n, stock_->depot));
}

uint32_t PacketPool::IndexOf(const Packet& packet) const { return static_cast<uint32_t>(&packet - packets_); }

Packet& PacketPool::At(uint32_t index) { return packets_[index]; }

size_t PacketPool::available() const {
  size_t free = stock_->depot.size();
  for (const PacketCache& cache : stock_->caches) free += cache.size();
  return free;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include "packet/packet_depot_internal.h"

namespace sluice {

void PacketDepot::Push(Packet* const* group, size_t n) {
  Link(group, n);
  // Counted before it can be popped, so that the sum never goes below zero.
  size_.fetch_add(n, std::memory_order_relaxed);
  Packet* const first = group[0];
  uint64_t head = head_.load(std::memory_order_relaxed);
  do {
    first->depot_next_.store(static_cast<uint32_t>(head), std::memory_order_relaxed);
    // Release: who pops the group sees its links. Later pushes and pops are read-modify-writes of the same
    // word and so carry this release on to whoever pops after them.
  } while (!head_.compare_exchange_weak(head, Head(IndexOf(first), head), std::memory_order_release,
                                        std::memory_order_relaxed));
}

size_t PacketDepot::Pop(Packet** group) {
  uint64_t head = head_.load(std::memory_order_acquire);
  uint32_t next = 0;
  do {
    if (static_cast<uint32_t>(head) == kNone) return 0;
    // Another thread may have popped this group by now and be using the packet. The link is then stale, but
    // atomic and used by nobody, for the tag makes the exchange fail.
    next = packets_[static_cast<uint32_t>(head)].depot_next_.load(std::memory_order_relaxed);
  } while (!head_.compare_exchange_weak(head, Head(next, head), std::memory_order_acquire,
                                        std::memory_order_acquire));
  group[0] = &packets_[static_cast<uint32_t>(head)];
  const size_t n = group[0]->group_size_;
  Unlink(group, n);
  size_.fetch_sub(n, std::memory_order_relaxed);
  return n;
}

void PacketDepot::Link(Packet* const* group, size_t n) const {
  constexpr size_t kFan = Packet::kCompanions;
  group[0]->group_size_ = static_cast<uint8_t>(n);
  for (size_t i = 1; i < n; ++i) {
    group[(i - 1) / kFan]->companions_[(i - 1) % kFan] = IndexOf(group[i]);
  }
}

void PacketDepot::Unlink(Packet** group, size_t n) const {
  constexpr size_t kFan = Packet::kCompanions;
  for (size_t i = 1; i < n; ++i) {
    group[i] = &packets_[group[(i - 1) / kFan]->companions_[(i - 1) % kFan]];
  }
}

}  // namespace sluice

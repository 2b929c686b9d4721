// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "host/held_loans_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

void HeldLoans::LookAtTime(Burst& held, const Clock& clock, DropCounters& drops) {
  const Nanoseconds now = clock.Now();
  since_ = std::min(since_, now);
  overdue_ = absl::Nanoseconds(now - since_) >= kPatience;
  if (!overdue_) return;
  Packet** const packets = held.Extend(0) - held.size();
  const size_t offered = held.size();
  size_t kept = 0;
  for (size_t i = 0; i < offered; ++i) {
    PacketPtr packet(packets[i]);
    if (End(*packet)) {
      packets[kept++] = packet.release();
    } else {
      drops.Add(DropReason::kNoBuffer);
    }
  }
  held.DropBack(offered - kept);
}

bool HeldLoans::End(Packet& packet) {
  bool lent = false, is_long = false;
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    lent |= piece->borrows();
    is_long |= piece->borrows() && piece->head_length() > piece->buffer_size();
  }
  if (!lent) return true;
  const PacketPool& pool = *packet.pool();
  if (is_long && pool.available() < pool.options().packets / 2) return false;
  return packet.Own();
}

}  // namespace sluice

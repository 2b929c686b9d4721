// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/budget.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

bool PacketPool::ChargeBuffer(const Packet& piece, OwnerId owner) {
  BudgetBook* const budget = piece.pool()->options_.budget;
  if (budget == nullptr || owner == kNobody || piece.owner() == owner) return true;
  return budget->Charge(owner, piece.pool()->options_.buffer_size) == 1;
}

void PacketPool::ReleaseBuffer(const Packet& piece, OwnerId owner) {
  BudgetBook* const budget = piece.pool()->options_.budget;
  if (budget != nullptr && owner != kNobody) budget->Release(owner, piece.pool()->options_.buffer_size);
}

// First all of the new charges, so that a refusal finds the old ones as they were.
bool PacketPool::Recharge(Packet& packet, OwnerId owner) {
  for (Packet* piece = &packet; piece != nullptr; piece = piece->next_) {
    if (ChargeBuffer(*piece, owner)) continue;
    for (Packet* done = &packet; done != piece; done = done->next_) {
      if (done->owner() != owner) ReleaseBuffer(*done, owner);
    }
    return false;
  }
  for (Packet* piece = &packet; piece != nullptr; piece = piece->next_) {
    if (piece->owner() == owner || piece->pool()->options_.budget == nullptr) continue;
    ReleaseBuffer(*piece, piece->owner());
    piece->details_.owner = owner;
    piece->home_ |= Packet::kCharged;
    if (owner == kNobody) piece->home_ &= ~Packet::kCharged;
  }
  return true;
}

}  // namespace sluice

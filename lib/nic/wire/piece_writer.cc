// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <utility>

#include "nic/wire/piece_writer_internal.h"

namespace sluice {

size_t PieceWriter::PiecesFor(const PacketPool& pool, size_t bytes) {
  const size_t capacity = pool.options().buffer_size - pool.options().headroom;
  return std::max<size_t>(1, (bytes + capacity - 1) / capacity);
}

bool PieceWriter::Write(const uint8_t* bytes, size_t count) {
  while (count != 0) {
    if (piece_ == nullptr) piece_ = Fresh();
    if (piece_ == nullptr) return false;
    const size_t used = piece_->length();
    const size_t n = std::min(count, piece_->tailroom());
    std::memcpy(piece_->data() + used, bytes, n);
    piece_->SetLength(static_cast<uint32_t>(used + n));
    if (piece_->tailroom() == 0) HangOn();
    bytes += n;
    count -= n;
  }
  return true;
}

PacketPtr PieceWriter::Finish() {
  if (piece_ != nullptr) HangOn();
  return std::move(head_);
}

PacketPtr PieceWriter::Fresh() const {
  if (owner_ == kNobody) return pool_.GetOne();
  Burst one;
  return pool_.Get(one, 1, owner_) == 1 ? one.PopFront() : nullptr;
}

void PieceWriter::HangOn() {
  if (head_ == nullptr) {
    head_ = std::move(piece_);
  } else {
    head_->Append(std::move(piece_));
  }
}

PacketPtr CopyPacket(const Packet& packet, PacketPool& pool) {
  PieceWriter writer(pool);
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    if (!writer.Write(piece->data(), piece->head_length())) return nullptr;
  }
  PacketPtr copy = writer.Finish();
  if (copy == nullptr) return nullptr;
  copy->vlan_tci = packet.vlan_tci;
  copy->vlan_stripped = packet.vlan_stripped;
  copy->l3_checksum = packet.l3_checksum;
  copy->l4_checksum = packet.l4_checksum;
  copy->offload = packet.offload;
  return copy;
}

}  // namespace sluice

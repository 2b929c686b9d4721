// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "host/copy_packet_internal.h"

namespace sluice {
namespace {

void CopyMetadata(const Packet& from, Packet& to) {
  to.ingress_port = from.ingress_port;
  to.ingress_queue = from.ingress_queue;
  to.vlan_tci = from.vlan_tci;
  to.vlan_stripped = from.vlan_stripped;
  to.l3_checksum = from.l3_checksum;
  to.l4_checksum = from.l4_checksum;
  to.rss_type = from.rss_type;
  to.rss_hash = from.rss_hash;
  to.offload = from.offload;
  if (from.timestamp() != 0) to.set_timestamp(from.timestamp());
  if (from.mark() != 0) to.set_mark(from.mark());
  if (from.coalesced_segments() != 0) {
    to.set_coalesced(from.coalesced_segments(), from.coalesced_size(), from.coalesced_ids());
  }
}

// One buffer's worth of the frame from `offset`; null when the pool is dry.
PacketPtr CopyPiece(PacketPool& pool, const Packet& packet, uint32_t offset) {
  PacketPtr piece = pool.GetOne();
  if (piece == nullptr) return nullptr;
  const auto room = static_cast<uint32_t>(piece->tailroom());
  const uint32_t bytes = std::min(room, packet.length() - offset);
  if (!packet.CopyOut(offset, bytes, piece->data())) return nullptr;
  piece->SetLength(bytes);
  return piece;
}

}  // namespace

PacketPtr CopyPacket(PacketPool& pool, const Packet& packet) {
  PacketPtr copy = CopyPiece(pool, packet, 0);
  if (copy == nullptr) return nullptr;
  CopyMetadata(packet, *copy);
  while (copy->length() < packet.length()) {
    PacketPtr piece = CopyPiece(pool, packet, copy->length());
    if (piece == nullptr) return nullptr;
    copy->Append(std::move(piece));
  }
  return copy;
}

}  // namespace sluice

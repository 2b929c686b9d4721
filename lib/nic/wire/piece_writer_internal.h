// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_PIECE_WRITER_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_PIECE_WRITER_INTERNAL_H_

// Makes one packet, with fragments as needed, out of bytes that come bit by bit. For frames that are longer
// than a buffer or lie in several places.

#include <cstddef>
#include <cstdint>

#include "sluice/packet/packet.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class PieceWriter {
 public:
  // `owner` is charged for what it takes.
  explicit PieceWriter(PacketPool& pool, OwnerId owner = kNobody) : pool_(pool), owner_(owner) {}

  // How many packets a frame of `bytes` takes.
  static size_t PiecesFor(const PacketPool& pool, size_t bytes);

  // False when the pool is dry or the owner's allowance used up: what was written so far goes back with the writer.
  [[nodiscard]] bool Write(const uint8_t* bytes, size_t count);
  // Null when nothing was written.
  PacketPtr Finish();

 private:
  PacketPtr Fresh() const;
  void HangOn();

  PacketPool& pool_;
  const OwnerId owner_;
  PacketPtr head_;
  PacketPtr piece_;  // being filled
};

// A packet of `pool` with the bytes, the offload request, the verdicts and the VLAN of `packet`; null when the pool
// is dry.
PacketPtr CopyPacket(const Packet& packet, PacketPool& pool);

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_PIECE_WRITER_INTERNAL_H_

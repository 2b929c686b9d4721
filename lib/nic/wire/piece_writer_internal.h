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
  explicit PieceWriter(PacketPool& pool) : pool_(pool) {}

  // How many packets a frame of `bytes` takes.
  static size_t PiecesFor(const PacketPool& pool, size_t bytes);

  // False when the pool is dry: what was written so far goes back with the writer.
  [[nodiscard]] bool Write(const uint8_t* bytes, size_t count);
  // Null when nothing was written.
  PacketPtr Finish();

 private:
  void HangOn();

  PacketPool& pool_;
  PacketPtr head_;
  PacketPtr piece_;  // being filled
};

// A packet of `pool` with the bytes, the offload request, the verdicts and the VLAN of `packet`; null when the pool
// is dry.
PacketPtr CopyPacket(const Packet& packet, PacketPool& pool);

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_PIECE_WRITER_INTERNAL_H_

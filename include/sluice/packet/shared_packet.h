// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_SHARED_PACKET_H_
#define SLUICE_PACKET_SHARED_PACKET_H_

// A packet whose bytes others borrow, as the segments of a frame borrow its payload:
//
//   shared packet ──▶ │ headers │ payload ..............................│
//                               ▲            ▲            ▲
//                       borrower 0   borrower 1   borrower 2     fragments of other frames
//
// From then on nobody writes it. It is freed with the last of its holders, these and the SharedPacket itself, on
// whatever thread that is; its own fragments, loans and charges end with it and not before.
//
// Use it to point many packets at one's bytes. Where the memory is not a packet's, write a Lender.
//
// Threads: the SharedPacket is used by one at a time, its borrowers go where they like.
// Cost: no memory, for the count lies in the packet; an atomic addition for each Commit, and one when the
//   borrowers are freed, for each run of them within a burst.

#include <cstdint>
#include <utility>

#include "sluice/base/export.h"
#include "sluice/packet/packet.h"

namespace sluice {

class SLUICE_EXPORT SharedPacket {
 public:
  SharedPacket() = default;  // holds nothing
  explicit SharedPacket(PacketPtr packet) : packet_(packet.release()) {
    packet_->holders().store(1, std::memory_order_relaxed);
  }
  ~SharedPacket() { Reset(); }
  SharedPacket(SharedPacket&& other) noexcept : packet_(std::exchange(other.packet_, nullptr)) {}
  SharedPacket& operator=(SharedPacket&& other) noexcept {
    std::swap(packet_, other.packet_);
    return *this;
  }

  const Packet* operator->() const { return packet_; }
  const Packet* get() const { return packet_; }

  // Makes of `borrower`, which may be as PacketPool::GetRaw gave it, a piece of the `bytes` at `data`, which lie in
  // this packet or in one of its fragments. `length` is the piece's length(): more, if others will be linked to it.
  void Lend(const uint8_t* data, uint32_t bytes, uint32_t length, Packet& borrower) const {
    borrower.Share(packet_, data, bytes, length);
  }

  // Counts `borrowers`, all that were lent to since the last time. Call it before one of them is freed or handed to
  // anybody.
  void Commit(uint32_t borrowers) {
    // Relaxed: who is handed a borrower gets it through something that orders memory, and so finds it counted.
    packet_->holders().fetch_add(borrowers, std::memory_order_relaxed);
  }

  // Holds it no longer.
  void Reset() {
    if (packet_ != nullptr) Return(std::exchange(packet_, nullptr), 1);
  }

 private:
  friend class Packet;
  friend class PacketPool;

  // Ends `holds` holds on `packet`.
  static void Return(Packet* packet, uint32_t holds);

  Packet* packet_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_PACKET_SHARED_PACKET_H_

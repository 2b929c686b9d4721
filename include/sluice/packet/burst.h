// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_BURST_H_
#define SLUICE_PACKET_BURST_H_

// Up to 64 packets that travel together. The one shape in which packets cross every boundary of the library:
// a NIC fills a burst, a stage changes it, a NIC takes from its front, and what was not taken stays, in
// order, with whoever holds the burst.
//
// Owns its packets: what is left at the end goes back to the pools. Moves, never copies. A Burst lives on the
// stack or in the caller's object; nothing here allocates.

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "absl/types/span.h"
#include "sluice/base/export.h"
#include "sluice/packet/packet.h"

namespace sluice {

class SLUICE_EXPORT Burst {
 public:
  static constexpr size_t kCapacity = 64;

  Burst() = default;
  ~Burst() { Clear(); }
  Burst(const Burst&) = delete;
  Burst& operator=(const Burst&) = delete;
  Burst(Burst&& other) noexcept { MoveFrom(other); }
  Burst& operator=(Burst&& other) noexcept {
    if (this != &other) {
      Clear();
      MoveFrom(other);
    }
    return *this;
  }

  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  size_t room() const { return kCapacity - size(); }

  Packet& operator[](size_t i) { return *slots_[begin_ + i]; }
  const Packet& operator[](size_t i) const { return *slots_[begin_ + i]; }
  Packet* const* begin() const { return slots_.data() + begin_; }
  Packet* const* end() const { return slots_.data() + end_; }

  // Takes over one packet; there must be room().
  void Push(PacketPtr packet) { PushRaw(packet.release()); }

  // Takes the first packet out; the burst must not be empty.
  PacketPtr PopFront() { return PacketPtr(slots_[begin_++]); }

  // Moves the first `n` packets to the end of `to`; n <= size() and n <= to.room().
  void MoveFront(size_t n, Burst& to) {
    std::copy_n(begin(), n, to.Extend(n));
    begin_ += n;
  }

  // Gives every packet back to its pool.
  void Clear() {
    if (!empty()) ReturnAll();
    begin_ = end_ = 0;
  }

  // For backends and stages, which move ownership by hand.
  // ---------------------------------------------------------------
  void PushRaw(Packet* packet) { *Extend(1) = packet; }

  // Opens `n` slots at the end for the caller to fill with owned packets at once; n <= room().
  Packet** Extend(size_t n) {
    if (end_ + n > kCapacity) [[unlikely]]
      Compact();
    Packet** slots = slots_.data() + end_;
    end_ += n;
    return slots;
  }
  // Forgets the last `n`, which the caller did not fill or took over.
  void DropBack(size_t n) { end_ -= n; }
  // Forgets the first `n`, which the caller took over.
  void DropFront(size_t n) { begin_ += n; }

 private:
  void MoveFrom(Burst& other) {
    begin_ = 0;
    end_ = other.size();
    std::copy_n(other.begin(), end_, slots_.data());
    other.begin_ = other.end_ = 0;
  }
  void Compact();    // burst.cc
  void ReturnAll();  // packet_pool.cc

  size_t begin_ = 0;
  size_t end_ = 0;
  alignas(kCacheLine) std::array<Packet*, kCapacity> slots_;  // so that wide copies straddle no cache line
};

}  // namespace sluice

#endif  // SLUICE_PACKET_BURST_H_

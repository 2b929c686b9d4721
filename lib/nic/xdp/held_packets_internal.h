// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_HELD_PACKETS_INTERNAL_H_
#define SLUICE_NIC_XDP_HELD_PACKETS_INTERNAL_H_

#include <bit>
#include <cstdint>
#include <vector>

#include "sluice/packet/packet_pool.h"

namespace sluice {

// The packets of one pool that the kernel holds for one queue: a bit each, since a driver may give buffers
// back in any order, or keep them until its socket closes. An address counts from the start of the pool's
// region.
class HeldPackets {
 public:
  explicit HeldPackets(PacketPool& pool)
      : pool_(&pool),
        packets_(&pool.At(0)),
        shift_(std::countr_zero(pool.options().buffer_size)),
        bits_((pool.options().packets + 63) / 64) {}

  // Frees what is still held: the kernel must have let go.
  ~HeldPackets() {
    for (size_t word = 0; word < bits_.size(); ++word) {
      while (bits_[word] != 0) {
        const uint64_t index = word * 64 + static_cast<uint64_t>(std::countr_zero(bits_[word]));
        Packet* packet = Take(index << shift_);
        PacketPool::Put(&packet, 1);
      }
    }
  }
  HeldPackets(const HeldPackets&) = delete;
  HeldPackets& operator=(const HeldPackets&) = delete;

  // Lends `packet` to the kernel; returns the address of its buffer.
  uint64_t Give(const Packet& packet) {
    const auto index = static_cast<uint64_t>(&packet - packets_);
    bits_[index / 64] |= uint64_t{1} << index % 64;
    ++count_;
    return index << shift_;
  }

  // The packet in whose buffer `address` is, ours again; null when the kernel was not holding it.
  Packet* Take(uint64_t address) {
    const uint64_t index = address >> shift_;
    if (index / 64 >= bits_.size()) return nullptr;
    uint64_t& word = bits_[index / 64];
    const uint64_t bit = uint64_t{1} << index % 64;
    if ((word & bit) == 0) return nullptr;
    word ^= bit;
    --count_;
    return packets_ + index;
  }

  PacketPool& pool() const { return *pool_; }
  uint32_t count() const { return count_; }
  uint64_t buffer_mask() const { return (uint64_t{1} << shift_) - 1; }

 private:
  PacketPool* pool_;
  Packet* packets_;
  int shift_;
  uint32_t count_ = 0;
  std::vector<uint64_t> bits_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_HELD_PACKETS_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PACKET_STOCK_INTERNAL_H_
#define SLUICE_PACKET_PACKET_STOCK_INTERNAL_H_

#include <array>
#include <cstdint>
#include <cstring>

#include "packet/packet_cache_internal.h"
#include "packet/packet_depot_internal.h"
#include "packet/thread_slot_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

// The free packets of one pool.
struct PacketPool::Stock {
  explicit Stock(Packet* packets) : depot(packets) {}

  PacketDepot depot;
  std::array<PacketCache, kThreadSlots> caches;
};

// Wipes the half of a packet's first line that its last holder may have written, in two stores: where the
// frame starts, with its lengths, and what is known of it. Made once for many packets.
class PacketPool::Refresher {
 public:
  explicit Refresher(const PacketPool& pool) : start_{pool.options_.headroom, 0} {}

  void operator()(Packet& packet) const {
    const Pair start = Pair{reinterpret_cast<uintptr_t>(packet.buffer_), 0} + start_;
    uint8_t* const half = reinterpret_cast<uint8_t*>(&packet) + kCacheLine / 2;
    std::memcpy(half, &start, sizeof(Pair));
    std::memset(half + sizeof(Pair), 0, sizeof(Pair));
  }

 private:
  // 16 bytes that the compiler keeps in one register and stores at once.
  using Pair = uint64_t __attribute__((vector_size(16)));

  const Pair start_;
};

}  // namespace sluice

#endif  // SLUICE_PACKET_PACKET_STOCK_INTERNAL_H_

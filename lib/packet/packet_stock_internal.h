// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PACKET_STOCK_INTERNAL_H_
#define SLUICE_PACKET_PACKET_STOCK_INTERNAL_H_

#include <array>
#include <cstdint>

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

}  // namespace sluice

#endif  // SLUICE_PACKET_PACKET_STOCK_INTERNAL_H_

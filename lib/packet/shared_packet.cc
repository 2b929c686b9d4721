// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/shared_packet.h"

#include "sluice/packet/packet_pool.h"

namespace sluice {

// Whoever finds that all holds are its own is alone with the packet, and needs no exchange. Acquire, or release and
// acquire: what others read of the packet they have read before it is freed.
void SharedPacket::Return(Packet* packet, uint32_t holds) {
  std::atomic<uint32_t>& holders = packet->holders();
  const bool last = holders.load(std::memory_order_acquire) == holds ||
                    holders.fetch_sub(holds, std::memory_order_acq_rel) == holds;
  if (last) PacketPool::Put(&packet, 1);
}

}  // namespace sluice

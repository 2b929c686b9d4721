// SPDX-License-Identifier: Apache-2.0
#include "packet/packet_cache_internal.h"

namespace sluice {

size_t PacketCache::Spill(size_t n, PacketDepot& depot) {
  while (size() + n > PacketPool::kThreadCache) SpillGroup(depot);
  return size();
}

void PacketCache::SpillGroup(PacketDepot& depot) {
  const size_t held = size();
  const size_t n = std::min(held, PacketDepot::kGroup);
  depot.Push(&packets_[held - n], n);
  Store(held - n);
}

size_t PacketCache::Refill(size_t n, PacketDepot& depot) {
  size_t held = size();
  while (held < n) {
    const size_t more = depot.Pop(&packets_[held]);
    if (more == 0) break;
    held += more;
  }
  return held;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "packet/packet_cache_internal.h"

namespace sluice {

void PacketCache::Spill(size_t n, PacketDepot& depot) {
  while (!HasRoom(n)) depot.Push(Take(PacketDepot::kGroup), PacketDepot::kGroup);
}

bool PacketCache::Refill(size_t n, PacketDepot& depot) {
  while (size() < n) {
    const size_t more = depot.Pop(&packets_[size()]);
    if (more == 0) return false;
    Resize(size() + more);
  }
  return true;
}

void PacketCache::Empty(PacketDepot& depot) {
  while (size() > 0) {
    const size_t n = std::min(size(), PacketDepot::kGroup);
    depot.Push(Take(n), n);
  }
}

}  // namespace sluice

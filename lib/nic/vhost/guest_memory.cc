// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include "nic/vhost/guest_memory_internal.h"

namespace sluice {

GuestMapping::~GuestMapping() { munmap(mapped_, bytes_); }

absl::Span<uint8_t> GuestMemory::Search(uint64_t guest, uint64_t bytes, Hint& hint) const {
  for (size_t i = 0; i < regions_.size(); ++i) {
    const absl::Span<uint8_t> found = Within(regions_[i], regions_[i].guest, guest, bytes);
    if (found.empty()) continue;
    hint.region = i;
    return found;
  }
  return {};
}

uint8_t* GuestMemory::AtUser(uint64_t user, uint64_t bytes) const {
  for (const GuestRegion& region : regions_) {
    const absl::Span<uint8_t> found = Within(region, region.user, user, bytes);
    if (!found.empty()) return found.size() == bytes ? found.data() : nullptr;
  }
  return nullptr;
}

}  // namespace sluice

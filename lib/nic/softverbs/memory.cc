// SPDX-License-Identifier: Apache-2.0
#include "nic/softverbs/memory_internal.h"

namespace sluice {

std::optional<uint32_t> SoftMemory::Add(const SoftRegion& region) {
  if (free_.empty()) {
    if (regions_.size() == max_regions_) return std::nullopt;
    free_.push_back(static_cast<uint32_t>(regions_.size()));
    regions_.emplace_back();
  }
  const uint32_t place = free_.back();
  free_.pop_back();
  regions_[place].region = region;
  return place << kGenerationBits | regions_[place].generation;
}

void SoftMemory::Remove(uint32_t key) {
  const uint32_t place = key >> kGenerationBits;
  regions_[place].region = {};
  ++regions_[place].generation;
  free_.push_back(place);
}

}  // namespace sluice

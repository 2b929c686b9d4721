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

uint8_t* SoftMemory::Reach(uint32_t domain, const SoftPiece& piece, bool to_write) const {
  const uint32_t place = piece.key >> kGenerationBits;
  if (place >= regions_.size()) return nullptr;
  const Slot& slot = regions_[place];
  if (slot.generation != static_cast<uint8_t>(piece.key) || slot.region.domain != domain) return nullptr;
  if (to_write && !slot.region.writable) return nullptr;
  const uint64_t offset = piece.address - slot.region.address;
  if (offset > slot.region.length || piece.length > slot.region.length - offset) return nullptr;
  return slot.region.data + offset;
}

}  // namespace sluice

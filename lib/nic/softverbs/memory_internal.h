// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_MEMORY_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_MEMORY_INTERNAL_H_

// The memory that a program registered, and what of it a work request may touch. A key is a place in the table and a
// generation, so that a key that was given back is not taken for its successor.
// Threads: under the lock of the device.

#include <cstdint>
#include <optional>
#include <vector>

namespace sluice {

// A piece of memory as a work request names it.
struct SoftPiece {
  uint64_t address = 0;
  uint32_t length = 0;
  uint32_t key = 0;
};

struct SoftRegion {
  uint32_t domain = 0;      // the protection domain; 0 = none, the region is free
  uint64_t address = 0;     // by which requests name its first byte
  uint8_t* data = nullptr;  // where that is
  uint64_t length = 0;
  bool writable = false;
};

class SoftMemory {
 public:
  explicit SoftMemory(uint32_t max_regions) : max_regions_(max_regions) {}

  // Nothing when the table is full.
  std::optional<uint32_t> Add(const SoftRegion& region);
  // Of a live key, and likewise below.
  void Replace(uint32_t key, const SoftRegion& region) { regions_[key >> kGenerationBits].region = region; }
  void Remove(uint32_t key);
  const SoftRegion& Find(uint32_t key) const { return regions_[key >> kGenerationBits].region; }

  // Where the piece is; null when any part of it is outside of what its key opens to `domain`.
  uint8_t* Reach(uint32_t domain, const SoftPiece& piece, bool to_write) const {
    const uint32_t place = piece.key >> kGenerationBits;
    if (place >= regions_.size()) return nullptr;
    const Slot& slot = regions_[place];
    if (slot.generation != static_cast<uint8_t>(piece.key) || slot.region.domain != domain) return nullptr;
    if (to_write && !slot.region.writable) return nullptr;
    const uint64_t offset = piece.address - slot.region.address;
    if (offset > slot.region.length || piece.length > slot.region.length - offset) return nullptr;
    return slot.region.data + offset;
  }

 private:
  static constexpr uint32_t kGenerationBits = 8;

  struct Slot {
    SoftRegion region;
    uint8_t generation = 1;
  };

  const uint32_t max_regions_;
  std::vector<Slot> regions_;
  std::vector<uint32_t> free_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_MEMORY_INTERNAL_H_

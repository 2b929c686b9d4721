// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GUEST_MEMORY_INTERNAL_H_
#define SLUICE_NIC_VHOST_GUEST_MEMORY_INTERNAL_H_

// The memory that a front-end shares, as it is mapped here, and the map of what of it was written while the guest moves.
//
//   guest's address ──At──▶ bytes here          descriptors and buffers
//   front-end's own address ──AtUser──▶ ...     rings, as SET_VRING_ADDR names them
//
// A table never changes: one that does is another table, which shares the regions that stay. Who reads through a table holds
// it, and so its mappings.
//
// The guest writes here at any moment: what is read is copied first, then checked, then used.
// Threads: any, but see DirtyLog.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace sluice {

// A mapping of a region's file. Unmapped with the last table that has it.
class GuestMapping {
 public:
  GuestMapping(void* mapped, size_t bytes) : mapped_(mapped), bytes_(bytes) {}
  ~GuestMapping();
  GuestMapping(const GuestMapping&) = delete;
  GuestMapping& operator=(const GuestMapping&) = delete;

 private:
  void* const mapped_;
  const size_t bytes_;
};

// One region (vhost-user, "Memory region description").
struct GuestRegion {
  uint64_t guest = 0;                                // where the guest sees it
  uint64_t user = 0;                                 // where the front-end sees it
  uint64_t bytes = 0;                                // guest + bytes and user + bytes do not wrap
  uint8_t* here = nullptr;                           // where it is
  std::shared_ptr<const GuestMapping> mapping = {};  // null in tests that lend memory of their own
};

class GuestMemory {
 public:
  GuestMemory() = default;
  explicit GuestMemory(std::vector<GuestRegion> regions) : regions_(std::move(regions)) {}

  // The bytes from a guest's address on: as many of `bytes` as lie in one region, which may be fewer where a buffer crosses
  // into the next; none where there is no region. The last region found is tried first by the caller's own Hint.
  struct Hint {
    size_t region = 0;
  };
  absl::Span<uint8_t> At(uint64_t guest, uint64_t bytes, Hint& hint) const {
    if (hint.region < regions_.size()) {
      const absl::Span<uint8_t> found =
          Within(regions_[hint.region], regions_[hint.region].guest, guest, bytes);
      if (!found.empty()) return found;
    }
    return Search(guest, bytes, hint);
  }

  // The region that was found last, for loops that look there first.
  struct Window {
    // Negative unless all of `length` bytes at a guest's address, and at least one, lie in it: so that loops may join it by OR
    // with what else may be wrong, for one branch. GuestMemory::At knows more of what is negative.
    int64_t Outside(uint64_t address, uint32_t length) const {
      const uint64_t offset = address - guest;  // wraps round for what is below
      const uint64_t rest = bytes - offset;     // and for what is behind
      return static_cast<int64_t>(offset | rest | (rest - length) | (uint64_t{length} - 1));
    }
    uint8_t* At(uint64_t address) const { return reinterpret_cast<uint8_t*>(address + shift); }

    uint64_t guest = 0;
    uint64_t bytes = 0;  // below 2^63
    uint64_t shift = 0;  // from the guest's addresses to ours
  };
  Window window(Hint hint) const {
    if (hint.region >= regions_.size()) return {};
    const GuestRegion& region = regions_[hint.region];
    return {region.guest, region.bytes, reinterpret_cast<uintptr_t>(region.here) - region.guest};
  }

  // All of `bytes` at an address of the front-end, in one region; null where they are not.
  uint8_t* AtUser(uint64_t user, uint64_t bytes) const;

  absl::Span<const GuestRegion> regions() const { return regions_; }

 private:
  static absl::Span<uint8_t> Within(const GuestRegion& region, uint64_t base, uint64_t address,
                                    uint64_t bytes) {
    const uint64_t offset = address - base;  // wraps round for what is below
    if (offset >= region.bytes) return {};
    const uint64_t rest = region.bytes - offset;
    return {region.here + offset, static_cast<size_t>(bytes < rest ? bytes : rest)};
  }
  absl::Span<uint8_t> Search(uint64_t guest, uint64_t bytes, Hint& hint) const;

  std::vector<GuestRegion> regions_;
};

// A bit for each page of 4,096 bytes that was written, by guest's address, in memory of the front-end (vhost-user, "Migration").
// Threads: Mark from any number.
class DirtyLog {
 public:
  static constexpr uint64_t kPage = 4096;

  DirtyLog(uint8_t* bits, size_t bytes, std::shared_ptr<const GuestMapping> mapping)
      : bits_(bits), bytes_(bytes), mapping_(std::move(mapping)) {}

  // Call it behind the writes, before the guest is told of them. What lies past the end of the log is left out.
  void Mark(uint64_t guest, uint64_t bytes) const {
    if (bytes == 0) return;
    for (uint64_t page = guest / kPage; page <= (guest + bytes - 1) / kPage && page / 8 < bytes_; ++page) {
      // Release: who clears the bit sees what it stands for.
      __atomic_fetch_or(&bits_[page / 8], static_cast<uint8_t>(1u << (page % 8)), __ATOMIC_RELEASE);
    }
  }

 private:
  uint8_t* const bits_;
  const size_t bytes_;
  const std::shared_ptr<const GuestMapping> mapping_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GUEST_MEMORY_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/vhost/memory_map_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

using Region = VhostMemoryMap::Region;

bool Wraps(uint64_t begin, uint64_t bytes) { return begin + bytes < begin; }

bool Overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

bool Same(const VhostMemoryRegion& a, const VhostMemoryRegion& b) {
  return a.guest == b.guest && a.user == b.user && a.bytes == b.bytes;
}

std::string Text(const VhostMemoryRegion& region) {
  return absl::StrCat("the region of ", region.bytes, " bytes at guest address 0x", absl::Hex(region.guest));
}

// Of a region by itself, and beside those there are.
absl::Status Check(const VhostMemoryRegion& region, absl::Span<const Region> others) {
  if (region.bytes == 0 || Wraps(region.guest, region.bytes) || Wraps(region.user, region.bytes) ||
      Wraps(region.offset, region.bytes)) {
    return VhostBreach(absl::StrCat(Text(region), " is empty, or wraps round"));
  }
  for (const Region& other : others) {
    if (Overlap(region.guest, region.bytes, other.said.guest, other.said.bytes) ||
        Overlap(region.user, region.bytes, other.said.user, other.said.bytes)) {
      return VhostBreach(absl::StrCat(Text(region), " overlaps with ", Text(other.said)));
    }
  }
  return absl::OkStatus();
}

// Says which region it was.
absl::Status About(const VhostMemoryRegion& region, const absl::Status& status) {
  const std::optional<Problem> problem = ProblemOf(status);
  return VhostBreach(absl::StrCat(Text(region), ": ", problem->what), problem->remedy, problem->error_number);
}

}  // namespace

absl::Status VhostMemoryMap::Set(absl::Span<const VhostMemoryRegion> regions,
                                 absl::Span<const UniqueFd> fds) {
  std::vector<Region> made;
  for (size_t i = 0; i < regions.size(); ++i) {
    if (absl::Status checked = Check(regions[i], made); !checked.ok()) return checked;
    absl::StatusOr<Region> mapped = Mapped(regions[i], fds[i].get());
    if (!mapped.ok()) return mapped.status();
    made.push_back(*std::move(mapped));
  }
  Adopt(std::move(made));
  return absl::OkStatus();
}

absl::Status VhostMemoryMap::Add(const VhostMemoryRegion& region, int fd) {
  if (Find(region, fd) != nullptr) return absl::OkStatus();
  if (regions_.size() == kVhostMemorySlots)
    return VhostBreach("more regions than GET_MAX_MEM_SLOTS said",
                       "plug fewer memory devices into the guest");
  if (absl::Status checked = Check(region, regions_); !checked.ok()) return checked;
  absl::StatusOr<Region> mapped = Mapped(region, fd);
  if (!mapped.ok()) return mapped.status();
  std::vector<Region> made = regions_;
  made.push_back(*std::move(mapped));
  Adopt(std::move(made));
  return absl::OkStatus();
}

absl::Status VhostMemoryMap::Remove(const VhostMemoryRegion& region) {
  std::vector<Region> made = regions_;
  if (std::erase_if(made, [&](const Region& there) { return Same(there.said, region); }) == 0)
    return Check(region, regions_);
  Adopt(std::move(made));
  return absl::OkStatus();
}

// The same bytes of the same file at the same addresses.
const Region* VhostMemoryMap::Find(const VhostMemoryRegion& region, int fd) const {
  struct stat file {};
  for (const Region& there : regions_) {
    if (!Same(there.said, region) || there.said.offset != region.offset || fstat(fd, &file) != 0) continue;
    if (there.file.device == file.st_dev && there.file.inode == file.st_ino) return &there;
  }
  return nullptr;
}

// By the mapping that there is, if there is one.
absl::StatusOr<Region> VhostMemoryMap::Mapped(const VhostMemoryRegion& region, int fd) const {
  if (const Region* const there = Find(region, fd)) return *there;
  absl::StatusOr<MappedFile> mapped = MapFile(fd, region.offset, region.bytes);
  if (!mapped.ok()) return About(region, mapped.status());
  return Region{.said = region, .file = *std::move(mapped)};
}

void VhostMemoryMap::Adopt(std::vector<Region> regions) {
  std::vector<GuestRegion> table;
  table.reserve(regions.size());
  for (const Region& region : regions) {
    table.push_back({.guest = region.said.guest,
                     .user = region.said.user,
                     .bytes = region.said.bytes,
                     .here = region.file.here,
                     .mapping = region.file.mapping});
  }
  regions_ = std::move(regions);
  memory_ = std::make_shared<const GuestMemory>(std::move(table));
}

}  // namespace sluice

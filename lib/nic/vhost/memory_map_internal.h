// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_MEMORY_MAP_INTERNAL_H_
#define SLUICE_NIC_VHOST_MEMORY_MAP_INTERNAL_H_

// The memory table of one front-end: maps what it sends, and makes a GuestMemory of it.
//
// A change makes another table out of the regions that stay, which are not mapped again, and those that are new. Whoever holds
// the old table goes on with it, and what only it has is unmapped with it.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/unique_fd_internal.h"
#include "nic/vhost/mapped_file_internal.h"
#include "nic/vhost/message_internal.h"

namespace sluice {

class VhostMemoryMap {
 public:
  struct Region {
    VhostMemoryRegion said = {};
    MappedFile file = {};
  };

  // Each of these changes nothing when it fails. The descriptors stay the caller's: mappings do without. A region that is
  // added twice is there once, and one that is removed twice is gone: QEMU before 8.1 says both once for each queue pair.
  absl::Status Set(absl::Span<const VhostMemoryRegion> regions, absl::Span<const UniqueFd> fds);
  absl::Status Add(const VhostMemoryRegion& region, int fd);
  absl::Status Remove(const VhostMemoryRegion& region);  // told by its addresses and size

  // The table as it is now; null before there is one.
  const std::shared_ptr<const GuestMemory>& memory() const { return memory_; }
  absl::Span<const Region> regions() const { return regions_; }

 private:
  const Region* Find(const VhostMemoryRegion& region, int fd) const;
  absl::StatusOr<Region> Mapped(const VhostMemoryRegion& region, int fd) const;
  void Adopt(std::vector<Region> regions);

  std::vector<Region> regions_;
  std::shared_ptr<const GuestMemory> memory_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_MEMORY_MAP_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_GUEST_REGIONS_H_
#define SLUICE_TESTS_NIC_GUEST_REGIONS_H_

// The memory of a machine that has none but what its network needs: regions, each a file that a device maps.
//
//   guest's addresses    │··│ region 0 │··│ region 1     │··│ ...      in order, with holes between
//   front-end's own      the same, far above                           which are where nothing is mapped here, either
//
// A device that mistakes one kind of address for the other finds nothing there.

#include <memory>
#include <vector>

#include "nic/vhost/message_internal.h"
#include "sluice/base/region.h"
#include "tests/nic/driver_ring.h"

namespace sluice::testing {

inline constexpr size_t kGuestPage = 4096;

class GuestMemoryFile {
 public:
  // `bytes` is a multiple of a page. The file has `offset` bytes before what is shared.
  GuestMemoryFile(uint64_t guest, size_t bytes, size_t offset);

  SharedMemory memory() const { return {region_->data() + offset_, guest_, bytes_}; }
  VhostMemoryRegion description() const {
    return {.guest = guest_, .bytes = bytes_, .user = UserOf(guest_), .offset = offset_};
  }
  int fd() const { return region_->fd(); }

  // Where the front-end says that it sees what the guest sees at `guest`.
  static uint64_t UserOf(uint64_t guest) { return guest + 0x7e00'0000'0000; }

 private:
  const uint64_t guest_;
  const size_t bytes_;
  const size_t offset_;
  const std::unique_ptr<Region> region_;
};

// A page that buffers lie in.
struct GuestPage {
  uint8_t* here = nullptr;
  uint64_t guest = 0;
};

class GuestRegions {
 public:
  // Puts a region behind the others, with a hole between.
  std::shared_ptr<const GuestMemoryFile> Add(size_t bytes);
  void Remove(const GuestMemoryFile& file);

  const std::vector<std::shared_ptr<const GuestMemoryFile>>& files() const { return files_; }
  uint64_t end() const { return next_; }  // of the guest's addresses

  // The pages of a region from `offset` on.
  static std::vector<GuestPage> PagesOf(const GuestMemoryFile& file, size_t offset = 0);

 private:
  std::vector<std::shared_ptr<const GuestMemoryFile>> files_;
  uint64_t next_ = 0x10'0000;
  uint64_t made_ = 0;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_GUEST_REGIONS_H_

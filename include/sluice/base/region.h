// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_REGION_H_
#define SLUICE_BASE_REGION_H_

// One piece of memory that devices, other processes and this one all reach: packet buffers and shared rings
// live in regions. Backed by a memfd, so that its descriptor can be handed to a peer; by huge pages when the
// system has them free.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"

namespace sluice {

enum class HugePages : uint8_t { kOff, kPrefer, kRequire };

struct RegionOptions {
  std::string name = "sluice";  // shown in /proc/PID/maps as memfd:NAME
  size_t bytes = 0;             // rounded up to whole pages; 0 is refused
  HugePages huge_pages =
      HugePages::kPrefer;      // 2 MiB pages if free, else plain ones; kRequire refuses instead
  NodeId node = kUnknownNode;  // where the pages should live; unknown = where first touched
  bool lock = false;           // mlock: refuses with RLIMIT_MEMLOCK's figures and how to raise it
};

// Owns the mapping and the descriptor. Every page is touched at creation, so that the data path never faults.
// Any thread.
class SLUICE_EXPORT Region {
 public:
  static absl::StatusOr<std::unique_ptr<Region>> Create(const RegionOptions& options);

  // Maps a region that another process made. `fd` is duplicated; the caller keeps its own. Refuses when the
  // file is smaller than `bytes`, for a peer that lies about it would fault us later (kInvalidArgument).
  static absl::StatusOr<std::unique_ptr<Region>> Map(int fd, size_t bytes, bool writable);

  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  absl::Span<uint8_t> bytes() const { return absl::MakeSpan(data_, size_); }
  bool Contains(const void* address, size_t length) const;

  int fd() const { return fd_; }
  size_t page_size() const { return page_size_; }  // of the pages in force: 4096 or 2 MiB

  // A new descriptor of the same memory through which a peer can only read; the caller closes it.
  absl::StatusOr<int> OpenReadOnly() const;

 private:
  Region(uint8_t* data, size_t size, size_t page_size, int fd)
      : data_(data), size_(size), page_size_(page_size), fd_(fd) {}

  uint8_t* const data_;
  const size_t size_;
  const size_t page_size_;
  const int fd_;
};

}  // namespace sluice

#endif  // SLUICE_BASE_REGION_H_

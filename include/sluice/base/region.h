// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_REGION_H_
#define SLUICE_BASE_REGION_H_

// One piece of memory that devices, other processes and this one all reach: packet buffers and shared rings
// live in regions. Backed by a memfd, so that its descriptor can be handed to a peer; by huge pages when the
// system has them free.
//
//   Create ──▶ data() ... data() + size()          every page present: the data path never faults
//     │ fd() or OpenReadOnly(), over a socket
//     ▼
//   Map, in the peer                               the same bytes, at an address of its own
//
// What a peer can do: write what it may write, at any moment, so read an index once, check it, then use it.
// What it cannot: shrink the file and so fault us. Create seals the size (F_SEAL_SHRINK and F_SEAL_GROW,
// memfd_create(2)), and Map refuses a file without that seal. A peer that may write can still punch holes;
// plain pages then read as zero.
//
// Threads: any. Cost: Create takes about 0.6 ms per MiB of plain pages, Map a third of it; only data() and
// Contains() are for the data path.

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
  std::string name = "sluice";  // shown in /proc/PID/maps as memfd:NAME; at most 249 bytes
  size_t bytes = 0;             // rounded up to whole pages of the kind in force; 0 is refused

  // kPrefer takes 2 MiB pages if enough are free, and never for less than one such page; kRequire refuses
  // instead of falling back, naming vm.nr_hugepages and how many are free.
  HugePages huge_pages = HugePages::kPrefer;

  // Where the pages should live; unknown = where first touched. A preference: a node that is full borrows
  // from the next. Refused when the kernel knows no such node or does not let us choose.
  NodeId node = kUnknownNode;

  // Keep the pages from being swapped out. Needs RLIMIT_MEMLOCK to reach this far, and refuses with its
  // figures and how to raise it. Not needed for devices that pin memory themselves; without it the default
  // limit is enough.
  bool lock = false;
};

// Owns the mapping and the descriptor.
class SLUICE_EXPORT Region {
 public:
  // kInvalidArgument for an option out of range; kResourceExhausted when memory, huge pages or the lock limit
  // are short.
  static absl::StatusOr<std::unique_ptr<Region>> Create(const RegionOptions& options);

  // Maps the first `bytes` of a region that another process made. `fd` is duplicated; the caller keeps its
  // own. kInvalidArgument when the file is smaller than `bytes`, for a peer that lies about it would fault us
  // later; kFailedPrecondition when its size is not sealed; kPermissionDenied for a writable mapping through
  // a read-only fd.
  static absl::StatusOr<std::unique_ptr<Region>> Map(int fd, size_t bytes, bool writable);

  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  absl::Span<uint8_t> bytes() const { return absl::MakeSpan(data_, size_); }
  bool Contains(const void* address, size_t length) const;

  int fd() const { return fd_; }                   // closed with the region
  size_t page_size() const { return page_size_; }  // of the pages in force: 4096 or 2 MiB

  // The node that holds the first page now; unknown when the kernel does not say. Any thread; a system call.
  NodeId node() const;

  // A new descriptor of the same memory through which a peer can only read; the caller closes it. Holds
  // against peers of another user or in a sandbox: one that runs as our user can open its way back to writing
  // through /proc.
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

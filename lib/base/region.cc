// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/region.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/unique_fd_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLongestName = 249;                // memfd_create(2)
constexpr size_t kLargest = size_t{1} << 46;        // half of what a process can address
constexpr uint64_t kMostNodes = 1024;               // as many as any kernel is built for
constexpr size_t kMaskBits = 8 * sizeof(uint64_t);  // of a word of a node mask

size_t RoundUp(size_t bytes, size_t page) { return (bytes + page - 1) / page * page; }

size_t PlainPage() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

std::string DeviceName(const RegionOptions& options) { return absl::StrCat("region ", options.name); }

// The mapping while it is still being made ready; unmapped unless it is handed on.
class Mapping {
 public:
  Mapping(void* address, size_t length) : address_(address), length_(length) {}
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, MAP_FAILED)), length_(other.length_) {}
  ~Mapping() {
    if (address_ != MAP_FAILED) munmap(address_, length_);
  }

  bool valid() const { return address_ != MAP_FAILED; }
  void* address() const { return address_; }
  size_t length() const { return length_; }
  uint8_t* Release() { return static_cast<uint8_t*>(std::exchange(address_, MAP_FAILED)); }

 private:
  void* address_;
  size_t length_;
};

struct Parts {
  UniqueFd fd;
  Mapping mapping;
  size_t page_size;
};

absl::Status CheckOptions(const RegionOptions& options) {
  Problem problem{.device = DeviceName(options), .stage = "check options"};
  if (options.bytes == 0 || options.bytes > kLargest) {
    problem.what = absl::StrCat("bytes is ", options.bytes);
    problem.remedy = absl::StrCat("ask for 1 to ", kLargest, " bytes");
  } else if (options.name.size() > kLongestName) {
    problem.what = absl::StrCat("the name has ", options.name.size(), " bytes");
    problem.remedy = absl::StrCat("use a name of at most ", kLongestName, " bytes");
  } else if (options.node < kUnknownNode) {
    problem.what = absl::StrCat("node is ", options.node.value());
    problem.remedy = "use the number of a NUMA node, or -1 for any";
  }
  if (problem.what.empty()) return absl::OkStatus();
  return ErrorStatus(absl::StatusCode::kInvalidArgument, problem);
}

// Makes the node the home of the file's pages, for every process that maps it. Must come before the first
// touch.
absl::Status PreferNode(const Mapping& mapping, const RegionOptions& options) {
  if (options.node == kUnknownNode) return absl::OkStatus();
  const size_t node = static_cast<size_t>(options.node.value());
  std::array<uint64_t, kMostNodes / kMaskBits> mask{};
  if (node < kMostNodes) mask[node / kMaskBits] = uint64_t{1} << (node % kMaskBits);
  // The kernel takes one bit less than it is told of, hence the + 1.
  if (node < kMostNodes && syscall(SYS_mbind, mapping.address(), mapping.length(), MPOL_PREFERRED,
                                   mask.data(), kMostNodes + 1, 0) == 0) {
    return absl::OkStatus();
  }
  return ErrorStatus(
      {.device = DeviceName(options),
       .stage = absl::StrCat("place on NUMA node ", node),
       .capability = "node",
       .error_number = node < kMostNodes ? errno : EINVAL,
       .remedy =
           "use a node listed in /sys/devices/system/node/online, allow the mbind call where a container "
           "forbids it, or leave the node unknown"});
}

// Enters every page into this process's page table, and allocates those that the file lacks. Linux
// before 5.14 has no call for it; there each page is read, which for a shared file maps it for good.
absl::Status Populate(const Mapping& mapping, size_t page_size, bool writable, const std::string& device) {
  const int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  if (madvise(mapping.address(), mapping.length(), advice) == 0) return absl::OkStatus();
  if (errno != EINVAL) {
    return ErrorStatus(
        {.device = device,
         .stage = "touch pages",
         .error_number = errno == EFAULT ? ENOMEM : errno,  // EFAULT: a touch would have raised SIGBUS
         .remedy = "free memory, or ask for fewer bytes"});
  }
  const auto* bytes = static_cast<const volatile uint8_t*>(mapping.address());
  for (size_t at = 0; at < mapping.length(); at += page_size) static_cast<void>(bytes[at]);
  return absl::OkStatus();
}

absl::Status Lock(const Mapping& mapping, const RegionOptions& options) {
  // As mlock(), which sanitizers turn into nothing.
  if (!options.lock || mlock2(mapping.address(), mapping.length(), 0) == 0) return absl::OkStatus();
  const int error = errno;
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const size_t kib = RoundUp(mapping.length(), 1024) / 1024;
  return ErrorStatus(
      absl::StatusCode::kResourceExhausted,
      {.device = DeviceName(options),
       .stage = "lock memory",
       .capability = "lock",
       .error_number = error,
       .what = absl::StrCat(mapping.length(), " bytes to lock, RLIMIT_MEMLOCK allows ", limit.rlim_cur,
                            " in all (hard limit ", limit.rlim_max, ")"),
       .remedy = absl::StrCat("raise it by as much: ulimit -l ", kib, " in the shell, LimitMEMLOCK=", kib,
                              "K in the systemd unit, or a memlock line in /etc/security/limits.conf; or set "
                              "lock=false")});
}

// Bytes that can be had without swapping, by the kernel's own estimate; nothing when it gives none.
std::optional<uint64_t> AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    uint64_t kib = 0;
    if (word == "MemAvailable:" && file >> kib) return kib * 1024;
  }
  return std::nullopt;
}

// The kernel promises a memfd any size and then has the OOM killer find the pages, wherever it likes.
absl::Status CheckMemory(const RegionOptions& options) {
  const std::optional<uint64_t> available = AvailableMemory();
  if (!available.has_value() || options.bytes <= *available) return absl::OkStatus();
  return ErrorStatus(absl::StatusCode::kResourceExhausted,
                     {.device = DeviceName(options),
                      .stage = "allocate memory",
                      .what = absl::StrCat("needs ", options.bytes, " bytes, available are ", *available),
                      .remedy = "free memory, or ask for fewer bytes"});
}

// Allocates and maps a fresh file of whole pages of `page_size`. The errno of a failure is in its Problem.
absl::StatusOr<Parts> Make(const RegionOptions& options, size_t page_size, unsigned memfd_flags) {
  const auto refuse = [&](absl::string_view stage) {
    return ErrorStatus({.device = DeviceName(options),
                        .stage = std::string(stage),
                        .error_number = errno,
                        .remedy = "free memory or descriptors (ulimit -n), or ask for fewer bytes"});
  };
  const size_t length = RoundUp(options.bytes, page_size);
  // 1. A file that nobody but our user can open through /proc, and that has its final size.
  UniqueFd fd(memfd_create(options.name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | memfd_flags));
  if (!fd.valid()) return refuse("create memfd");
  if (fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0) return refuse("restrict memfd");
  if (ftruncate(fd.get(), static_cast<off_t>(length)) != 0) return refuse("size memfd");

  Mapping mapping(mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), length);
  if (!mapping.valid()) return refuse("map memory");

  // 2. Its pages, on the node asked for.
  if (absl::Status status = PreferNode(mapping, options); !status.ok()) return status;
  if (absl::Status status = Populate(mapping, page_size, true, DeviceName(options)); !status.ok())
    return status;

  // 3. Sealed, so that a peer that holds the descriptor cannot take pages from under us.
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) return refuse("seal size");
  return Parts{std::move(fd), std::move(mapping), page_size};
}

// Free pages less those promised to mappings that have not touched them yet.
int64_t FreeHugePages() {
  const auto read = [](const char* file) {
    int64_t pages = 0;
    std::ifstream(absl::StrCat("/sys/kernel/mm/hugepages/hugepages-2048kB/", file)) >> pages;
    return pages;
  };
  return read("free_hugepages") - read("resv_hugepages");
}

absl::Status HugePagesMissing(const RegionOptions& options, const absl::Status& why) {
  const size_t pages = RoundUp(options.bytes, kHugePage) / kHugePage;
  const std::optional<Problem> problem = ProblemOf(why);
  return ErrorStatus(
      absl::StatusCode::kResourceExhausted,
      {.device = DeviceName(options),
       .stage = problem ? problem->stage : "allocate memory",
       .capability = "huge_pages=require",
       .error_number = problem ? problem->error_number : 0,
       .what = absl::StrCat("huge pages of 2 MiB: ", pages, " needed, ", FreeHugePages(), " free"),
       .remedy = absl::StrCat("raise the sysctl vm.nr_hugepages by ", pages, ", or use huge_pages=prefer")});
}

absl::StatusOr<Parts> MakeHugeOrPlain(const RegionOptions& options) {
  const bool require = options.huge_pages == HugePages::kRequire;
  const bool prefer = options.huge_pages == HugePages::kPrefer && options.bytes >= kHugePage;
  if (require || prefer) {
    absl::StatusOr<Parts> huge = Make(options, kHugePage, MFD_HUGETLB | MFD_HUGE_2MB);
    if (huge.ok()) return huge;
    if (require) return HugePagesMissing(options, huge.status());
  }
  if (absl::Status status = CheckMemory(options); !status.ok()) return status;
  return Make(options, PlainPage(), 0);
}

absl::Status RefuseMap(absl::StatusCode code, int error, std::string what, std::string remedy) {
  return ErrorStatus(code, {.device = "region of a peer",
                            .stage = "map memory",
                            .error_number = error,
                            .what = std::move(what),
                            .remedy = std::move(remedy)});
}

// The page size of the file behind `fd`, once it is sure that the file has `bytes` and keeps them.
absl::StatusOr<size_t> CheckPeerFile(int fd, size_t bytes) {
  struct stat file {};
  if (fstat(fd, &file) != 0) {
    return RefuseMap(StatusCodeOf(errno), errno, "", "pass the descriptor that the peer sent");
  }
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return RefuseMap(absl::StatusCode::kFailedPrecondition, 0, "the file can be truncated under us",
                     "have the peer send a memfd with F_SEAL_SHRINK, as Region::Create makes");
  }
  // After the seals: a size that was read before them could have changed in between.
  if (fstat(fd, &file) != 0 || bytes == 0 || static_cast<uint64_t>(file.st_size) < bytes) {
    return RefuseMap(absl::StatusCode::kInvalidArgument, 0,
                     absl::StrCat(bytes, " bytes announced, the file has ", file.st_size),
                     "map from 1 byte to what the file has; check that both sides agree on the layout");
  }
  struct statfs system {};
  const bool huge = fstatfs(fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC;
  return huge ? static_cast<size_t>(system.f_bsize) : PlainPage();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Region>> Region::Create(const RegionOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  absl::StatusOr<Parts> parts = MakeHugeOrPlain(options);
  if (!parts.ok()) return parts.status();
  if (absl::Status status = Lock(parts->mapping, options); !status.ok()) return status;
  const size_t length = parts->mapping.length();
  return std::unique_ptr<Region>(
      new Region(parts->mapping.Release(), length, parts->page_size, parts->fd.Release()));
}

absl::StatusOr<std::unique_ptr<Region>> Region::Map(int fd, size_t bytes, bool writable) {
  absl::StatusOr<size_t> page_size = CheckPeerFile(fd, bytes);
  if (!page_size.ok()) return page_size.status();
  UniqueFd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const size_t length = RoundUp(bytes, *page_size);
  Mapping mapping(mmap(nullptr, length, protection, MAP_SHARED, own.get(), 0), length);
  if (!own.valid() || !mapping.valid()) {
    return RefuseMap(StatusCodeOf(errno), errno, writable ? "writable mapping" : "read-only mapping",
                     "have the peer send a descriptor opened for this, or free memory and descriptors");
  }
  absl::Status status = Populate(mapping, *page_size, writable, "region of a peer");
  if (!status.ok()) return status;
  return std::unique_ptr<Region>(new Region(mapping.Release(), bytes, *page_size, own.Release()));
}

Region::~Region() {
  munmap(data_, RoundUp(size_, page_size_));
  close(fd_);
}

bool Region::Contains(const void* address, size_t length) const {
  // Addresses of other objects compare only as std::less does.
  const auto* start = static_cast<const uint8_t*>(address);
  if (std::less<>()(start, data_) || std::less<>()(data_ + size_, start)) return false;
  return length <= static_cast<size_t>(data_ + size_ - start);
}

NodeId Region::node() const {
  int node = -1;
  const long result = syscall(SYS_get_mempolicy, &node, nullptr, 0, data_, MPOL_F_NODE | MPOL_F_ADDR);
  return result == 0 ? NodeId(static_cast<NodeId::rep>(node)) : kUnknownNode;
}

absl::StatusOr<int> Region::OpenReadOnly() const {
  const std::string path = absl::StrCat("/proc/self/fd/", fd_);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) return fd;
  return ErrorStatus(
      {.device = "region",
       .stage = "reopen read-only",
       .error_number = errno,
       .remedy = "mount /proc, raise the limit of open files, and keep the user that made the region"});
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "tests/support/process.h"

namespace sluice {
namespace {

using testing::Process;

constexpr size_t kPage = 4096;
constexpr uid_t kNobodyUser = 65534;

std::unique_ptr<Region> MakeRegion(size_t bytes) { return Region::Create({.bytes = bytes}).value(); }

std::string TextOf(const absl::Status& status) { return std::string(status.message()); }

// How many of the region's pages this process can touch without a fault; see pagemap.rst of the kernel.
size_t PagesPresent(const Region& region) {
  const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  std::vector<uint64_t> entries(region.size() / kPage);
  const auto first =
      static_cast<off_t>(reinterpret_cast<uintptr_t>(region.data()) / kPage * sizeof(uint64_t));
  const ssize_t got = pread(pagemap, entries.data(), entries.size() * sizeof(uint64_t), first);
  close(pagemap);
  REQUIRE(got == static_cast<ssize_t>(entries.size() * sizeof(uint64_t)));
  return static_cast<size_t>(
      std::count_if(entries.begin(), entries.end(), [](uint64_t e) { return e >> 63 != 0; }));
}

size_t OpenFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

// What Create answers in a child that runs as nobody in particular and under `limit`.
std::string RefusalUnder(int resource, rlim_t limit, const RegionOptions& options) {
  Process child = Process::Fork([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit both{limit, limit};
    if (setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0) return 2;
    if (geteuid() == 0 && setuid(kNobodyUser) != 0) return 3;  // gives up CAP_IPC_LOCK
    const absl::StatusOr<std::unique_ptr<Region>> region = Region::Create(options);
    const std::string answer(region.ok() ? "made" : region.status().message());
    if (write(STDOUT_FILENO, answer.data(), answer.size()) < 0) return 4;
    return 0;
  });
  CHECK(child.Wait(absl::Seconds(10)) == 0);
  return child.Output();
}

TEST_CASE("a fresh region is whole pages of zeroes, ready to be written") {
  const std::unique_ptr<Region> region =
      Region::Create({.bytes = kPage + 1, .huge_pages = HugePages::kOff}).value();
  CHECK(region->size() == 2 * kPage);
  CHECK(region->page_size() == kPage);
  CHECK(std::all_of(region->bytes().begin(), region->bytes().end(), [](uint8_t byte) { return byte == 0; }));
  std::memset(region->data(), 0x5A, region->size());
  CHECK(region->bytes().back() == 0x5A);
}

TEST_CASE("options out of range are refused before anything is made") {
  const RegionOptions rows[] = {
      {.bytes = 0},
      {.bytes = SIZE_MAX},
      {.name = std::string(250, 'x'), .bytes = kPage},
      {.bytes = kPage, .node = NodeId(-2)},
  };
  for (const RegionOptions& options : rows) {
    const absl::Status status = Region::Create(options).status();
    INFO(status);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_FALSE(ProblemOf(status)->remedy.empty());
  }
}

TEST_CASE("after creation and after mapping every page is there, so that none faults on the data path") {
  const std::unique_ptr<Region> region = MakeRegion(256 * kPage);
  CHECK(PagesPresent(*region) == 256);
  CHECK(PagesPresent(*Region::Map(region->fd(), region->size(), true).value()) == 256);
  CHECK(PagesPresent(*Region::Map(region->fd(), region->size(), false).value()) == 256);
}

TEST_CASE("two mappings of one region see each other's bytes") {
  const std::unique_ptr<Region> ours = MakeRegion(2 * kPage);
  const std::unique_ptr<Region> theirs = Region::Map(ours->fd(), 100, true).value();
  CHECK(theirs->size() == 100);
  CHECK(theirs->data() != ours->data());
  CHECK(theirs->fd() != ours->fd());
  ours->data()[99] = 7;
  CHECK(theirs->data()[99] == 7);
  theirs->data()[0] = 8;
  CHECK(ours->data()[0] == 8);
}

TEST_CASE("a mapping outlives the region and the descriptor it was made from") {
  std::unique_ptr<Region> ours = MakeRegion(kPage);
  ours->data()[5] = 42;
  const std::unique_ptr<Region> theirs = Region::Map(ours->fd(), kPage, false).value();
  ours.reset();
  CHECK(theirs->data()[5] == 42);
}

TEST_CASE("a peer that announces more than its file holds is refused") {
  const std::unique_ptr<Region> region = MakeRegion(kPage);
  for (const size_t bytes : {size_t{0}, kPage + 1, size_t{1} << 40, SIZE_MAX}) {
    const absl::Status status = Region::Map(region->fd(), bytes, true).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(TextOf(status), Catch::Contains(absl::StrCat(bytes, " bytes announced, the file has 4096")));
  }
}

TEST_CASE("a file that could shrink under us is refused") {
  const int unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  REQUIRE(ftruncate(unsealed, kPage) == 0);
  CHECK(Region::Map(unsealed, kPage, true).status().code() == absl::StatusCode::kFailedPrecondition);
  REQUIRE(fcntl(unsealed, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  CHECK(Region::Map(unsealed, kPage, true).ok());
  close(unsealed);

  const int ordinary = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  CHECK(Region::Map(ordinary, kPage, false).status().code() == absl::StatusCode::kFailedPrecondition);
  close(ordinary);
  CHECK(ProblemOf(Region::Map(-1, kPage, true).status())->error_number == EBADF);
}

TEST_CASE("whoever holds the descriptor can change neither size nor seals") {
  const std::unique_ptr<Region> region = MakeRegion(2 * kPage);
  CHECK(ftruncate(region->fd(), kPage) == -1);
  CHECK(errno == EPERM);
  CHECK(ftruncate(region->fd(), 3 * kPage) == -1);
  CHECK(errno == EPERM);
  CHECK((fcntl(region->fd(), F_GET_SEALS) & F_SEAL_SHRINK) != 0);
}

TEST_CASE("through a read-only descriptor a peer reads, and cannot write") {
  const std::unique_ptr<Region> region = MakeRegion(kPage);
  region->data()[9] = 99;
  const int fd = region->OpenReadOnly().value();

  CHECK(Region::Map(fd, kPage, false).value()->data()[9] == 99);
  CHECK(Region::Map(fd, kPage, true).status().code() == absl::StatusCode::kPermissionDenied);
  CHECK(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  CHECK(errno == EACCES);
  void* mapped = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
  REQUIRE(mapped != MAP_FAILED);
  CHECK(mprotect(mapped, kPage, PROT_READ | PROT_WRITE) == -1);
  munmap(mapped, kPage);
  CHECK(pwrite(fd, "x", 1, 0) == -1);
  close(fd);
}

TEST_CASE("a region contains what lies wholly inside it") {
  const std::unique_ptr<Region> region = MakeRegion(kPage);
  const uint8_t* start = region->data();
  const uint8_t* end = start + kPage;
  CHECK(region->Contains(start, kPage));
  CHECK(region->Contains(end - 1, 1));
  CHECK(region->Contains(end, 0));
  CHECK_FALSE(region->Contains(start, kPage + 1));
  CHECK_FALSE(region->Contains(end - 1, 2));
  CHECK_FALSE(region->Contains(start + 1, SIZE_MAX));
  CHECK_FALSE(region->Contains(start - 1, 1));
  CHECK_FALSE(region->Contains(end + 1, 0));
  CHECK_FALSE(region->Contains(nullptr, 1));
}

TEST_CASE("the first node holds what is asked to live there, and a node that is not there is refused") {
  const absl::StatusOr<std::unique_ptr<Region>> first = Region::Create({.bytes = kPage, .node = NodeId(0)});
  // ENOSYS and EPERM: kernels and containers that do not let us choose, which must say so.
  if (first.ok()) CHECK((*first)->node() == NodeId(0));
  if (!first.ok()) CHECK_THAT(TextOf(first.status()), Catch::Contains("place on NUMA node 0"));

  for (const int16_t node : {int16_t{1000}, int16_t{1024}, int16_t{32767}}) {
    const absl::Status status = Region::Create({.bytes = kPage, .node = NodeId(node)}).status();
    CHECK_FALSE(status.ok());
    CHECK_THAT(TextOf(status), Catch::Contains(absl::StrCat("place on NUMA node ", node)));
  }
}

TEST_CASE("a lock beyond RLIMIT_MEMLOCK is refused with the figures and how to raise it") {
  const std::string text =
      RefusalUnder(RLIMIT_MEMLOCK, 64 << 10, {.name = "frames", .bytes = 1 << 20, .lock = true});
  CHECK_THAT(text, Catch::Contains("region frames: lock memory"));
  CHECK_THAT(text, Catch::Contains("1048576 bytes to lock, RLIMIT_MEMLOCK allows 65536 in all"));
  CHECK_THAT(text, Catch::Contains("ulimit -l 1024"));
  CHECK_THAT(text, Catch::Contains("LimitMEMLOCK=1024K"));
  CHECK_THAT(text, Catch::Contains("/etc/security/limits.conf"));
}

TEST_CASE("a lock within RLIMIT_MEMLOCK is taken, and without a lock no limit is needed") {
  CHECK(RefusalUnder(RLIMIT_MEMLOCK, 64 << 10, {.bytes = 32 << 10, .lock = true}) == "made");
  CHECK(RefusalUnder(RLIMIT_MEMLOCK, 0, {.bytes = 1 << 20, .lock = false}) == "made");
}

TEST_CASE("more memory than there is is refused up front, and not left to the OOM killer") {
  // The file size limit is a net for this machine, should the check fail.
  const std::string text = RefusalUnder(RLIMIT_FSIZE, 1 << 30, {.bytes = size_t{1} << 45});
  CHECK_THAT(text,
             Catch::Contains("region sluice: allocate memory: needs 35184372088832 bytes, available are "));
}

TEST_CASE("regions made, mapped and refused leave no descriptor behind") {
  const size_t before = OpenFiles();
  for (int i = 0; i < 50; ++i) {
    const std::unique_ptr<Region> region = MakeRegion(kPage);
    CHECK(Region::Map(region->fd(), kPage, true).ok());
    CHECK_FALSE(Region::Map(region->fd(), 2 * kPage, true).ok());
    CHECK_FALSE(Region::Create({.bytes = kPage, .node = NodeId(1000)}).ok());
    close(region->OpenReadOnly().value());
  }
  CHECK(OpenFiles() == before);
}

}  // namespace
}  // namespace sluice

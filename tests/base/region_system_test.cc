// SPDX-License-Identifier: Apache-2.0
// What a region does with huge pages, which only root can make free, and against peers of another user.
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "sluice/base/region.h"
#include "sluice/base/status.h"
#include "tests/support/process.h"

namespace sluice {
namespace {

using testing::Process;

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = 2 << 20;
constexpr uid_t kNobodyUser = 65534;

size_t HugePageCount(const char* file) {
  size_t pages = 0;
  std::ifstream(absl::StrCat("/sys/kernel/mm/hugepages/hugepages-2048kB/", file)) >> pages;
  return pages;
}

size_t FreeHugePages() { return HugePageCount("free_hugepages") - HugePageCount("resv_hugepages"); }

// Adds huge pages to those that the machine has, for others may be using them, and takes as many away again.
class MoreHugePages {
 public:
  explicit MoreHugePages(size_t pages) : pages_(pages) { Set(HugePageCount("nr_hugepages") + pages_); }
  ~MoreHugePages() { Set(HugePageCount("nr_hugepages") - pages_); }

 private:
  static void Set(size_t pages) {
    std::ofstream("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages") << pages;
  }

  const size_t pages_;
};

// Leaves `rest` huge pages to be had: the kernel promises the others to a mapping that nobody touches.
class FewHugePages {
 public:
  explicit FewHugePages(size_t rest) : length_((FreeHugePages() - rest) * kHugePage) {
    if (length_ == 0) return;
    address_ =
        mmap(nullptr, length_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
  }
  ~FewHugePages() {
    if (length_ != 0) munmap(address_, length_);
  }

 private:
  const size_t length_;
  void* address_ = MAP_FAILED;
};

TEST_CASE("huge pages are used where enough are free, and given back") {
  const MoreHugePages more(4);
  const size_t before = FreeHugePages();
  REQUIRE(before >= 4);
  for (const HugePages mode : {HugePages::kPrefer, HugePages::kRequire}) {
    const std::unique_ptr<Region> region =
        Region::Create({.bytes = 3 * kHugePage + 1, .huge_pages = mode}).value();
    CHECK(region->page_size() == kHugePage);
    CHECK(region->size() == 4 * kHugePage);
    CHECK(FreeHugePages() == before - 4);
    region->bytes().back() = 1;
    const std::unique_ptr<Region> peer = Region::Map(region->fd(), 3 * kHugePage + 1, true).value();
    CHECK(peer->page_size() == kHugePage);
  }
  CHECK(FreeHugePages() == before);
}

TEST_CASE("too few huge pages are refused when required, and replaced by plain ones when preferred") {
  const MoreHugePages more(2);
  const FewHugePages few(2);
  const RegionOptions options{.bytes = 3 * kHugePage, .huge_pages = HugePages::kRequire};
  const absl::Status status = Region::Create(options).status();
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(status.message()), Catch::Contains("huge_pages=require"));
  CHECK_THAT(std::string(status.message()), Catch::Contains("3 needed, 2 free"));
  CHECK_THAT(std::string(status.message()), Catch::Contains("vm.nr_hugepages"));

  CHECK(Region::Create({.bytes = 3 * kHugePage}).value()->page_size() == kPage);
  CHECK(FreeHugePages() == 2);
}

TEST_CASE("a region smaller than a huge page takes one only when required") {
  const MoreHugePages more(1);
  CHECK(Region::Create({.bytes = kPage}).value()->page_size() == kPage);
  CHECK(Region::Create({.bytes = kPage, .huge_pages = HugePages::kRequire}).value()->page_size() ==
        kHugePage);
}

TEST_CASE("huge pages are placed on a node as plain ones are") {
  const MoreHugePages more(1);
  const RegionOptions options{.bytes = kHugePage, .huge_pages = HugePages::kRequire, .node = NodeId(0)};
  CHECK(Region::Create(options).value()->node() == NodeId(0));
}

// Whether a process of another user, which holds `fd` for reading, gets from there to writing.
bool OtherUserReopensForWriting(int fd) {
  Process peer = Process::Fork([fd] {
    if (setuid(kNobodyUser) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0)
      return 2;  // dumpable: /proc/self is its own
    return open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDWR | O_CLOEXEC) >= 0 ? 1 : 0;
  });
  const int answer = peer.Wait(absl::Seconds(10));
  REQUIRE(answer <= 1);
  return answer == 1;
}

TEST_CASE("a peer of another user cannot turn a read-only descriptor into one that writes") {
  const std::unique_ptr<Region> region = Region::Create({.bytes = kPage}).value();
  const int read_only = region->OpenReadOnly().value();
  CHECK_FALSE(OtherUserReopensForWriting(read_only));
  close(read_only);

  const int careless = memfd_create("careless", MFD_CLOEXEC);  // as memfds are by default: the trap is real
  CHECK(OtherUserReopensForWriting(careless));
  close(careless);
}

}  // namespace
}  // namespace sluice

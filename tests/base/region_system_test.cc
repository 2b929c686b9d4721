// SPDX-License-Identifier: Apache-2.0
// What a region does with huge pages, which only root can make free, and against peers of another user.
#include <fcntl.h>
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

// Gives the machine as many huge pages as asked, and what it had before when this goes away.
class HugePagePool {
 public:
  explicit HugePagePool(size_t pages) : before_(Read()) { Write(pages); }
  ~HugePagePool() { Write(before_); }

  static size_t Free() { return ReadFrom("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"); }

 private:
  static constexpr const char* kFile = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

  static size_t ReadFrom(const char* path) {
    size_t pages = 0;
    std::ifstream(path) >> pages;
    return pages;
  }
  static size_t Read() { return ReadFrom(kFile); }
  static void Write(size_t pages) { std::ofstream(kFile) << pages; }

  const size_t before_;
};

TEST_CASE("huge pages are used where enough are free, and given back") {
  const HugePagePool pool(4);
  REQUIRE(HugePagePool::Free() == 4);
  for (const HugePages mode : {HugePages::kPrefer, HugePages::kRequire}) {
    const std::unique_ptr<Region> region =
        Region::Create({.bytes = 3 * kHugePage + 1, .huge_pages = mode}).value();
    CHECK(region->page_size() == kHugePage);
    CHECK(region->size() == 4 * kHugePage);
    CHECK(HugePagePool::Free() == 0);
    region->bytes().back() = 1;
    const std::unique_ptr<Region> peer = Region::Map(region->fd(), 3 * kHugePage + 1, true).value();
    CHECK(peer->page_size() == kHugePage);
  }
  CHECK(HugePagePool::Free() == 4);
}

TEST_CASE("too few huge pages are refused when required, and replaced by plain ones when preferred") {
  const HugePagePool pool(2);
  const RegionOptions options{.bytes = 3 * kHugePage, .huge_pages = HugePages::kRequire};
  const absl::Status status = Region::Create(options).status();
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(status.message()), Catch::Contains("huge_pages=require"));
  CHECK_THAT(std::string(status.message()), Catch::Contains("3 needed, 2 free"));
  CHECK_THAT(std::string(status.message()), Catch::Contains("vm.nr_hugepages"));

  CHECK(Region::Create({.bytes = 3 * kHugePage}).value()->page_size() == kPage);
  CHECK(HugePagePool::Free() == 2);
}

TEST_CASE("a region smaller than a huge page takes one only when required") {
  const HugePagePool pool(1);
  CHECK(Region::Create({.bytes = kPage}).value()->page_size() == kPage);
  CHECK(Region::Create({.bytes = kPage, .huge_pages = HugePages::kRequire}).value()->page_size() ==
        kHugePage);
}

TEST_CASE("huge pages are placed on a node as plain ones are") {
  const HugePagePool pool(1);
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

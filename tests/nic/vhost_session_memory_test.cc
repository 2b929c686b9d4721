// SPDX-License-Identifier: Apache-2.0
// The guest's memory: mapped, changed under rings that run, and unmapped; and the log of what was written.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "sluice/base/status.h"
#include "tests/nic/vhost_messages.h"
#include "tests/support/footprint.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::EventFd;
using testing::Footprint;
using testing::SharedFile;
using testing::SharedMappings;
using testing::SingleOf;
using testing::TableOf;
using testing::VhostScene;
using Notes = std::vector<std::string>;
using Request = VhostRequest;

// Another region than that of the scene's guest, behind it for the guest and elsewhere for the front-end.
constexpr VhostMemoryRegion kMore = {
    .guest = 0x1'0000'0000, .bytes = 64 * 4096, .user = 0x7f99'0000'0000, .offset = 0};

struct RunningScene : VhostScene {
  RunningScene() {
    Greet();
    ShareMemory();
    SetUpRing(0);
    Notes();
  }
  const GuestMemory& memory() { return *backend.ring(0).place.memory; }
};

TEST_CASE("the guest's memory is where the front-end says, by both addresses, and shared") {
  RunningScene scene;
  GuestMemory::Hint hint;
  const absl::Span<uint8_t> found = scene.memory().At(scene.guest.kGuest + 5, 3, hint);
  REQUIRE(found.size() == 3);
  CHECK(found.data() == scene.memory().AtUser(scene.guest.kUser + 5, 3));
  found[0] = 42;
  uint8_t byte = 0;
  CHECK(pread(scene.guest.file.get(), &byte, 1, 5) == 1);
  CHECK(byte == 42);
}

TEST_CASE("a region may begin anywhere in its file") {
  VhostScene scene;
  scene.Greet();
  VhostMemoryRegion region = scene.guest.region();
  region.offset = 0x2340;
  region.bytes -= 0x10000;
  scene.Tell(Request::kSetMemTable, TableOf({region}), {scene.guest.file.get()});
  scene.SetUpRing(0);
  scene.backend.ring(0).place.memory->AtUser(region.user, 1)[0] = 43;
  uint8_t byte = 0;
  CHECK(pread(scene.guest.file.get(), &byte, 1, 0x2340) == 1);
  CHECK(byte == 43);
}

TEST_CASE(
    "regions are added and removed while rings run, which rest meanwhile, and those that stay are not "
    "mapped again") {
  RunningScene scene;
  uint8_t* const before = scene.memory().regions()[0].here;
  const UniqueFd file = SharedFile(kMore.bytes);
  scene.Tell(Request::kAddMemReg, SingleOf(kMore), {file.get()});
  CHECK(scene.Notes() == Notes{"rest 0", "resume 0"});
  REQUIRE(scene.memory().regions().size() == 2);
  CHECK(scene.memory().regions()[0].here == before);
  scene.Tell(Request::kRemMemReg, SingleOf(kMore), {file.get()});
  CHECK(scene.Notes() == Notes{"rest 0", "resume 0"});
  CHECK(scene.memory().regions().size() == 1);
  CHECK(scene.Complaint().empty());
}

TEST_CASE("a region may be added twice, and removed twice: QEMU 7.2 says so for each queue pair") {
  RunningScene scene;
  const UniqueFd file = SharedFile(kMore.bytes);
  for (int pair = 0; pair < 2; ++pair) scene.Tell(Request::kAddMemReg, SingleOf(kMore), {file.get()});
  CHECK(scene.memory().regions().size() == 2);
  for (int pair = 0; pair < 2; ++pair) scene.Tell(Request::kRemMemReg, SingleOf(kMore));
  CHECK(scene.memory().regions().size() == 1);
  CHECK(scene.Complaint().empty());
}

TEST_CASE("a table that is sent again maps nothing again, and one that grows only what is new") {
  RunningScene scene;
  uint8_t* const before = scene.memory().regions()[0].here;
  scene.ShareMemory();
  CHECK(scene.memory().regions()[0].here == before);
  const UniqueFd file = SharedFile(kMore.bytes);
  scene.Tell(Request::kSetMemTable, TableOf({kMore, scene.guest.region()}),
             {file.get(), scene.guest.file.get()});
  REQUIRE(scene.memory().regions().size() == 2);
  CHECK(scene.memory().regions()[1].here == before);
}

TEST_CASE("a region of the same addresses in another file is another region") {
  RunningScene scene;
  uint8_t* const before = scene.memory().regions()[0].here;
  const std::shared_ptr<const GuestMemory> held = scene.backend.ring(0).place.memory;
  const UniqueFd other = SharedFile(scene.guest.kBytes);
  scene.Tell(Request::kSetMemTable, TableOf({scene.guest.region()}), {other.get()});
  CHECK(scene.memory().regions()[0].here != before);
}

TEST_CASE("who holds the old table goes on with it, until it lets go") {
  const UniqueFd file = SharedFile(kMore.bytes);
  RunningScene scene;
  scene.Tell(Request::kAddMemReg, SingleOf(kMore), {file.get()});
  std::shared_ptr<const GuestMemory> held = scene.backend.ring(0).place.memory;
  const size_t before = SharedMappings();
  scene.Tell(Request::kRemMemReg, SingleOf(kMore));
  GuestMemory::Hint hint;
  held->At(kMore.guest, 1, hint)[0] = 1;
  CHECK(SharedMappings() == before);
  held.reset();
  CHECK(SharedMappings() == before - 1);
}

TEST_CASE("a ring whose memory goes rests until it is there again") {
  RunningScene scene;
  const VhostMemoryRegion region = scene.guest.region();
  scene.Tell(Request::kRemMemReg, SingleOf(region));
  CHECK(scene.Notes() == Notes{"rest 0"});
  CHECK_FALSE(scene.session->Snapshot().rings[0].runs);
  scene.Tell(Request::kSetFeatures, VhostScene::kTaken | kVhostLogAll);
  CHECK(scene.Complaint().empty());
  scene.Tell(Request::kAddMemReg, SingleOf(region), {scene.guest.file.get()});
  const Notes notes = scene.Notes();
  CHECK(notes.back() == "resume 0");
  CHECK(scene.session->Snapshot().rings[0].runs);
}

TEST_CASE("a ring that rests for want of memory can be stopped") {
  RunningScene scene;
  scene.Tell(Request::kRemMemReg, SingleOf(scene.guest.region()));
  scene.Ask(Request::kGetVringBase, BytesOf(VhostRingState{0, 0}));
  CHECK(scene.Notes() == Notes{"rest 0", "stop 0"});
}

TEST_CASE("509 regions are held, one more is refused") {
  RunningScene scene;
  CHECK(scene.Ask(Request::kGetMaxMemSlots).Number() == 509);
  VhostMemoryRegion region = kMore;
  region.bytes = 4096;
  for (size_t i = 1; i < 510; ++i) {
    REQUIRE(scene.Complaint().empty());
    scene.front.Send(Request::kAddMemReg, SingleOf(region), {scene.guest.file.get()});
    scene.session->Service();
    region.guest += 4096;
    region.user += 4096;
  }
  CHECK(scene.Complaint() == "ADD_MEM_REG: more regions than GET_MAX_MEM_SLOTS said");
}

TEST_CASE("descriptors of regions are closed once they are mapped, and mappings go with the front-end") {
  const size_t before = SharedMappings();
  {
    RunningScene scene;
    const UniqueFd file = SharedFile(kMore.bytes);
    const size_t descriptors = Footprint::Now().descriptors;
    scene.Tell(Request::kAddMemReg, SingleOf(kMore), {file.get()});
    CHECK(Footprint::Now().descriptors == descriptors);
    const size_t mappings = SharedMappings();
    scene.front.HangUp();
    scene.Serve();
    CHECK(SharedMappings() == mappings - 2);
  }
  CHECK(SharedMappings() == before);
}

TEST_CASE("a memfd is sealed so that it can't shrink under us, and a file that can is told") {
  RunningScene scene;
  CHECK(scene.session->Snapshot().regions[0].sealed);
  CHECK(ftruncate(scene.guest.file.get(), 0) != 0);
  const std::string path = scene.folder.file("memory");
  const UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(ftruncate(file.get(), static_cast<off_t>(kMore.bytes)) == 0);
  scene.Tell(Request::kAddMemReg, SingleOf(kMore), {file.get()});
  CHECK_FALSE(scene.session->Snapshot().regions.at(1).sealed);
}

TEST_CASE("memory that isn't shared is told apart, with what to set in QEMU, libvirt and cloud-hypervisor") {
  VhostScene scene;
  scene.Greet();
  const UniqueFd event = EventFd();
  const UniqueFd reader(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  switch (GENERATE(0, 1, 2, 3)) {
    case 0:
      scene.Tell(Request::kSetMemTable, TableOf({}));
      break;
    case 1:
      scene.Tell(Request::kSetMemTable, TableOf({scene.guest.region()}));
      break;
    case 2:
      scene.Tell(Request::kAddMemReg, SingleOf(scene.guest.region()));
      break;
    case 3:
      scene.Tell(Request::kSetMemTable, TableOf({scene.guest.region()}), {event.get()});
      break;
  }
  REQUIRE_FALSE(scene.backend.parting.ok());
  const std::string remedy = ProblemOf(scene.backend.parting)->remedy;
  CHECK_THAT(remedy, Catch::Contains("memory-backend-memfd,share=on") &&
                         Catch::Contains("<access mode='shared'/>") && Catch::Contains("--memory shared=on"));
}

TEST_CASE("a file that may not be written is refused") {
  VhostScene scene;
  scene.Greet();
  const std::string path = "/proc/self/fd/" + std::to_string(scene.guest.file.get());
  const UniqueFd read_only(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  scene.Tell(Request::kSetMemTable, TableOf({scene.guest.region()}), {read_only.get()});
  CHECK_THAT(scene.Complaint(), Catch::EndsWith("its file can't be mapped"));
}

TEST_CASE("what a ring writes is logged where the front-end reads it, and no more once logging ends") {
  RunningScene scene;
  const uint64_t bytes = 0x40100000 / 4096 / 8;
  const UniqueFd file = SharedFile(2 * bytes);
  CHECK(scene.Ask(Request::kSetLogBase, BytesOf(VhostLogArea{bytes, bytes}), {file.get()}).Number() == 0);
  CHECK(scene.backend.ring(0).place.log == nullptr);
  scene.Tell(Request::kSetFeatures, VhostScene::kTaken | kVhostLogAll);
  CHECK(scene.Notes() == Notes{"rest 0", "resume 0", "rest 0", "features 144000000", "resume 0"});
  REQUIRE(scene.backend.ring(0).place.log != nullptr);
  scene.backend.ring(0).place.log->Mark(scene.guest.kGuest, 1);
  uint8_t bits = 0;
  CHECK(pread(file.get(), &bits, 1, static_cast<off_t>(bytes + scene.guest.kGuest / 4096 / 8)) == 1);
  CHECK(bits == 1);
  const size_t mappings = SharedMappings();
  scene.Tell(Request::kSetFeatures, VhostScene::kTaken);
  CHECK(scene.backend.ring(0).place.log == nullptr);
  CHECK(SharedMappings() == mappings - 1);
}

TEST_CASE("a driver that is ready while no memory is shared ends the connection, with what to set") {
  VhostScene scene;
  scene.Greet();
  scene.SetUpRing(0);
  scene.Tell(Request::kSetStatus, 0xb);
  CHECK(scene.Complaint() == "");
  scene.Tell(Request::kSetStatus, 0xf);
  CHECK_THAT(scene.Complaint(), Catch::StartsWith("SET_STATUS: ") && Catch::Contains("no memory"));
  CHECK_THAT(std::string(scene.session->Snapshot().last_error.message()), Catch::Contains("share=on"));
}

TEST_CASE("a log that ends before the memory does, or past its file, is refused") {
  const uint64_t bytes = 0x40100000 / 4096 / 8;
  const VhostLogArea area =
      GENERATE_COPY(VhostLogArea{bytes - 1, 0}, VhostLogArea{bytes, 1}, VhostLogArea{bytes + 1, 0},
                    VhostLogArea{bytes, ~uint64_t{0} - 10}, VhostLogArea{~uint64_t{0}, 8});
  RunningScene scene;
  const UniqueFd file = SharedFile(bytes);
  scene.Tell(Request::kSetLogBase, BytesOf(area), {file.get()});
  CHECK_THAT(scene.Complaint(), Catch::StartsWith("SET_LOG_BASE: "));
}

}  // namespace
}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// A peer that speaks the protocol and means harm: it writes what it likes into its own board, at any time.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>

#include "base/unique_fd_internal.h"
#include "nic/wire/shm_link_internal.h"
#include "nic/wire/shm_socket_internal.h"
#include "tests/support/seed.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Below;
using testing::PrintedSeed;
using testing::Random;
using testing::ShmEnd;
using testing::TempFolder;
using testing::UntilDown;

constexpr uint32_t kRing = 16;
constexpr size_t kPacketBytes = 64 * 1024;

// Connects to a server and greets it by hand. What it sends can be changed before Greet.
class Villain {
 public:
  explicit Villain(const std::string& path) : connection_(ConnectShm(path)) {
    hello.lanes = 1;
    hello.ring = kRing;
    hello.board_bytes = ShmBoard::BytesFor(1, kRing);
    hello.packet_bytes = kPacketBytes;
    board_region_ = MakeRegion(hello.board_bytes);
    packets_ = MakeRegion(kPacketBytes);
    board = ShmBoard(board_region_->data(), hello);
    int pair[2] = {-1, -1};
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair);
    doorbell_ = UniqueFd(pair[0]);
    bell_ = UniqueFd(pair[1]);
    fds = {board_region_->fd(), packets_->fd(), bell_.get()};
  }

  bool Greet() { return SendHello(connection_.get(), hello, fds); }
  void SendRaw(const std::string& bytes) {
    send(connection_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  void HangUp() { connection_ = UniqueFd(); }

  // Publishes one descriptor.
  void Publish(uint64_t place, uint64_t meta = 0) {
    const size_t slot = produced_++ % kRing;
    board.places(0)[slot] = place;
    board.metas(0)[slot] = meta;
    board.out(0).produced = produced_;
  }

  ShmHello hello;
  std::array<int, kShmHelloFds> fds;
  ShmBoard board;

 private:
  static std::unique_ptr<Region> MakeRegion(size_t bytes) {
    auto region = Region::Create({.bytes = bytes, .huge_pages = HugePages::kOff});
    REQUIRE(region.ok());
    REQUIRE(SealForPeers(**region).ok());
    return *std::move(region);
  }

  UniqueFd connection_;
  std::unique_ptr<Region> board_region_;
  std::unique_ptr<Region> packets_;
  UniqueFd doorbell_, bell_;
  uint64_t produced_ = 0;
};

// A server and a villain that has been let in.
struct Scene {
  Scene() : victim(folder.file("wire"), {.end = {.ring = kRing}}), villain(folder.file("wire")) {
    REQUIRE(villain.Greet());
    victim.Service();
    REQUIRE(victim.up());
  }
  // What the victim says of its link once it has looked at what came.
  std::string Verdict() {
    while (!victim.Receive().empty()) {
    }
    victim.wire().Reclaim(0);
    victim.Service();
    return victim.up() ? "up" : victim.wire().link_detail();
  }
  void CheckWhole() {
    CHECK(victim.wire().drops()[DropReason::kDeviceError] == 1);
    CHECK(victim.out() == 0);
  }

  TempFolder folder;
  ShmEnd victim;
  Villain villain;
};

TEST_CASE("a shared-memory peer that keeps the rules is believed") {
  Scene scene;
  scene.villain.Publish(ShmPlace(0, 60));
  Burst burst;
  CHECK(scene.victim.wire().Receive(burst) == 1);
  CHECK(scene.Verdict() == "up");
}

TEST_CASE("a descriptor that reaches outside the peer's region ends the connection") {
  const uint64_t place =
      GENERATE(ShmPlace(kPacketBytes, 1), ShmPlace(kPacketBytes - 59, 60), ShmPlace(kShmMaxRegion - 1, 60),
               ShmPlace(0, 0), ShmPlace(0, 65536), ShmPlace(0, 0x1fffff), ~uint64_t{0}, kShmShort,
               ShmPlace(0, kShmShortFrame + 1) | kShmShort, ShmPlace(0, 60) | kShmShort | kShmMore);
  Scene scene;
  scene.villain.Publish(place);
  CHECK(scene.Verdict() == Meaning(ShmViolation::kDescriptor));
  scene.CheckWhole();
}

TEST_CASE("frames before a bad descriptor are delivered, those after it are not") {
  Scene scene;
  scene.villain.Publish(ShmPlace(0, 60));
  scene.villain.Publish(ShmPlace(64, 70));
  scene.villain.Publish(ShmPlace(kPacketBytes, 60));
  scene.villain.Publish(ShmPlace(128, 80));
  Burst burst;
  CHECK(scene.victim.wire().Receive(burst) == 2);
  CHECK(burst[1].length() == 70);
  CHECK(scene.victim.wire().Receive(burst) == 0);
}

TEST_CASE("the last byte of the peer's region is still its own to send") {
  Scene scene;
  scene.villain.Publish(ShmPlace(kPacketBytes - 60, 60));
  Burst burst;
  CHECK(scene.victim.wire().Receive(burst) == 1);
  CHECK(scene.Verdict() == "up");
}

TEST_CASE("a producer index beyond the ring, or behind what was taken, ends the connection") {
  const uint64_t produced = GENERATE(uint64_t{2 + kRing + 1}, uint64_t{1}, uint64_t{0}, ~uint64_t{0});
  Scene scene;
  scene.villain.Publish(ShmPlace(0, 60));
  scene.villain.Publish(ShmPlace(0, 60));
  Burst burst;
  REQUIRE(scene.victim.wire().Receive(burst) == 2);
  burst.Clear();
  scene.villain.board.out(0).produced = produced;
  CHECK(scene.Verdict() == Meaning(ShmViolation::kProduced));
  scene.CheckWhole();
}

TEST_CASE("a consumer index beyond what was sent, or running back, ends the connection") {
  const uint64_t consumed = GENERATE(uint64_t{6}, uint64_t{1}, ~uint64_t{0});
  Scene scene;
  REQUIRE(scene.victim.Send(0, 5) == 5);
  scene.villain.board.in(0).consumed = 2;
  REQUIRE(scene.victim.wire().Reclaim(0) == 2);
  scene.villain.board.in(0).consumed = consumed;
  CHECK(scene.Verdict() == Meaning(ShmViolation::kConsumed));
  CHECK(scene.victim.wire().drops()[DropReason::kLinkDown] == 3);
  scene.CheckWhole();
}

TEST_CASE("a frame without its last piece, or longer than any frame, ends the connection") {
  Scene scene;
  SECTION("the ring ends first") {
    scene.villain.Publish(ShmPlace(0, 60) | kShmMore);
    CHECK(scene.Verdict() == Meaning(ShmViolation::kUnfinished));
  }
  SECTION("the pieces add up to too much") {
    for (int i = 0; i < 3; ++i) scene.villain.Publish(ShmPlace(0, 30'000) | kShmMore);
    CHECK(scene.Verdict() == Meaning(ShmViolation::kDescriptor));
  }
  scene.CheckWhole();
}

TEST_CASE("a request that no packet can carry ends the connection") {
  const uint64_t meta = GENERATE(uint64_t{1} << 12, uint64_t{1} << 15, uint64_t{8} /* segments of nothing */);
  Scene scene;
  scene.villain.Publish(ShmPlace(0, 60) | kShmTells, meta);
  CHECK(scene.Verdict() == Meaning(ShmViolation::kMeta));
  scene.CheckWhole();
}

TEST_CASE("a peer that talks after its greeting is hung up on") {
  Scene scene;
  scene.villain.SendRaw("hello again");
  CHECK(scene.Verdict() == "the peer talks out of turn");
}

TEST_CASE("a peer that greets wrongly is not let in, and the next one is") {
  TempFolder folder;
  ShmEnd victim(folder.file("wire"));
  Villain villain(folder.file("wire"));
  SECTION("magic") { villain.hello.magic = 1; }
  SECTION("version") { villain.hello.version = kShmVersion + 1; }
  SECTION("no lanes") { villain.hello.lanes = 0; }
  SECTION("too many lanes") { villain.hello.lanes = kShmMaxLanes + 1; }
  SECTION("a ring of no power of two") { villain.hello.ring = 12; }
  SECTION("a ring that its board does not hold") { villain.hello.ring = 2 * kRing; }
  SECTION("more board than the file has") { villain.hello.board_bytes = 1 << 30; }
  SECTION("more packets than the file has") { villain.hello.packet_bytes = 1 << 30; }
  SECTION("a size that overflows") { villain.hello.packet_bytes = ~uint64_t{0}; }
  SECTION("a pipe for memory") { villain.fds[0] = villain.fds[2]; }
  SECTION("memory for a doorbell") { villain.fds[2] = villain.fds[0]; }
  CHECK(villain.Greet());
  victim.Service();
  CHECK_FALSE(victim.up());
  CHECK(victim.wire().link_detail() != "no peer yet");

  ShmEnd friendly(folder.file("wire"), {.role = ShmRole::kClient});
  UntilUp(victim, friendly);
}

TEST_CASE("memory that its owner could take away is refused") {
  const UniqueFd loose(memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(ftruncate(loose.get(), kPacketBytes) == 0);
  TempFolder folder;
  ShmEnd victim(folder.file("wire"));
  Villain villain(folder.file("wire"));
  villain.fds[1] = loose.get();
  CHECK(villain.Greet());
  victim.Service();
  CHECK_FALSE(victim.up());
}

TEST_CASE("a caller that says nothing does not keep others out") {
  TempFolder folder;
  ShmEnd victim(folder.file("wire"));
  const Villain silent(folder.file("wire"));
  victim.Service();
  ShmEnd friendly(folder.file("wire"), {.role = ShmRole::kClient});
  UntilUp(victim, friendly);
}

TEST_CASE("what a peer is given of our memory it can only read, and not shrink or punch") {
  TempFolder folder;
  ShmEnd victim(folder.file("wire"));
  const UniqueFd connection = ConnectShm(folder.file("wire"));
  victim.Service();
  ShmHello hello;
  ShmFds fds;
  REQUIRE(ReceiveHello(connection.get(), hello, fds) == ShmMessage::kHello);
  for (const size_t i : {0, 1}) {
    CHECK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i].get(), 0) == MAP_FAILED);
    CHECK(ftruncate(fds[i].get(), 0) != 0);
    const std::string self = "/proc/self/fd/" + std::to_string(fds[i].get());
    const UniqueFd again(open(self.c_str(), O_RDWR | O_CLOEXEC));  // root may reopen it
    CHECK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0) == MAP_FAILED);
    CHECK(ftruncate(again.get(), 0) != 0);
    CHECK(fallocate(again.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
  }
}

// Words of every size and shape, many of them nearly right.
uint64_t Rubbish(Random& random) {
  switch (Below(random, 5)) {
    case 0:
      return random();
    case 4:
      return ShmPlace(random() % kShmMaxRegion, static_cast<uint32_t>(Below(random, 70))) | kShmShort;
    case 1:
      return Below(random, 40);
    case 2:
      return ShmPlace(Below(random, kPacketBytes + 100), static_cast<uint32_t>(Below(random, 3000)));
    default:
      return ShmPlace(Below(random, 4096), static_cast<uint32_t>(Below(random, 70'000))) | kShmMore;
  }
}

TEST_CASE("whatever a peer writes into its board, this end lives and keeps its packets") {
  Random random(PrintedSeed());
  TempFolder folder;
  ShmEnd victim(folder.file("wire"), {.end = {.ring = kRing}});
  for (int round = 0; round < 300; ++round) {
    Villain villain(folder.file("wire"));
    REQUIRE(villain.Greet());
    victim.Service();
    for (int step = 0; step < 20 && victim.up(); ++step) {
      victim.Send(0, Below(random, 4));
      for (size_t i = 0; i < kRing; ++i) {
        const uint64_t tells = Below(random, 2) == 0 ? kShmTells : 0;
        villain.board.places(0)[i] = Rubbish(random) | tells;
        villain.board.metas(0)[i] = Below(random, 2) == 0 ? 0 : Rubbish(random);
      }
      villain.board.out(0).produced += Below(random, 6);
      villain.board.in(0).consumed += Below(random, 4);
      if (Below(random, 50) == 0) villain.board.out(0).closed = Rubbish(random);
      villain.board.sleep().armed = Rubbish(random);
      for (Burst burst; victim.wire().Receive(burst) != 0;) burst.Clear();
      victim.wire().Reclaim(0);
      victim.wire().Arm();
      victim.Service();
    }
    villain.HangUp();
    while (victim.up()) victim.Service();
    victim.wire().Reclaim(0);
    REQUIRE(victim.out() == 0);
  }
}

}  // namespace
}  // namespace sluice

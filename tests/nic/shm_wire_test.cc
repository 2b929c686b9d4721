// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/shm_wire.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "nic/wire/shm_protocol_internal.h"
#include "sluice/base/status.h"
#include "tests/support/frames.h"
#include "tests/support/lender.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::MakePacket;
using testing::Range;
using testing::Readable;
using testing::ShmEnd;
using testing::ShmEndOptions;
using testing::TempFolder;
using testing::UntilDown;
using testing::UntilUp;
using testing::WireEndOptions;

// Two ends in this process that have found each other.
struct Linked {
  explicit Linked(const WireEndOptions& options = {})
      : a(folder.file("wire"), As(options, ShmRole::kServer)),
        b(folder.file("wire"), As(options, ShmRole::kClient)) {
    UntilUp(a, b);
  }
  static ShmEndOptions As(const WireEndOptions& options, ShmRole role) {
    return {.role = role, .end = options};
  }

  TempFolder folder;
  ShmEnd a, b;
};

PacketPtr SentOver(Linked& link, PacketPtr packet) {
  Burst burst;
  burst.Push(std::move(packet));
  REQUIRE(link.a.wire().Transmit(0, burst) == 1);
  REQUIRE(link.b.wire().Receive(burst) == 1);
  return burst.PopFront();
}

// As a server leaves it that was killed.
void LeaveSocketFile(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  close(fd);
}

size_t Descriptors() {
  const std::filesystem::directory_iterator open("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(open), end(open)));
}

// Of memory that is shared through a descriptor: the heap may do as it likes.
size_t Mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t shared = 0;
  for (std::string line; std::getline(maps, line);) shared += line.find("/memfd:") != std::string::npos;
  return shared;
}

}  // namespace

TEST_CASE("frames of every length cross a shared-memory wire both ways, in order, whole and once") {
  Linked link;
  for (uint32_t length = 8; length <= 1900; length += 11) {
    CHECK(link.a.Send(length, 3, length) == 3);
    CHECK(link.b.Send(length, 2, length) == 2);
    CHECK(link.b.Receive() == Range(length, length + 3));
    CHECK(link.a.Receive() == Range(length, length + 2));
  }
}

TEST_CASE("a shared-memory peer that does not receive shows as packets that are not taken") {
  Linked link({.ring = 8});
  CHECK(link.a.Send(0, 12) == 8);
  CHECK(link.a.Send(100, 1) == 0);

  CHECK(link.b.Receive() == Range(0, 8));
  CHECK(link.a.Send(8, 4) == 4);
  CHECK(link.b.Receive() == Range(8, 12));
  CHECK(link.a.wire().drops().total() == 0);
}

TEST_CASE("short packets sent over shared memory are in their pool again at once") {
  Linked link;
  link.a.Send(0, 10);
  CHECK(link.a.out() == 0);
  CHECK(link.b.Receive() == Range(0, 10));
}

TEST_CASE("long packets sent over shared memory come back to their pool once the peer has copied them") {
  Linked link;
  Burst burst;
  for (uint32_t i = 0; i < 10; ++i) burst.Push(link.a.Numbered(i, kShmShortFrame + 1));
  REQUIRE(link.a.wire().Transmit(0, burst) == 10);
  CHECK(link.a.wire().Reclaim(0) == 0);
  CHECK(link.a.out() == 10);

  CHECK(link.b.Receive() == Range(0, 10));
  CHECK(link.a.wire().Reclaim(0) == 10);
  CHECK(link.a.out() == 0);
  CHECK(link.b.out() == 0);
}

TEST_CASE("what is received is the peer's no longer: writing to the sender's buffer changes nothing") {
  Linked link;
  PacketPtr sent = link.a.Numbered(1, kShmShortFrame + 1);
  uint8_t* const buffer = sent->data();
  const PacketPtr received = SentOver(link, std::move(sent));
  buffer[0] = 99;
  CHECK(testing::NumberOf(*received) == 1);
  CHECK(received->pool() == &link.b.pool());
}

TEST_CASE("requests, verdicts and the VLAN cross with the frame") {
  Linked link;
  PacketPtr sent = link.a.Numbered(1);
  sent->offload = {.l4_checksum = true,
                   .segment = true,
                   .insert_vlan = true,
                   .fixed_ids = {.inner = true},
                   .mss = 1448,
                   .mss_override = 8948};
  sent->l3_checksum = ChecksumVerdict::kGood;
  sent->l4_checksum = ChecksumVerdict::kPartial;
  sent->vlan_tci = 0xe123;

  const PacketPtr received = SentOver(link, std::move(sent));
  CHECK((received->offload.l4_checksum && received->offload.segment && received->offload.insert_vlan));
  CHECK_FALSE((received->offload.l3_checksum || received->offload.outer_checksum || received->vlan_stripped));
  CHECK(received->offload.fixed_ids == FixedIds{.inner = true});
  CHECK(received->offload.mss == 1448);
  CHECK(received->offload.mss_override == 8948);
  CHECK(received->l3_checksum == ChecksumVerdict::kGood);
  CHECK(received->l4_checksum == ChecksumVerdict::kPartial);
  CHECK(received->vlan_tci == 0xe123);
}

TEST_CASE("a frame longer than a buffer crosses in fragments of the receiver's own size") {
  TempFolder folder;
  ShmEnd a(folder.file("wire"), {.end = {.buffer_size = 1024}});
  ShmEnd b(folder.file("wire"), {.role = ShmRole::kClient, .end = {.buffer_size = 4096}});
  UntilUp(a, b);
  for (const uint32_t length : {897u, 4000u, 9018u, 65535u}) {
    CHECK(a.Send(length, 2, length) == 2);
    CHECK(b.Receive() == Range(length, length + 2));
    CHECK(b.Send(length, 1, length) == 1);
    CHECK(a.Receive() == Range(length, length + 1));
  }
  a.wire().Reclaim(0);
  b.wire().Reclaim(0);
  CHECK(a.out() + b.out() == 0);
}

TEST_CASE("a frame in many pieces mixes with plain ones in order, and waits for room as a whole") {
  Linked link({.ring = 8});
  Burst burst;
  for (uint64_t i = 0; i < 3; ++i) {
    burst.Push(link.a.Numbered(2 * i));
    burst.Push(MakePacket(link.a.pool(), BytesOf(*link.a.Numbered(2 * i + 1, 90)), 30));
  }
  CHECK(link.a.wire().Transmit(0, burst) == 4);  // 1 + 3 + 1 + 3 descriptors of 8
  CHECK(link.b.Receive() == Range(0, 4));
  CHECK(link.a.wire().Transmit(0, burst) == 2);
  CHECK(link.b.Receive() == Range(4, 6));
  CHECK(link.a.wire().Reclaim(0) == 2);
  CHECK(link.a.out() == 0);
}

TEST_CASE("packets that the peer cannot see in our pool are copied into it first") {
  testing::CountingLender library;
  Linked link;
  ShmEnd stranger(link.folder.file("other"));
  CHECK(testing::NumberOf(*SentOver(link, stranger.Numbered(5))) == 5);

  Bytes lent = BytesOf(*stranger.Numbered(6, 5000));
  PacketPtr borrows = link.a.pool().GetOne();
  borrows->BorrowBytes(lent.data(), static_cast<uint32_t>(lent.size()), library, 0);
  CHECK(testing::NumberOf(*SentOver(link, std::move(borrows))) == 6);
  CHECK(library.returned == 1);
  CHECK(stranger.out() == 0);
}

TEST_CASE("frames that no wire can carry are counted, not sent") {
  Linked link;
  Burst burst;
  burst.Push(link.a.pool().GetOne());                     // no byte at all
  burst.Push(MakePacket(link.a.pool(), Bytes(65536)));    // one too many
  burst.Push(MakePacket(link.a.pool(), Bytes(1000), 1));  // more pieces than the ring has places
  burst.Push(link.a.Numbered(1));
  CHECK(link.a.wire().Transmit(0, burst) == 4);
  CHECK(link.a.Lost(DropReason::kTooShort) == 1);
  CHECK(link.a.Lost(DropReason::kTooLong) == 2);
  CHECK(link.b.Receive() == Range(1, 2));
}

TEST_CASE("frames wait with the sender while the receiver's pool is dry") {
  Linked link({.packets = 64});
  Burst hoard;
  link.b.pool().Get(hoard, 60);
  CHECK(link.a.Send(0, 20) == 20);
  Burst burst;
  CHECK(link.b.wire().Receive(burst) == 4);
  CHECK(link.b.wire().Receive(burst) == 0);
  hoard.Clear();
  CHECK(link.b.wire().Receive(burst) == 16);
  CHECK(link.b.wire().drops().total() == 0);
}

TEST_CASE("lanes keep their own order and share the receiver's bursts") {
  Linked link({.lanes = 3});
  for (uint16_t lane = 0; lane < 3; ++lane) {
    Burst burst;
    for (uint64_t i = 0; i < 40; ++i) burst.Push(link.a.Numbered(lane * 100u + i));
    CHECK(link.a.wire().Transmit(lane, burst) == 40);
  }
  const std::vector<uint64_t> numbers = link.b.Receive();
  CHECK(numbers.size() == 120);
  for (uint64_t lane = 0; lane < 3; ++lane) {
    std::vector<uint64_t> own;
    for (const uint64_t number : numbers) {
      if (number / 100 == lane) own.push_back(number);
    }
    CHECK(own == Range(lane * 100, lane * 100 + 40));
  }
}

TEST_CASE("an armed end is woken once by what arrives, and not while it is awake") {
  Linked link;
  link.b.Receive();
  REQUIRE(link.b.wire().Arm());
  CHECK_FALSE(Readable(link.b.wire().fd()));
  link.a.Send(0, 1);
  CHECK(Readable(link.b.wire().fd()));

  CHECK(link.b.Receive() == Range(0, 1));
  CHECK_FALSE(Readable(link.b.wire().fd()));
  link.a.Send(1, 1);
  CHECK_FALSE(Readable(link.b.wire().fd()));
  CHECK_FALSE(link.b.wire().Arm());  // one waits: do not sleep
}

TEST_CASE("an end that armed before there was a peer is woken when one comes") {
  TempFolder folder;
  ShmEnd a(folder.file("wire"));
  REQUIRE(a.wire().Arm());
  ShmEnd b(folder.file("wire"), {.role = ShmRole::kClient});
  UntilUp(a, b);
  CHECK(Readable(a.wire().fd()));
  CHECK(a.Receive().empty());
  REQUIRE(a.wire().Arm());
  CHECK_FALSE(Readable(a.wire().fd()));
  b.Send(0, 1);
  CHECK(Readable(a.wire().fd()));
}

TEST_CASE("without a peer nothing is taken and nothing is lost") {
  TempFolder folder;
  ShmEnd a(folder.file("wire"));
  CHECK(a.Send(0, 5) == 0);
  CHECK(a.Receive().empty());
  CHECK(a.wire().drops().total() == 0);
  CHECK(a.out() == 0);
}

TEST_CASE("when the receiver closes, what it had not received is counted at the sender") {
  Linked link;
  link.a.Send(0, 64 + 20);
  Burst burst;
  CHECK(link.b.wire().Receive(burst) == 64);
  link.b.wire().Close();

  UntilDown(link.a);
  CHECK(link.a.wire().link_detail() == "the peer is gone");
  CHECK(link.a.wire().Reclaim(0) == 84);
  CHECK(link.a.Lost(DropReason::kLinkDown) == 20);
  CHECK(link.a.out() == 0);
}

TEST_CASE("when the sender closes, what the peer had not received is counted as stopped, and not delivered") {
  Linked link;
  link.a.Send(0, 20);
  link.a.wire().Close();
  CHECK(link.a.out() == 0);
  CHECK(link.a.Lost(DropReason::kStopped) == 20);

  CHECK(link.b.Receive().empty());
  UntilDown(link.b);
  CHECK(link.b.Receive().empty());
  CHECK(link.b.wire().drops().total() == 0);
}

TEST_CASE("either end may come back, and traffic starts afresh") {
  Linked link;
  for (int round = 0; round < 20; ++round) {
    ShmEnd& leaver = round % 2 == 0 ? link.a : link.b;
    link.a.Send(7, 3);
    leaver.wire().Close();
    leaver.Reopen();
    UntilDown(&leaver == &link.a ? link.b : link.a);
    UntilUp(link.a, link.b);
    CHECK(link.a.Send(0, 5) == 5);
    CHECK(link.b.Send(0, 4) == 4);
    CHECK(link.b.Receive() == Range(0, 5));
    CHECK(link.a.Receive() == Range(0, 4));
  }
}

TEST_CASE("fifty peers later no descriptor and no mapping is left") {
  TempFolder folder;
  ShmEnd server(folder.file("wire"));
  const auto meet = [&] {
    ShmEnd client(folder.file("wire"), {.role = ShmRole::kClient});
    UntilUp(server, client);
    server.Send(0, 3);
    client.Send(0, 3);
    server.Receive();
    client.wire().Close();
    UntilDown(server);
    server.Receive();
    server.wire().Reclaim(0);
  };
  meet();
  const size_t descriptors = Descriptors();
  const size_t mappings = Mappings();
  for (int i = 0; i < 50; ++i) meet();
  CHECK(Descriptors() == descriptors);
  CHECK(Mappings() == mappings);
}

TEST_CASE("a second caller is turned away while the first is linked") {
  Linked link;
  ShmEnd second(link.folder.file("wire"), {.role = ShmRole::kClient});
  link.a.Service();
  second.Service();
  CHECK_FALSE(second.up());
  CHECK(link.a.Send(0, 3) == 3);
  CHECK(link.b.Receive() == Range(0, 3));
}

TEST_CASE("a socket file whose server died is taken over, one whose server lives is not") {
  TempFolder folder;
  const std::string path = folder.file("wire");
  const ShmEnd a(path);
  const auto other = MakeShmWire({.path = path});
  const auto pool = PacketPool::Create({.packets = 8, .huge_pages = HugePages::kOff});
  const absl::Status refused = (*other)->Open({.ring = 8, .pool = pool->get()});
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  CHECK(ProblemOf(refused)->what == "a server listens there");

  LeaveSocketFile(folder.file("stale"));
  ShmEnd heir(folder.file("stale"));
  ShmEnd b(folder.file("stale"), {.role = ShmRole::kClient});
  UntilUp(heir, b);
}

TEST_CASE("a path that cannot be had is refused with the remedy") {
  TempFolder folder;
  std::ofstream(folder.file("plain")) << "mine";
  for (const std::string& path : {folder.file("plain"), folder.file("no/such/folder"), folder.path()}) {
    const auto wire = MakeShmWire({.path = path});
    const auto pool = PacketPool::Create({.packets = 8, .huge_pages = HugePages::kOff});
    const absl::Status refused = (*wire)->Open({.ring = 8, .pool = pool->get()});
    CHECK_FALSE(refused.ok());
    CHECK_FALSE(ProblemOf(refused)->remedy.empty());
  }
  std::string kept;
  std::ifstream(folder.file("plain")) >> kept;
  CHECK(kept == "mine");
}

TEST_CASE("the socket file has the mode asked for, and goes with the server") {
  TempFolder folder;
  {
    const ShmEnd a(folder.file("wire"));
    struct stat file {};
    REQUIRE(stat(folder.file("wire").c_str(), &file) == 0);
    CHECK((file.st_mode & 0777) == 0660);
  }
  CHECK_FALSE(std::filesystem::exists(folder.file("wire")));
}

TEST_CASE("wrong options of a shared-memory wire are refused by name") {
  CHECK_FALSE(MakeShmWire({.path = ""}).ok());
  CHECK_FALSE(MakeShmWire({.path = std::string(108, 'x')}).ok());
  CHECK_FALSE(MakeShmWire({.path = "/x", .mode = 07777}).ok());
  CHECK_FALSE(MakeShmWire({.path = "/x", .retry = absl::ZeroDuration()}).ok());
  const auto pool = PacketPool::Create({.packets = 8, .huge_pages = HugePages::kOff});
  TempFolder folder;
  const auto wire = MakeShmWire({.path = folder.file("wire")});
  CHECK_FALSE((*wire)->Open({.lanes = 0, .pool = pool->get()}).ok());
  CHECK_FALSE((*wire)->Open({.lanes = 65, .pool = pool->get()}).ok());
  CHECK_FALSE((*wire)->Open({.ring = 100, .pool = pool->get()}).ok());
  CHECK_FALSE((*wire)->Open({.ring = 65536, .pool = pool->get()}).ok());
  CHECK_FALSE((*wire)->Open({.pool = nullptr}).ok());
}

}  // namespace sluice

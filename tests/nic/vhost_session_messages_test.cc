// SPDX-License-Identifier: Apache-2.0
// What is negotiated, when rings start and stop, and what is answered.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "nic/vhost/inflight_internal.h"
#include "tests/nic/vhost_messages.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::EventFd;
using testing::SameFile;
using testing::SharedFile;
using testing::VhostReplied;
using testing::VhostScene;
using Notes = std::vector<std::string>;
using Request = VhostRequest;

Bytes RingState(uint32_t index, uint32_t num) { return BytesOf(VhostRingState{index, num}); }

// 0 or 1, as the front-end is told; nothing when it is not.
std::optional<uint64_t> Acknowledged(VhostScene& scene, Request request, const Bytes& payload) {
  scene.Tell(request, payload, {}, kVhostNeedReply);
  const auto reply = scene.front.Read();
  return reply ? std::optional(reply->Number()) : std::nullopt;
}

TEST_CASE("features offered are those of the port and vhost's own, protocol features those that are served") {
  VhostScene scene;
  CHECK(scene.Ask(Request::kGetFeatures).Number() ==
        (VhostScene::kFeatures | kVhostLogAll | kVhostProtocolFeatures));
  const uint64_t protocol = scene.Ask(Request::kGetProtocolFeatures).Number();
  CHECK(protocol == kVhostServedProtocolFeatures);
  CHECK(VhostProtocolFeatureNames(protocol) ==
        "MQ LOG_SHMFD RARP REPLY_ACK NET_MTU BACKEND_REQ INFLIGHT_SHMFD RESET_DEVICE CONFIGURE_MEM_SLOTS "
        "STATUS");
  CHECK(scene.Ask(Request::kGetQueueNum).Number() == 2);
}

TEST_CASE("each request has one rule, and a name") {
  for (const VhostRule& rule : kVhostRules) {
    CHECK(VhostRuleOf(static_cast<uint32_t>(rule.request)) == &rule);
    CHECK(rule.least_bytes <= rule.most_bytes);
    CHECK(rule.most_bytes <= kVhostMostPayload);
  }
  CHECK(VhostRequestName(5) == "SET_MEM_TABLE");
  CHECK(VhostRequestName(77) == "request 77");
}

TEST_CASE("an acknowledgement comes when it was negotiated and is asked for, and not else") {
  VhostScene scene;
  CHECK_FALSE(Acknowledged(scene, Request::kSetOwner, {}).has_value());
  scene.Greet();
  CHECK(Acknowledged(scene, Request::kSetOwner, {}) == 0);
  scene.Tell(Request::kSetOwner);
  CHECK_FALSE(scene.front.Read().has_value());
  // A request with an answer of its own has that one only.
  scene.Tell(Request::kGetQueueNum, {}, {}, kVhostNeedReply);
  CHECK(scene.front.Read()->Number() == 2);
  CHECK_FALSE(scene.front.Read().has_value());
}

TEST_CASE("a front-end that is to be hung up on is told first, if it asked") {
  VhostScene scene;
  scene.Greet();
  CHECK(Acknowledged(scene, Request::kSetVringNum, RingState(0, 0)) == 1);
  CHECK(scene.front.HungUpOn());
}

TEST_CASE("an MTU that can't be had is refused, and the front-end stays") {
  VhostScene scene;
  scene.Greet();
  CHECK(Acknowledged(scene, Request::kNetSetMtu, BytesOf(uint64_t{1500})) == 0);
  CHECK(Acknowledged(scene, Request::kNetSetMtu, BytesOf(uint64_t{9001})) == 1);
  CHECK(Acknowledged(scene, Request::kNetSetMtu, BytesOf(uint64_t{67})) == 1);
  CHECK(Acknowledged(scene, Request::kNetSetMtu, BytesOf(uint64_t{65536 + 1500})) == 1);
  CHECK(scene.Complaint().empty());
}

TEST_CASE("a ring starts once all that it needs was said, in any order") {
  VhostScene scene;
  const std::vector<std::function<void()>> said = {
      [&] { scene.Tell(Request::kSetFeatures, VhostScene::kTaken); },
      [&] { scene.ShareMemory(); },
      [&] { scene.Tell(Request::kSetVringNum, RingState(1, 256)); },
      [&] { scene.Tell(Request::kSetVringAddr, BytesOf(scene.guest.Address(1))); },
      [&] { scene.KickRing(1); },
  };
  const size_t first = GENERATE(range<size_t>(0, 5));
  for (size_t i = 0; i < said.size(); ++i) {
    for (const std::string& note : scene.Notes()) CHECK(note != "start 1");
    said[(first + i) % said.size()]();
  }
  CHECK(scene.Notes().back() == "start 1");
  CHECK(scene.Complaint().empty());
}

TEST_CASE("a ring is started with what was said of it, at the addresses where it is here") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.Tell(Request::kSetVringBase, RingState(2, 41));
  scene.Tell(Request::kSetVringNum, RingState(2, 128));
  scene.Tell(Request::kSetVringAddr, BytesOf(scene.guest.Address(2)));
  scene.Tell(Request::kSetVringCall, uint64_t{2 | kVhostNoFd});
  const UniqueFd kick = EventFd();
  scene.Tell(Request::kSetVringKick, 2, {kick.get()});
  const VhostRingSetup& ring = scene.backend.ring(2);
  CHECK(ring.size == 128);
  CHECK(ring.base == 41);
  CHECK(ring.features == VhostScene::kTaken);
  const RingPlace& place = ring.place;
  CHECK(place.descriptors == place.memory->AtUser(scene.guest.kUser + 2 * 0x8000, 1));
  CHECK(place.driver == place.descriptors + 0x2000);
  CHECK(place.device == place.descriptors + 0x4000);
  CHECK(place.log == nullptr);
  CHECK(SameFile(ring.kick->get(), kick.get()));
  CHECK(ring.call == nullptr);
}

TEST_CASE("with protocol features a ring starts disabled, without them enabled") {
  VhostScene with, without;
  with.Greet();
  without.Greet(uint64_t{1} << 32);
  for (VhostScene* scene : {&with, &without}) {
    scene->ShareMemory();
    scene->SetUpRing(0);
  }
  CHECK_FALSE(with.backend.ring(0).enabled);
  CHECK(without.backend.ring(0).enabled);
}

TEST_CASE("enabling is told once for each change, and remembered when the ring does not run yet") {
  VhostScene scene;
  scene.Tell(Request::kSetVringEnable, RingState(0, 1));  // QEMU does so before SET_FEATURES
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(0);
  CHECK(scene.backend.ring(0).enabled);
  scene.Notes();
  for (const uint32_t enable : {1u, 0u, 0u, 1u}) scene.Tell(Request::kSetVringEnable, RingState(0, enable));
  CHECK(scene.Notes() == Notes{"disable 0", "enable 0"});
}

TEST_CASE("GET_VRING_BASE stops a ring and says where it was, and the next kick starts it there") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(3);
  scene.Notes();
  const VhostReplied reply = scene.Ask(Request::kGetVringBase, RingState(3, 0));
  CHECK(reply.payload == RingState(3, 77));
  CHECK(scene.Notes() == Notes{"stop 3"});
  CHECK(scene.Ask(Request::kGetVringBase, RingState(3, 0)).payload == RingState(3, 77));
  scene.KickRing(3);
  CHECK(scene.Notes() == Notes{"start 3"});
  CHECK(scene.backend.ring(3).base == 77);
}

TEST_CASE("rings start and stop one by one") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  for (const uint32_t ring : {0u, 1u, 2u, 3u}) scene.SetUpRing(ring);
  scene.Notes();
  scene.Ask(Request::kGetVringBase, RingState(2, 0));
  CHECK(scene.Notes() == Notes{"stop 2"});
  const VhostSnapshot now = scene.session->Snapshot();
  CHECK(now.rings[1].runs);
  CHECK_FALSE(now.rings[2].runs);
}

TEST_CASE("a call descriptor is replaced while the ring runs, and other changes have it rest") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(0);
  scene.Notes();
  scene.KickRing(0, Request::kSetVringCall);
  CHECK(scene.Notes() == Notes{"call 0"});
  scene.KickRing(0, Request::kSetVringErr);
  scene.KickRing(0);
  scene.Tell(Request::kSetVringAddr, BytesOf(scene.guest.Address(0)));
  CHECK(scene.Notes() == Notes{"rest 0", "resume 0", "rest 0", "resume 0", "rest 0", "resume 0"});
  CHECK(scene.backend.ring(0).err != nullptr);
}

TEST_CASE("a kick descriptor that does not come means that the ring is to be polled") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(0);
  scene.Tell(Request::kSetVringKick, 0 | kVhostNoFd);
  CHECK(scene.backend.ring(0).kick == nullptr);
}

TEST_CASE("a call descriptor is made not to block, lest a full one stalls a worker") {
  VhostScene scene;
  scene.Greet();
  const UniqueFd call(eventfd(0, EFD_CLOEXEC));
  scene.Tell(Request::kSetVringCall, 0, {call.get()});
  CHECK((fcntl(call.get(), F_GETFL) & O_NONBLOCK) != 0);
}

TEST_CASE(
    "what is no eventfd is refused: a pipe or socket that nobody reads ends who writes to it, by a signal") {
  VhostScene scene;
  scene.Greet();
  int pipes[2], sockets[2];
  REQUIRE(pipe2(pipes, O_CLOEXEC) == 0);
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  const UniqueFd in(pipes[0]), out(pipes[1]), one(sockets[0]), other(sockets[1]);
  const UniqueFd nested(epoll_create1(EPOLL_CLOEXEC));
  const Request request = GENERATE(Request::kSetVringCall, Request::kSetVringKick, Request::kSetVringErr);
  scene.Tell(request, 0, {GENERATE_REF(out.get(), one.get(), nested.get(), scene.guest.file.get())});
  CHECK_THAT(scene.Complaint(), Catch::Contains("it is no eventfd"));
}

TEST_CASE("a packed ring may have any size, and goes on at both of its positions") {
  VhostScene scene;
  scene.Greet(VhostScene::kTaken | uint64_t{1} << 34);
  scene.ShareMemory();
  scene.Tell(Request::kSetVringNum, RingState(0, 200));
  scene.Tell(Request::kSetVringAddr, BytesOf(scene.guest.Address(0)));
  scene.Tell(Request::kSetVringBase, RingState(0, 0x8005'8007));
  scene.KickRing(0);
  CHECK(scene.backend.ring(0).size == 200);
  CHECK(scene.backend.ring(0).base == 0x8005'8007);
}

TEST_CASE("RESET_OWNER disables the rings and leaves them running") {
  VhostScene scene;
  scene.Greet(uint64_t{1} << 32);
  scene.ShareMemory();
  scene.SetUpRing(0);
  scene.Notes();
  scene.Tell(Request::kResetOwner);
  CHECK(scene.Notes() == Notes{"disable 0"});
  // Who did not take protocol features has no way to enable it again but to start it again.
  scene.Ask(Request::kGetVringBase, RingState(0, 0));
  scene.KickRing(0);
  CHECK(scene.backend.ring(0).enabled);
}

TEST_CASE("RESET_DEVICE stops and forgets the rings, and keeps the memory") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(0);
  scene.Tell(Request::kSetStatus, 0xf);
  scene.Notes();
  scene.Tell(Request::kResetDevice);
  CHECK(scene.Notes() == Notes{"stop 0", "features 0"});
  CHECK(scene.Ask(Request::kGetStatus).Number() == 0);
  CHECK(scene.session->Snapshot().rings[0].size == 0);
  scene.Tell(Request::kSetFeatures, VhostScene::kTaken);
  scene.SetUpRing(0);
  CHECK(scene.Notes().back() == "start 0");
}

TEST_CASE("the device status is kept, and 0 stops what still runs") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(1);
  scene.Tell(Request::kSetStatus, 0xb);
  CHECK(scene.Ask(Request::kGetStatus).Number() == 0xb);
  scene.Notes();
  scene.Tell(Request::kSetStatus, uint64_t{0});
  CHECK(scene.Notes() == Notes{"stop 1"});
}

TEST_CASE("SEND_RARP hands over the guest's address") {
  VhostScene scene;
  scene.Greet();
  scene.Notes();
  scene.Tell(Request::kSendRarp, Bytes{0x52, 0x54, 0, 0x12, 0x34, 0x56, 0, 0});
  CHECK(scene.Notes() == Notes{"rarp 52 54 00 12 34 56"});
}

TEST_CASE("an inflight area is made, given back, and split among the rings") {
  const bool packed = GENERATE(false, true);
  VhostScene scene;
  scene.Greet(VhostScene::kTaken | (packed ? uint64_t{1} << 34 : 0));
  scene.ShareMemory();
  const VhostInflightArea asked{.bytes = 0, .offset = 0, .queues = 4, .ring = 256};
  VhostReplied made = scene.Ask(Request::kGetInflightFd, BytesOf(asked));
  VhostInflightArea area;
  REQUIRE(made.payload.size() == sizeof(area));
  std::memcpy(&area, made.payload.data(), sizeof(area));
  const size_t each = VhostInflightBytes(packed, 256);
  CHECK(area.bytes == 4 * each);
  REQUIRE(made.fds.size() == 1);
  scene.Tell(Request::kSetInflightFd, made.payload, {made.fds[0].get()});
  scene.SetUpRing(0);
  scene.SetUpRing(3);
  const InflightRegion first = scene.backend.ring(0).place.inflight,
                       last = scene.backend.ring(3).place.inflight;
  CHECK(last.here - first.here == static_cast<ptrdiff_t>(3 * each));
  CHECK(last.bytes == each);
}

TEST_CASE("an inflight area of the document's 20 bytes is answered with as many") {
  VhostScene scene;
  scene.Greet();
  Bytes asked = BytesOf(VhostInflightArea{.bytes = 0, .offset = 0, .queues = 2, .ring = 64});
  asked.resize(kVhostInflightAreaLeast);
  CHECK(scene.Ask(Request::kGetInflightFd, asked).payload.size() == kVhostInflightAreaLeast);
}

TEST_CASE("the channel of the back-end is taken over, when it is a socket") {
  VhostScene scene, other;
  scene.Greet();
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd ours(ends[0]), theirs(ends[1]);
  scene.Tell(Request::kSetBackendReqFd, Bytes(), {theirs.get()});
  CHECK(scene.Complaint().empty());
  other.Greet();
  const UniqueFd event = EventFd();
  other.Tell(Request::kSetBackendReqFd, Bytes(), {event.get()});
  CHECK(other.Complaint() == "SET_BACKEND_REQ_FD: it is no socket");
}

}  // namespace
}  // namespace sluice

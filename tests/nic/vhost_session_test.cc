// SPDX-License-Identifier: Apache-2.0
// Front-ends that come, go, and disturb each other.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "nic/vhost/session_internal.h"
#include "sluice/base/status.h"
#include "tests/nic/vhost_messages.h"
#include "tests/support/footprint.h"

namespace sluice {
namespace {

using testing::BytesOf;
using testing::Footprint;
using testing::NotingBackend;
using testing::SharedMappings;
using testing::TempFolder;
using testing::VhostScene;
using testing::VhostScript;
using Notes = std::vector<std::string>;

absl::StatusOr<std::unique_ptr<VhostSession>> OpenAt(const std::string& path, VhostBackend& backend,
                                                     VhostRole role = VhostRole::kServer) {
  return VhostSession::Open({.path = path, .role = role}, backend);
}

uint64_t Features(VhostScript& front, VhostSession& session) {
  front.Send(VhostRequest::kGetFeatures);
  session.Service();
  session.Service();
  const auto reply = front.Read();
  return reply ? reply->Number() : 0;
}

// Serves the session whenever it asks for it, until `done`; false when that takes too long.
template <typename Done>
bool ServeUntil(VhostSession& session, Done done) {
  for (int i = 0; i < 1000 && !done(); ++i) {
    pollfd wanted{session.service_fd(), POLLIN, 0};
    poll(&wanted, 1, 100);
    session.Service();
  }
  return done();
}

TEST_CASE("a front-end is served at the socket, whose file goes with the session") {
  const TempFolder folder;
  NotingBackend backend;
  {
    const auto session = OpenAt(folder.file("s"), backend);
    REQUIRE(session.ok());
    struct stat file {};
    REQUIRE(stat(folder.file("s").c_str(), &file) == 0);
    CHECK((file.st_mode & 0777) == 0660);
    VhostScript front = VhostScript::To(folder.file("s"));
    CHECK(Features(front, **session) == (kVhostLogAll | kVhostProtocolFeatures));
    CHECK((*session)->Snapshot().connected);
  }
  CHECK(access(folder.file("s").c_str(), F_OK) != 0);
  CHECK(backend.TakeNotes() == Notes{"connected", "disconnected"});
}

TEST_CASE("a second session at a socket is refused with a remedy, and the first goes on") {
  const TempFolder folder;
  NotingBackend backend, other;
  const auto session = OpenAt(folder.file("s"), backend);
  const absl::Status refused = OpenAt(folder.file("s"), other).status();
  CHECK(absl::IsUnavailable(refused));
  CHECK(ProblemOf(refused)->remedy == "stop it, or give each guest a socket of its own");
  VhostScript front = VhostScript::To(folder.file("s"));
  CHECK(Features(front, **session) != 0);
}

TEST_CASE("options that cannot be are refused by name") {
  const TempFolder folder;
  NotingBackend backend;
  for (const VhostSessionOptions& options :
       {VhostSessionOptions{}, VhostSessionOptions{.path = std::string(108, 'x')},
        VhostSessionOptions{.path = folder.file("s"), .queue_pairs = 0},
        VhostSessionOptions{.path = folder.file("s"), .queue_pairs = 65}}) {
    const auto refused = VhostSession::Open(options, backend);
    REQUIRE_FALSE(refused.ok());
    CHECK_FALSE(ProblemOf(refused.status())->remedy.empty());
  }
}

TEST_CASE("while a front-end is there, another is turned away and counted") {
  VhostScene scene;
  scene.Greet();
  VhostScript late = VhostScript::To(scene.folder.file("s"));
  scene.Serve();
  CHECK(late.HungUpOn());
  CHECK(scene.session->Snapshot().refused == 1);
  CHECK(scene.Ask(VhostRequest::kGetQueueNum).Number() == 2);
}

TEST_CASE("a front-end that says nothing makes way for the next") {
  VhostScene scene;
  VhostScript next = VhostScript::To(scene.folder.file("s"));
  scene.Serve();
  CHECK(scene.front.HungUpOn());
  CHECK(Features(next, *scene.session) != 0);
  CHECK(scene.Notes() == Notes{"disconnected", "connected"});
}

TEST_CASE("when a front-end leaves, its rings stop and the next one is served from the start") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(0);
  scene.Notes();
  scene.front.HangUp();
  scene.front = VhostScript::To(scene.folder.file("s"));
  scene.Serve();
  CHECK(scene.Notes() == Notes{"stop 0", "disconnected", "connected"});
  CHECK(scene.backend.parting.ok());
  const VhostSnapshot fresh = scene.session->Snapshot();
  CHECK(fresh.features == 0);
  CHECK(fresh.regions.empty());
  CHECK(fresh.connections == 2);
  CHECK(fresh.bad_messages == 0);
}

TEST_CASE("a front-end that stalls or dies within a message harms no other guest") {
  VhostScene bad, good;
  bad.Greet();
  bad.front.SendRaw(BytesOf(VhostHeader{5, kVhostVersion, 264}));
  bad.Serve();
  CHECK(bad.Complaint().empty());
  good.Greet();
  CHECK(good.Ask(VhostRequest::kGetQueueNum).Number() == 2);
  bad.front.HangUp();
  bad.Serve();
  CHECK(bad.Complaint() == "receive: the front-end hung up within a message");
  CHECK(bad.session->Snapshot().bad_messages == 1);
  bad.front = VhostScript::To(bad.folder.file("s"));
  bad.Serve();
  CHECK(bad.Ask(VhostRequest::kGetQueueNum).Number() == 2);
}

TEST_CASE("who floods a session with messages gets some of its time at once, not all") {
  VhostScene scene;
  for (int i = 0; i < 150; ++i) scene.front.Send(VhostRequest::kSetOwner);
  scene.session->Service();
  CHECK(scene.session->Snapshot().messages == 64);
  scene.Serve();
  CHECK(scene.session->Snapshot().messages == 150);
  CHECK(scene.Complaint().empty());
}

TEST_CASE("who asks and never reads the answers is hung up on") {
  VhostScene scene;
  for (int i = 0; i < 10'000 && scene.Complaint().empty(); ++i) scene.Tell(VhostRequest::kGetFeatures);
  CHECK(scene.Complaint() == "GET_FEATURES: the answer can't be sent: the front-end died, or doesn't read");
}

TEST_CASE("a session that connects finds a front-end that comes later, and finds it again") {
  const TempFolder folder;
  NotingBackend backend;
  const auto session = OpenAt(folder.file("s"), backend, VhostRole::kClient);
  REQUIRE(session.ok());
  CHECK(backend.TakeNotes().empty());
  for (int i = 0; i < 2; ++i) {
    const auto listener = UnixListener::Listen({.path = folder.file("s"), .type = SOCK_STREAM});
    REQUIRE(ServeUntil(**session, [&] { return (*session)->Snapshot().connected; }));
    VhostScript front(listener->Accept());
    CHECK(Features(front, **session) != 0);
    front.HangUp();
    REQUIRE(ServeUntil(**session, [&] { return !(*session)->Snapshot().connected; }));
  }
  CHECK(backend.TakeNotes() == Notes{"connected", "disconnected", "connected", "disconnected"});
}

TEST_CASE("a session that connects asks at most a few times a second where nobody listens") {
  const TempFolder folder;
  NotingBackend backend;
  const auto session = OpenAt(folder.file("s"), backend, VhostRole::kClient);
  // A front-end that takes every connection and drops it is not asked in a circle either.
  const auto listener = UnixListener::Listen({.path = folder.file("s"), .type = SOCK_STREAM});
  for (int i = 0; i < 10'000; ++i) {
    (*session)->Service();
    listener->Accept();
  }
  CHECK((*session)->Snapshot().connections < 100);
}

TEST_CASE("a session that may not connect says so") {
  const TempFolder folder;
  NotingBackend backend;
  const auto listener = UnixListener::Listen({.path = folder.file("s"), .type = SOCK_SEQPACKET});
  const auto session = OpenAt(folder.file("s"), backend, VhostRole::kClient);
  CHECK(ProblemOf((*session)->Snapshot().last_error)->error_number == EPROTOTYPE);
}

TEST_CASE("a session leaves no descriptor and no mapping behind") {
  const size_t descriptors = Footprint::Now().descriptors;
  {
    VhostScene scene;
    scene.Greet();
    scene.ShareMemory();
    for (uint32_t ring = 0; ring < 4; ++ring) {
      scene.SetUpRing(ring);
      scene.KickRing(ring, VhostRequest::kSetVringCall);
      scene.KickRing(ring, VhostRequest::kSetVringErr);
    }
    CHECK(SharedMappings() == 1);
    scene.front.HangUp();
    scene.Serve();
    CHECK(SharedMappings() == 0);
  }
  CHECK(Footprint::Now().descriptors == descriptors);
}

TEST_CASE("a snapshot tells what was negotiated, and why a front-end was hung up on") {
  VhostScene scene;
  scene.Greet();
  scene.ShareMemory();
  scene.SetUpRing(1);
  const VhostSnapshot there = scene.session->Snapshot();
  CHECK(there.connected);
  CHECK(VhostFeatureNames(there.features) == "PROTOCOL_FEATURES VERSION_1");
  CHECK(there.protocol_features == kVhostServedProtocolFeatures);
  CHECK(there.regions.at(0).guest == 0x40000000);
  CHECK(there.regions.at(0).bytes == 1048576);
  const VhostRingView& ring = there.rings.at(1);
  CHECK((ring.size == 256 && ring.runs && ring.kick && !ring.enabled && !ring.call));
  CHECK(there.messages == 8);

  scene.Tell(VhostRequest::kSetStatus, 0x1ff);
  const VhostSnapshot gone = scene.session->Snapshot();
  CHECK_FALSE(gone.connected);
  CHECK(gone.bad_messages == 1);
  CHECK_THAT(std::string(gone.last_error.message()), Catch::Contains("SET_STATUS: status 0x1ff;"));
}

}  // namespace
}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// Front-ends that break the rules are hung up on, with a reason that is counted, and leave nothing behind.
#include <catch2/catch.hpp>
#include <functional>

#include "sluice/base/status.h"
#include "tests/nic/vhost_messages.h"
#include "tests/support/footprint.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using testing::Below;
using testing::Bytes;
using testing::BytesOf;
using testing::EventFd;
using testing::Footprint;
using testing::PrintedSeed;
using testing::Random;
using testing::SharedFile;
using testing::SingleOf;
using testing::TableOf;
using testing::VhostScene;
using Request = VhostRequest;

Bytes RingState(uint32_t index, uint32_t num) { return BytesOf(VhostRingState{index, num}); }

// A scene whose front-end has greeted and shared its memory.
struct Greeted : VhostScene {
  Greeted() {
    Greet();
    ShareMemory();
  }
};

// One wrong thing, and how the complaint about it begins.
struct Wrong {
  const char* complaint;
  std::function<void(VhostScene&)> act;
};

// Each is tried on a scene of its own: it is complained of, counted, hung up on, leaks nothing, and the next front-end is served.
void CheckEach(const std::vector<Wrong>& wrongs) {
  for (const Wrong& wrong : wrongs) {
    INFO(wrong.complaint);
    const size_t before = Footprint::Now().descriptors;
    {
      Greeted scene;
      wrong.act(scene);
      CHECK_THAT(scene.Complaint(), Catch::StartsWith(wrong.complaint));
      CHECK(scene.session->Snapshot().bad_messages == 1);
      CHECK(scene.front.HungUpOn());
      CHECK_FALSE(ProblemOf(scene.session->Snapshot().last_error)->remedy.empty());
      scene.front = testing::VhostScript::To(scene.folder.file("s"));
      scene.Serve();
      CHECK(scene.Ask(Request::kGetQueueNum).Number() == 2);
    }
    CHECK(Footprint::Now().descriptors == before);
  }
}

TEST_CASE("messages that are none end the connection") {
  CheckEach({
      {"SET_OWNER: flags 0x0",
       [](VhostScene& s) {
         s.front.SendRaw(BytesOf(VhostHeader{3, 0, 0})), s.Serve();
       }},
      {"SET_OWNER: flags 0x2",
       [](VhostScene& s) {
         s.front.SendRaw(BytesOf(VhostHeader{3, 2, 0})), s.Serve();
       }},
      {"SET_OWNER: flags 0x5", [](VhostScene& s) { s.Tell(Request::kSetOwner, {}, {}, kVhostReply); }},
      {"request 0: no such request", [](VhostScene& s) { s.Tell(Request{0}); }},
      {"request 4294967295: no such", [](VhostScene& s) { s.Tell(Request{~0u}); }},
      {"request 24: no such request", [](VhostScene& s) { s.Tell(Request::kGetConfig, Bytes(12)); }},
      {"request 23: no such request",
       [](VhostScene& s) { s.Tell(Request::kSetVringEndian, RingState(0, 0)); }},
      {"receive: a message claims more",
       [](VhostScene& s) {
         s.front.SendRaw(BytesOf(VhostHeader{5, 1, 1u << 30})), s.Serve();
       }},
  });
}

TEST_CASE("a payload or descriptors that the request does not carry end the connection") {
  const UniqueFd event = EventFd();
  const std::vector<int> one = {event.get()}, nine(9, event.get());
  CheckEach({
      {"SET_FEATURES: a payload of 7 bytes", [](VhostScene& s) { s.Tell(Request::kSetFeatures, Bytes(7)); }},
      {"SET_FEATURES: a payload of 9 bytes", [](VhostScene& s) { s.Tell(Request::kSetFeatures, Bytes(9)); }},
      {"SET_VRING_ADDR: a payload of 8", [](VhostScene& s) { s.Tell(Request::kSetVringAddr, Bytes(8)); }},
      {"GET_FEATURES: a payload of 4000", [](VhostScene& s) { s.Tell(Request::kGetFeatures, Bytes(4000)); }},
      {"SET_OWNER: 1 descriptors", [&](VhostScene& s) { s.Tell(Request::kSetOwner, Bytes(), one); }},
      {"SET_LOG_BASE: 0 descriptors", [](VhostScene& s) { s.Tell(Request::kSetLogBase, Bytes(16)); }},
      {"receive: more descriptors", [&](VhostScene& s) { s.Tell(Request::kSetOwner, Bytes(), nine); }},
      {"SET_VRING_KICK: 2 descriptors",
       [&](VhostScene& s) {
         s.Tell(Request::kSetVringKick, 0, {event.get(), event.get()});
       }},
      {"SET_VRING_CALL: the flag of no descriptor",
       [&](VhostScene& s) { s.Tell(Request::kSetVringCall, kVhostNoFd, one); }},
      {"SET_VRING_ERR: the flag of no descriptor",
       [](VhostScene& s) { s.Tell(Request::kSetVringErr, uint64_t{0}); }},
  });
}

TEST_CASE("features that were not offered, and requests whose feature was not taken, end the connection") {
  CheckEach({
      {"SET_FEATURES: not offered: CSUM", [](VhostScene& s) { s.Tell(Request::kSetFeatures, 1); }},
      {"SET_FEATURES: not offered: ACCESS_PLATFORM",
       [](VhostScene& s) { s.Tell(Request::kSetFeatures, uint64_t{1} << 33); }},
      {"SET_PROTOCOL_FEATURES: not offered: CROSS_ENDIAN HOST_NOTIFIER",
       [](VhostScene& s) { s.Tell(Request::kSetProtocolFeatures, 1u << 6 | 1u << 11); }},
      {"SET_STATUS: STATUS was not negotiated",
       [](VhostScene& s) {
         s.Tell(Request::kSetProtocolFeatures, uint64_t{0});
         s.Tell(Request::kSetStatus, 1);
       }},
      {"SET_FEATURES: only LOG_ALL may change",
       [](VhostScene& s) {
         s.SetUpRing(0);
         s.Tell(Request::kSetFeatures, VhostScene::kTaken | 1 << 15);
       }},
  });
}

TEST_CASE("rings that cannot be end the connection") {
  const UniqueFd file = SharedFile(4096);
  CheckEach({
      {"SET_VRING_NUM: ring 4 of 4", [](VhostScene& s) { s.Tell(Request::kSetVringNum, RingState(4, 256)); }},
      {"GET_VRING_BASE: ring 4294967295",
       [](VhostScene& s) { s.Tell(Request::kGetVringBase, RingState(~0u, 0)); }},
      {"SET_VRING_KICK: ring 255", [](VhostScene& s) { s.KickRing(255); }},
      {"SET_VRING_NUM: a ring of 0", [](VhostScene& s) { s.Tell(Request::kSetVringNum, RingState(0, 0)); }},
      {"SET_VRING_NUM: a ring of 200",
       [](VhostScene& s) { s.Tell(Request::kSetVringNum, RingState(0, 200)); }},
      {"SET_VRING_NUM: a ring of 65536",
       [](VhostScene& s) { s.Tell(Request::kSetVringNum, RingState(0, 65536)); }},
      {"SET_VRING_BASE: base 0x10000",
       [](VhostScene& s) { s.Tell(Request::kSetVringBase, RingState(0, 65536)); }},
      {"SET_VRING_ENABLE: neither 0 nor 1",
       [](VhostScene& s) { s.Tell(Request::kSetVringEnable, RingState(0, 2)); }},
      {"SET_VRING_KICK: it is no eventfd",
       [&](VhostScene& s) { s.Tell(Request::kSetVringKick, 0, {file.get()}); }},
      {"SET_VRING_NUM: ring 0 runs",
       [](VhostScene& s) { s.SetUpRing(0), s.Tell(Request::kSetVringNum, RingState(0, 128)); }},
      {"SET_VRING_BASE: ring 1 runs",
       [](VhostScene& s) { s.SetUpRing(1), s.Tell(Request::kSetVringBase, RingState(1, 0)); }},
      {"SET_STATUS: status 0x100", [](VhostScene& s) { s.Tell(Request::kSetStatus, 0x100); }},
  });
}

// A ring's addresses as they should be but for what `change` does.
std::function<void(VhostScene&)> Addressed(std::function<void(VhostRingAddress&)> change) {
  return [change](VhostScene& scene) {
    VhostRingAddress address = scene.guest.Address(0);
    change(address);
    scene.Tell(Request::kSetVringNum, RingState(0, 256));
    scene.Tell(Request::kSetVringAddr, BytesOf(address));
  };
}

TEST_CASE("addresses of a ring that are not in the memory, or not aligned, end the connection") {
  constexpr uint64_t kEnd = testing::ScriptedGuest::kUser + testing::ScriptedGuest::kBytes;
  CheckEach({
      {"SET_VRING_ADDR: the descriptor table at 0x0 is not in",
       Addressed([](auto& at) { at.descriptors = 0; })},
      {"SET_VRING_ADDR: the descriptor table",
       Addressed([](auto& at) { at.descriptors = kEnd - 16 * 256 + 16; })},
      {"SET_VRING_ADDR: the descriptor table",
       Addressed([](auto& at) { at.descriptors = ~uint64_t{0} - 15; })},
      {"SET_VRING_ADDR: the descriptor table", Addressed([](auto& at) { at.descriptors += 8; })},
      {"SET_VRING_ADDR: the available ring", Addressed([](auto& at) { at.available += 1; })},
      {"SET_VRING_ADDR: the available ring", Addressed([](auto& at) { at.available = kEnd - 2; })},
      {"SET_VRING_ADDR: the used ring", Addressed([](auto& at) { at.used += 2; })},
      {"SET_VRING_ADDR: the used ring", Addressed([](auto& at) { at.used = kEnd; })},
      {"SET_VRING_ADDR: flags 0x2", Addressed([](auto& at) { at.flags = 2; })},
  });
}

TEST_CASE("a packed ring's position must be in the ring, its size may be any") {
  const uint32_t base = GENERATE(200u, 0x8000u | 200u, 200u << 16, 0x7fffu);
  VhostScene scene;
  scene.Greet(VhostScene::kTaken | uint64_t{1} << 34);
  scene.ShareMemory();
  scene.SetUpRing(0, 200);
  CHECK(scene.backend.ring(0).size == 200);
  scene.Ask(Request::kGetVringBase, RingState(0, 0));
  scene.Tell(Request::kSetVringBase, RingState(0, base));
  scene.KickRing(0);
  CHECK_THAT(scene.Complaint(), Catch::StartsWith("SET_VRING_KICK: base 0x"));
}

// A table of the guest's region, changed by `change`, and of another one beside it.
std::function<void(VhostScene&)> Mapped(std::function<void(VhostMemoryRegion&)> change) {
  return [change](VhostScene& scene) {
    VhostMemoryRegion region = scene.guest.region();
    region.guest += 4 * region.bytes;
    region.user += 4 * region.bytes;
    change(region);
    const int file = scene.guest.file.get();
    scene.Tell(Request::kSetMemTable, TableOf({scene.guest.region(), region}), {file, file});
  };
}

TEST_CASE("regions that are empty, wrap round, overlap or end past their file end the connection") {
  constexpr uint64_t kBytes = testing::ScriptedGuest::kBytes, kTop = ~uint64_t{0};
  CheckEach({
      {"SET_MEM_TABLE: the region of 0 bytes", Mapped([](auto& region) { region.bytes = 0; })},
      {"SET_MEM_TABLE: the region", Mapped([](auto& region) { region.guest = kTop - 4095; })},
      {"SET_MEM_TABLE: the region", Mapped([](auto& region) { region.user = kTop - kBytes + 1; })},
      {"SET_MEM_TABLE: the region", Mapped([](auto& region) { region.offset = kTop - 4095; })},
      {"SET_MEM_TABLE: the region", Mapped([](auto& region) { region.offset = 4096; })},
      {"SET_MEM_TABLE: the region", Mapped([](auto& region) { region.bytes = kBytes + 1; })},
      {"SET_MEM_TABLE: the region", Mapped([](auto& region) { region.bytes = uint64_t{1} << 62; })},
      {"SET_MEM_TABLE: the region",
       Mapped([](auto& region) { region.guest = testing::ScriptedGuest::kGuest + kBytes - 1; })},
      {"SET_MEM_TABLE: the region",
       Mapped([](auto& region) { region.user = testing::ScriptedGuest::kUser - kBytes + 1; })},
  });
}

TEST_CASE("tables that do not fit their descriptors or their size end the connection") {
  const UniqueFd file = SharedFile(1 << 20);
  const VhostMemoryRegion region = testing::ScriptedGuest().region();
  Bytes nine = TableOf(std::vector<VhostMemoryRegion>(8, region));
  nine[0] = 9;
  Bytes cut = TableOf({region});
  cut.pop_back();
  CheckEach({
      {"SET_MEM_TABLE: 1 regions with 2",
       [&](VhostScene& s) {
         s.Tell(Request::kSetMemTable, TableOf({region}), {file.get(), file.get()});
       }},
      {"SET_MEM_TABLE: 9 regions with 8",
       [&](VhostScene& s) { s.Tell(Request::kSetMemTable, nine, std::vector<int>(8, file.get())); }},
      {"SET_MEM_TABLE: 1 regions with 1 descriptors in 39",
       [&](VhostScene& s) { s.Tell(Request::kSetMemTable, cut, {file.get()}); }},
      {"REM_MEM_REG: the region",
       [](VhostScene& s) {
         VhostMemoryRegion other = s.guest.region();
         other.bytes -= 4096;
         s.Tell(Request::kRemMemReg, SingleOf(other));
       }},
      {"ADD_MEM_REG: the region",
       [](VhostScene& s) {
         VhostMemoryRegion other = s.guest.region();
         other.bytes -= 4096;
         s.Tell(Request::kAddMemReg, SingleOf(other), {s.guest.file.get()});
       }},
  });
}

TEST_CASE("inflight areas that cannot be end the connection") {
  const UniqueFd file = SharedFile(4096);
  const auto set = [&](VhostInflightArea area) {
    return [area, &file](VhostScene& s) { s.Tell(Request::kSetInflightFd, BytesOf(area), {file.get()}); };
  };
  CheckEach({
      {"GET_INFLIGHT_FD: 0 rings", [](VhostScene& s) { s.Tell(Request::kGetInflightFd, Bytes(24)); }},
      {"SET_INFLIGHT_FD: 5 rings", set({4096, 0, 5, 64})},
      {"SET_INFLIGHT_FD: 4 rings of 32769", set({4096, 0, 4, 32769})},
      {"SET_INFLIGHT_FD: 4097 bytes from 0", set({4097, 0, 4, 64})},
      {"SET_INFLIGHT_FD: 4096 bytes from 1", set({4096, 1, 4, 64})},
      {"SET_VRING_ADDR: an inflight area of 4096 bytes for 4 rings of 64",
       [&](VhostScene& s) {
         set({4096, 0, 4, 64})(s);
         s.SetUpRing(0, 64);
       }},
      {"SET_VRING_ADDR: an inflight area of 4096 bytes for 1 rings of 128",
       [&](VhostScene& s) {
         set({4096, 0, 1, 128})(s);
         s.SetUpRing(0, 256);
       }},
      {"SET_INFLIGHT_FD: it may not change",
       [&](VhostScene& s) {
         s.SetUpRing(0);
         set({4096, 0, 1, 128})(s);
       }},
  });
}

TEST_CASE("a front-end that is hung up on has its rings stopped first, and takes nobody with it") {
  Greeted bad, good;
  bad.SetUpRing(0);
  good.SetUpRing(0);
  bad.Notes();
  good.Notes();
  bad.Tell(Request::kSetFeatures, 1);
  CHECK(bad.Notes() == std::vector<std::string>{"stop 0", "disconnected"});
  good.Serve();
  CHECK(good.Notes().empty());
  CHECK(good.session->Snapshot().rings[0].runs);
}

// Requests in any order with payloads that are nearly right.
Bytes NearlyRight(Random& random, VhostScene& scene, const VhostRule& rule) {
  Bytes payload(rule.least_bytes + Below(random, rule.most_bytes - rule.least_bytes + 1u));
  for (uint8_t& byte : payload) byte = Below(random, 3) == 0 ? static_cast<uint8_t>(random()) : uint8_t{0};
  if (rule.request == Request::kSetVringAddr) payload = BytesOf(scene.guest.Address(Below(random, 5) & 0xff));
  if (rule.request == Request::kSetVringNum)
    payload = RingState(static_cast<uint32_t>(Below(random, 4)), 256);
  if (rule.request == Request::kSetFeatures) payload = BytesOf(VhostScene::kTaken);
  if (rule.request == Request::kAddMemReg || rule.request == Request::kRemMemReg)
    payload = SingleOf(scene.guest.region());
  return payload;
}

TEST_CASE(
    "whatever is sent in whatever order, rings are started, rested and stopped in turn and nothing is left "
    "behind") {
  Random random(PrintedSeed());
  const UniqueFd event = EventFd(), file = SharedFile(1 << 20);
  const size_t before = Footprint::Now().descriptors;
  size_t stopped = 0;
  for (int round = 0; round < 60; ++round) {
    Greeted scene;
    for (int i = 0; i < 100 && scene.Complaint().empty(); ++i) {
      const VhostRule& rule = kVhostRules[Below(random, kVhostRules.size())];
      const std::vector<int> fds(Below(random, 4) == 0 ? Below(random, 3) : rule.least_fds,
                                 Below(random, 2) == 0 ? event.get() : file.get());
      scene.Tell(rule.request, NearlyRight(random, scene, rule), fds);  // a call out of turn throws
      while (scene.front.Read()) {
      }
    }
    stopped += scene.Complaint().empty() ? 0 : 1;
  }
  CHECK(stopped > 0);
  CHECK(Footprint::Now().descriptors == before);
  CHECK(testing::SharedMappings() == 0);
}

}  // namespace
}  // namespace sluice

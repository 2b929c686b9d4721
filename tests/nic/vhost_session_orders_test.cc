// SPDX-License-Identifier: Apache-2.0
// What front-ends that guests run on say, in the order in which they say it.
#include <catch2/catch.hpp>

#include "tests/nic/vhost_messages.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::EventFd;
using testing::VhostScene;
using Request = VhostRequest;

Bytes RingState(uint32_t index, uint32_t num) { return BytesOf(VhostRingState{index, num}); }

constexpr uint32_t kNoAcknowledgement = 0;

// A front-end that asks for acknowledgements throws when one is missing, or says no.
struct Machine {
  explicit Machine(uint32_t asks) : flags(asks) { event = EventFd(); }

  void Tell(Request request, const Bytes& payload = {}, const std::vector<int>& fds = {},
            bool may_ask = false) {
    const uint32_t asked = may_ask ? flags : 0;
    scene.Tell(request, payload, fds, asked);
    if (asked != 0) REQUIRE(scene.front.Read().value().Number() == 0);
  }
  void Tell(Request request, uint64_t number, const std::vector<int>& fds = {}) {
    Tell(request, BytesOf(number), fds);
  }

  // QEMU as it opens its socket: one device for each queue pair, each of which asks anew.
  void OpenPairs(uint32_t pairs) {
    for (uint32_t pair = 0; pair < pairs; ++pair) {
      scene.Ask(Request::kGetFeatures);
      const uint64_t offered = scene.Ask(Request::kGetProtocolFeatures).Number();
      Tell(Request::kSetProtocolFeatures, offered);
      if (pair == 0) OpenFirst();
      scene.Ask(Request::kGetFeatures);
      for (const uint64_t ring : {2 * pair, 2 * pair + 1}) {
        Tell(Request::kSetVringCall, ring, {event.get()});
        Tell(Request::kSetVringErr, ring, {event.get()});
      }
    }
  }
  void OpenFirst() {
    scene.Ask(Request::kGetQueueNum);
    scene.Ask(Request::kGetMaxMemSlots);
    Tell(Request::kSetBackendReqFd, Bytes(), {channel.get()}, true);
    Tell(Request::kSetOwner);
  }
  void Enable(uint32_t pair, uint32_t on) {
    for (const uint32_t ring : {2 * pair, 2 * pair + 1})
      Tell(Request::kSetVringEnable, RingState(ring, on), {}, true);
  }

  // The driver is there.
  void StartPair(uint32_t pair) {
    Tell(Request::kSetFeatures, VhostScene::kTaken);
    if (pair == 0) {
      scene.Ask(Request::kGetStatus);
      Tell(Request::kSetStatus, 0xb);
      Tell(Request::kAddMemReg, testing::SingleOf(scene.guest.region()), {scene.guest.file.get()}, true);
    }
    for (const uint32_t ring : {2 * pair, 2 * pair + 1}) StartRing(ring);
  }
  void StartRing(uint32_t ring) {
    Tell(Request::kSetVringNum, RingState(ring, 256));
    Tell(Request::kSetVringBase, RingState(ring, 0));
    Tell(Request::kSetVringAddr, BytesOf(scene.guest.Address(ring)));
    Tell(Request::kSetVringKick, ring, {event.get()});
    Tell(Request::kSetVringCall, ring, {event.get()});
  }
  void Stop(uint32_t pairs) {
    for (uint32_t ring = 0; ring < 2 * pairs; ++ring) scene.Ask(Request::kGetVringBase, RingState(ring, 0));
    Tell(Request::kSetStatus, uint64_t{0});
  }

  size_t Running() {
    size_t running = 0;
    for (const VhostRingView& ring : scene.session->Snapshot().rings)
      running += ring.runs && ring.enabled ? 1 : 0;
    return running;
  }

  VhostScene scene;
  UniqueFd event;
  UniqueFd channel = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  uint32_t flags;
};

TEST_CASE("the order of QEMU 7.2, and of QEMU 10 that asks for acknowledgements, runs two queue pairs") {
  Machine qemu(GENERATE(kNoAcknowledgement, kVhostNeedReply));
  qemu.OpenPairs(2);
  qemu.Enable(0, 1);
  qemu.Enable(1, 0);
  for (const uint32_t pair : {0u, 1u}) qemu.StartPair(pair);
  qemu.Tell(Request::kSetStatus, 0xf);
  CHECK(qemu.Running() == 2);
  qemu.Enable(1, 1);
  CHECK(qemu.Running() == 4);
  CHECK(qemu.scene.Complaint().empty());
}

TEST_CASE("a guest's driver that stops and starts again under QEMU is served again") {
  Machine qemu(kVhostNeedReply);
  qemu.OpenPairs(1);
  qemu.Enable(0, 1);
  qemu.StartPair(0);
  for (int i = 0; i < 3; ++i) {
    qemu.Stop(1);
    CHECK(qemu.Running() == 0);
    qemu.Tell(Request::kSetFeatures, VhostScene::kTaken);
    for (const uint32_t ring : {0u, 1u}) qemu.StartRing(ring);
    CHECK(qemu.Running() == 2);
  }
  CHECK(qemu.scene.Complaint().empty());
}

TEST_CASE(
    "the order of a migration under QEMU logs writes, and ends with the rings stopped and the log gone") {
  Machine qemu(kVhostNeedReply);
  qemu.OpenPairs(1);
  qemu.Enable(0, 1);
  qemu.StartPair(0);
  const uint64_t log_bytes = (VhostScene().guest.kGuest + VhostScene().guest.kBytes) / 4096 / 8;
  const UniqueFd log = testing::SharedFile(log_bytes);
  CHECK(qemu.scene.Ask(Request::kSetLogBase, BytesOf(VhostLogArea{log_bytes, 0}), {log.get()}).Number() == 0);
  qemu.Tell(Request::kSetFeatures, VhostScene::kTaken | kVhostLogAll);
  for (const uint32_t ring : {0u, 1u}) {
    VhostRingAddress logged = qemu.scene.guest.Address(ring);
    logged.flags = kVhostRingLog;
    qemu.Tell(Request::kSetVringAddr, BytesOf(logged));
    CHECK(qemu.scene.backend.ring(static_cast<uint16_t>(ring)).place.log != nullptr);
  }
  CHECK(qemu.scene.session->Snapshot().logging);
  qemu.Tell(Request::kSetFeatures, VhostScene::kTaken);
  CHECK(qemu.scene.backend.ring(0).place.log == nullptr);
  CHECK(qemu.Running() == 2);
  qemu.Stop(1);
  CHECK(qemu.Running() == 0);
}

TEST_CASE("the order of DPDK's virtio-user, calls first and memory in one table, runs") {
  Machine dpdk(GENERATE(kNoAcknowledgement, kVhostNeedReply));
  VhostScene& scene = dpdk.scene;
  dpdk.Tell(Request::kSetOwner);
  scene.Ask(Request::kGetFeatures);
  dpdk.Tell(Request::kSetProtocolFeatures, scene.Ask(Request::kGetProtocolFeatures).Number());
  scene.Ask(Request::kGetQueueNum);
  dpdk.Tell(Request::kSetStatus, BytesOf(uint64_t{0}), {}, true);
  scene.Ask(Request::kGetStatus);
  for (const uint64_t ring : {0, 1}) dpdk.Tell(Request::kSetVringCall, ring, {dpdk.event.get()});
  dpdk.Tell(Request::kSetFeatures, VhostScene::kTaken);
  dpdk.Tell(Request::kSetMemTable, testing::TableOf({scene.guest.region()}), {scene.guest.file.get()}, true);
  for (const uint32_t ring : {0u, 1u}) {
    dpdk.Tell(Request::kSetVringNum, RingState(ring, 256));
    dpdk.Tell(Request::kSetVringBase, RingState(ring, 0));
    dpdk.Tell(Request::kSetVringAddr, BytesOf(scene.guest.Address(ring)));
    dpdk.Tell(Request::kSetVringKick, ring, {dpdk.event.get()});
  }
  dpdk.Enable(0, 1);
  dpdk.Tell(Request::kSetStatus, BytesOf(uint64_t{0xf}), {}, true);
  CHECK(dpdk.Running() == 2);
  CHECK(scene.Complaint().empty());
}

TEST_CASE("a front-end of before protocol features, which enables nothing, is served") {
  Machine old(kNoAcknowledgement);
  old.scene.Ask(Request::kGetFeatures);
  old.Tell(Request::kSetOwner);
  old.Tell(Request::kSetFeatures, uint64_t{1} << 32);
  old.scene.ShareMemory();
  for (const uint32_t ring : {0u, 1u}) old.StartRing(ring);
  CHECK(old.Running() == 2);
}

}  // namespace
}  // namespace sluice

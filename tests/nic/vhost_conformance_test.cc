// SPDX-License-Identifier: Apache-2.0
// The promises of a Nic (conformance.h), kept by a vhost-user port whose guest is a driver without a machine.
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>

#include "sluice/nic/model_copy_engine.h"
#include "sluice/nic/vhost_nic.h"
#include "tests/nic/conformance.h"
#include "tests/nic/virtio_user_nic.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::CheckConformance;
using testing::Rig;
using testing::Subject;
using testing::TempFolder;
using testing::VirtioUserNic;
namespace feature = testing::feature;

constexpr uint64_t kSplit = testing::kVirtioUserFeatures & ~feature::kPacked;

// A port, and a guest that takes of what it offers.
struct Kind {
  VhostRole role = VhostRole::kServer;
  uint64_t features = kSplit;
  uint64_t protocol = testing::kVirtioUserProtocol;
  DeferredCopyOptions copies = {};
};

Rig VhostRig(const Kind& kind) {
  auto folder = std::make_shared<TempFolder>();
  absl::StatusOr<std::unique_ptr<VhostNic>> port = OpenVhostNic(
      {.path = folder->file("vhost"), .role = kind.role, .packed = Want::kPrefer, .copies = kind.copies});
  if (!port.ok()) throw std::runtime_error(port.status().ToString());
  Rig rig;
  rig.a = *std::move(port);
  rig.b = std::make_unique<VirtioUserNic>(
      testing::VirtioUserNicOptions{.path = folder->file("vhost"),
                                    .listens = kind.role == VhostRole::kClient,
                                    .features = kind.features,
                                    .protocol_features = kind.protocol});
  rig.around = std::move(folder);
  return rig;
}

void CheckPort(const Kind& kind) {
  CheckConformance({.open = [kind] { return VhostRig(kind); }});
}

// Late, out of order, failing now and then, and often full.
absl::StatusOr<std::unique_ptr<CopyEngine>> BadEngine(QueueId) {
  return ModelCopyEngine::Create({.capacity = 8, .slowest = absl::Microseconds(30), .fail_chance = 0.05});
}

}  // namespace

TEST_CASE("a vhost-user port with a guest of split rings keeps the promises of a Nic", "[conformance]") {
  CheckPort({});
}

TEST_CASE("a vhost-user port with a guest of packed rings keeps the promises of a Nic", "[conformance]") {
  CheckPort({.features = testing::kVirtioUserFeatures});
}

TEST_CASE("a vhost-user port with a copy engine keeps the promises of a Nic", "[conformance]") {
  const uint64_t packed = GENERATE(uint64_t{0}, uint64_t{feature::kPacked});
  CheckPort({.features = kSplit | packed, .copies = {.engine = BadEngine, .at_least = 16}});
}

TEST_CASE("a vhost-user port that notes what is in flight keeps the promises of a Nic", "[conformance]") {
  const uint64_t packed = GENERATE(uint64_t{0}, uint64_t{feature::kPacked});
  const uint64_t noting = testing::kVirtioUserProtocol | BitOf(VhostProtocolFeature::kInflightShmfd);
  // By processor, and by an engine, which gives chains back late.
  const bool late = GENERATE(false, true);
  const DeferredCopyOptions copies =
      late ? DeferredCopyOptions{.engine = BadEngine, .at_least = 16} : DeferredCopyOptions{};
  CheckPort({.features = kSplit | packed, .protocol = noting, .copies = copies});
}

TEST_CASE("a vhost-user port that connects keeps the promises of a Nic", "[conformance]") {
  CheckPort({.role = VhostRole::kClient});
}

TEST_CASE("a vhost-user port with a guest that can do nothing keeps the promises of a Nic", "[conformance]") {
  CheckPort({.features = feature::kVersion1 | kVhostProtocolFeatures});
}

}  // namespace sluice

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

// A port, and a guest that takes `features` of what it offers.
Rig VhostRig(VhostRole role, uint64_t features, const DeferredCopyOptions& copies) {
  auto folder = std::make_shared<TempFolder>();
  absl::StatusOr<std::unique_ptr<VhostNic>> port =
      OpenVhostNic({.path = folder->file("vhost"), .role = role, .packed = Want::kPrefer, .copies = copies});
  if (!port.ok()) throw std::runtime_error(port.status().ToString());
  Rig rig;
  rig.a = *std::move(port);
  rig.b = std::make_unique<VirtioUserNic>(testing::VirtioUserNicOptions{
      .path = folder->file("vhost"), .listens = role == VhostRole::kClient, .features = features});
  rig.around = std::move(folder);
  return rig;
}

void CheckPort(VhostRole role, uint64_t features, const DeferredCopyOptions& copies = {}) {
  CheckConformance({.open = [=] { return VhostRig(role, features, copies); }});
}

// Late, out of order, failing now and then, and often full.
absl::StatusOr<std::unique_ptr<CopyEngine>> BadEngine(QueueId) {
  return ModelCopyEngine::Create({.capacity = 8, .slowest = absl::Microseconds(30), .fail_chance = 0.05});
}

}  // namespace

TEST_CASE("a vhost-user port with a copy engine keeps the promises of a Nic", "[conformance]") {
  const uint64_t packed = GENERATE(uint64_t{0}, feature::kPacked);
  CheckPort(VhostRole::kServer, (testing::kVirtioUserFeatures & ~feature::kPacked) | packed,
            {.engine = BadEngine, .at_least = 16});
}

TEST_CASE("a vhost-user port with a guest of split rings keeps the promises of a Nic", "[conformance]") {
  CheckPort(VhostRole::kServer, testing::kVirtioUserFeatures & ~feature::kPacked);
}

TEST_CASE("a vhost-user port with a guest of packed rings keeps the promises of a Nic", "[conformance]") {
  CheckPort(VhostRole::kServer, testing::kVirtioUserFeatures);
}

TEST_CASE("a vhost-user port that connects keeps the promises of a Nic", "[conformance]") {
  CheckPort(VhostRole::kClient, testing::kVirtioUserFeatures & ~feature::kPacked);
}

TEST_CASE("a vhost-user port with a guest that can do nothing keeps the promises of a Nic", "[conformance]") {
  CheckPort(VhostRole::kServer, feature::kVersion1 | kVhostProtocolFeatures);
}

}  // namespace sluice

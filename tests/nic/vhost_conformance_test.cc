// SPDX-License-Identifier: Apache-2.0
// The promises of a Nic (conformance.h), kept by a vhost-user port whose guest is a driver without a machine.
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>

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
Rig VhostRig(VhostRole role, uint64_t features) {
  auto folder = std::make_shared<TempFolder>();
  absl::StatusOr<std::unique_ptr<VhostNic>> port =
      OpenVhostNic({.path = folder->file("vhost"), .role = role, .packed = Want::kPrefer});
  if (!port.ok()) throw std::runtime_error(port.status().ToString());
  Rig rig;
  rig.a = *std::move(port);
  rig.b = std::make_unique<VirtioUserNic>(testing::VirtioUserNicOptions{
      .path = folder->file("vhost"), .listens = role == VhostRole::kClient, .features = features});
  rig.around = std::move(folder);
  return rig;
}

void CheckPort(VhostRole role, uint64_t features) {
  CheckConformance({.open = [=] { return VhostRig(role, features); }});
}

}  // namespace

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

// SPDX-License-Identifier: Apache-2.0
// The promises of a Nic (conformance.h), kept by model NICs on wires of this folder, and by the capture port.
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>

#include "sluice/nic/capture_nic.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/shm_wire.h"
#include "sluice/packet/capture_file.h"
#include "tests/nic/conformance.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::CheckConformance;
using testing::CheckLifecycle;
using testing::CheckSteering;
using testing::Rig;
using testing::TempFolder;

template <typename T>
T Take(absl::StatusOr<T> made) {
  if (!made.ok()) throw std::runtime_error(made.status().ToString());
  return *std::move(made);
}

std::unique_ptr<Nic> ShmNic(const std::string& path, ShmRole role) {
  return Take(
      ModelNic::Open({.name = role == ShmRole::kServer ? "server" : "client"},
                     Take(MakeShmWire({.path = path, .role = role, .retry = absl::Milliseconds(1)}))));
}

Rig ShmRig(ShmRole role_of_a) {
  auto folder = std::make_shared<TempFolder>();
  const ShmRole role_of_b = role_of_a == ShmRole::kServer ? ShmRole::kClient : ShmRole::kServer;
  Rig rig;
  rig.a = ShmNic(folder->file("wire"), role_of_a);
  rig.b = ShmNic(folder->file("wire"), role_of_b);
  rig.around = std::move(folder);
  return rig;
}

// Reads an empty capture and writes another.
Rig CaptureRig() {
  auto folder = std::make_shared<TempFolder>();
  if (!Take(CaptureWriter::Create(folder->file("in"), {}))->Close().ok())
    throw std::runtime_error("no capture");
  Rig rig;
  rig.a = Take(OpenCaptureNic({.read_path = folder->file("in"), .write_path = folder->file("out")}));
  rig.around = std::move(folder);
  return rig;
}

}  // namespace

TEST_CASE("a model NIC that serves a shared-memory wire keeps the promises of a Nic", "[conformance]") {
  CheckConformance({.open = [] { return ShmRig(ShmRole::kServer); }});
}

TEST_CASE("a model NIC at the client's end of a shared-memory wire keeps the promises of a Nic",
          "[conformance]") {
  CheckConformance({.open = [] { return ShmRig(ShmRole::kClient); }});
}

TEST_CASE("a capture port keeps the promises of a Nic that need no peer", "[conformance]") {
  CheckLifecycle({.open = CaptureRig});
  CheckSteering({.open = CaptureRig});
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// The promises of a Nic (conformance.h), kept by model NICs on wires into the kernel.
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/packet_socket_wire.h"
#include "sluice/nic/tap_wire.h"
#include "tests/nic/conformance.h"
#include "tests/support/netns.h"

namespace sluice {
namespace {

using testing::CheckConformance;
using testing::CheckLifecycle;
using testing::CheckSteering;
using testing::kSlowRestarts;
using testing::Namespace;
using testing::Rig;
using testing::VethPair;

std::unique_ptr<Nic> NicOn(absl::StatusOr<std::unique_ptr<Wire>> wire) {
  if (!wire.ok()) throw std::runtime_error(wire.status().ToString());
  auto nic = ModelNic::Open({.name = "kernel"}, *std::move(wire));
  if (!nic.ok()) throw std::runtime_error(nic.status().ToString());
  return *std::move(nic);
}

struct Cable {
  Namespace left = Namespace::Make("left");
  Namespace right = Namespace::Make("right");
  VethPair veth{left, "eth0", right, "eth0"};
};

Rig PacketSocketRig() {
  auto cable = std::make_shared<Cable>();
  Rig rig;
  rig.a = NicOn(MakePacketSocketWire({.interface = "eth0", .netns = cable->left.path()}));
  rig.b = NicOn(MakePacketSocketWire({.interface = "eth0", .netns = cable->right.path()}));
  rig.set_link = [cable](bool up) {
    cable->left.MustRun(std::string("ip link set eth0 ") + (up ? "up" : "down"));
  };
  rig.around = cable;
  return rig;
}

Rig TapRig() {
  auto kernel = std::make_shared<Namespace>(Namespace::Make("tap"));
  Rig rig;
  rig.a = NicOn(MakeTapWire({.interface = "tap0", .netns = kernel->path()}));
  rig.around = kernel;
  return rig;
}

}  // namespace

TEST_CASE("a model NIC on a packet socket wire keeps the promises of a Nic", "[conformance]") {
  CheckConformance({.open = PacketSocketRig,
                    .max_frame = 1514,
                    .back_pressure = false,    // veth drops what its peer has no room for
                    .counts_oversize = false,  // the interface's MTU is the limit, not the wire's
                    .restarts = kSlowRestarts});
}

TEST_CASE("a model NIC on a TAP wire keeps the promises of a Nic that need no peer", "[conformance]") {
  CheckLifecycle({.open = TapRig, .restarts = kSlowRestarts});
  CheckSteering({.open = TapRig});
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// The model, on each of its wires and in each of its manners, through the suite that every Nic passes.
#include <catch2/catch.hpp>
#include <utility>

#include "sluice/nic/faulty_wire.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "tests/nic/conformance.h"

namespace sluice::testing {
namespace {

using WirePair = std::pair<std::unique_ptr<Wire>, std::unique_ptr<Wire>>;

MacAddress Mac(uint8_t last) { return MacAddress({2, 0, 0, 0, 0, last}); }

std::unique_ptr<Nic> OpenModel(const ModelNicOptions& options, std::unique_ptr<Wire> wire) {
  absl::StatusOr<std::unique_ptr<ModelNic>> nic = ModelNic::Open(options, std::move(wire));
  REQUIRE(nic.ok());
  return *std::move(nic);
}

Rig ModelRig(WirePair wires, ModelNicOptions options = {}) {
  Rig rig;
  options.name = "a";
  options.mac = Mac(1);
  rig.a = OpenModel(options, std::move(wires.first));
  options.name = "b";
  options.mac = Mac(2);
  rig.b = OpenModel(options, std::move(wires.second));
  return rig;
}

TEST_CASE("the model NIC keeps the promises of a Nic", "[conformance]") {
  CheckConformance({.open = [] { return ModelRig(MakeWirePair()); }});
}

TEST_CASE("the model NIC keeps the promises of a Nic with several queues", "[conformance]") {
  CheckConformance({.open = [] { return ModelRig(MakeWirePair()); }, .rx_queues = 3});
}

TEST_CASE("the model NIC keeps the promises of a Nic when it looks into every frame", "[conformance]") {
  CheckConformance({.open = [] {
    return ModelRig(MakeWirePair(), {.strip_vlan = true, .verify_checksums = true, .stamp = true});
  }});
}

TEST_CASE("the model NIC keeps the promises of a Nic when it joins packets", "[conformance]") {
  const auto queues = GENERATE(uint16_t{1}, uint16_t{3});
  CheckConformance(
      {.open = [] { return ModelRig(MakeWirePair(), {.coalesce = CoalesceOptions{.flows = 16}}); },
       .rx_queues = queues});
}

TEST_CASE("the model NIC keeps the promises of a Nic over a wire that carries nothing unfinished",
          "[conformance]") {
  const PairOptions plain = {.max_frame = 1514, .carries_offloads = false, .carries_fragments = false};
  CheckConformance({.open = [plain] { return ModelRig(MakeWirePair(plain)); }});
}

TEST_CASE("the poorest hardware keeps the promises of a Nic", "[conformance]") {
  CheckConformance(
      {.open = [] { return ModelRig(MakeWirePair(), {.hardware = ModelHardware::Poor()}); }, .ring = 64});
}

TEST_CASE("a faulty wire without faults is as good as the wire in it", "[conformance]") {
  CheckConformance({.open = [] {
    WirePair wires = MakeWirePair();
    wires.first = MakeFaultyWire(std::move(wires.first), {});
    wires.second = MakeFaultyWire(std::move(wires.second), {});
    return ModelRig(std::move(wires));
  }});
}

}  // namespace
}  // namespace sluice::testing

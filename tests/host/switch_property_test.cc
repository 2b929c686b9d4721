// SPDX-License-Identifier: Apache-2.0
// The switch against a twin that is too simple to be wrong: a map and a loop.

#include <algorithm>
#include <utility>

#include "tests/host/switch_rig.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

// Untagged frames in, bodies out; ports are access ports. VLAN tags have a table of their own (vlan_test.cc).
class TwinSwitch {
 public:
  void Set(uint16_t port, uint16_t vlan) {
    Remove(port);
    vlans_[port] = vlan;
  }
  void Remove(uint16_t port) {
    vlans_.erase(port);
    std::erase_if(seen_, [port](const auto& row) { return row.second.port == port; });
  }
  const std::map<uint16_t, uint16_t>& ports() const { return vlans_; }

  std::vector<uint16_t> Send(uint16_t from, uint64_t source, uint64_t destination, uint64_t second) {
    const uint16_t vlan = vlans_.at(from);
    seen_[{vlan, source}] = {from, second};
    const auto found = seen_.find({vlan, destination});
    if (found != seen_.end() && second - found->second.second <= 300) {
      return found->second.port == from ? std::vector<uint16_t>{} : std::vector<uint16_t>{found->second.port};
    }
    std::vector<uint16_t> all;
    for (const auto& [port, its_vlan] : vlans_) {
      if (port != from && its_vlan == vlan) all.push_back(port);
    }
    return all;
  }

 private:
  struct Seen {
    uint16_t port;
    uint64_t second;
  };
  std::map<uint16_t, uint16_t> vlans_;
  std::map<std::pair<uint16_t, uint64_t>, Seen> seen_;
};

// Few stations on few VLANs, so that they meet.
struct World {
  explicit World(uint64_t seed) : random(seed) {
    for (int i = 0; i < 5; ++i) AddPort();
  }

  void AddPort() {
    const auto vlan = static_cast<uint16_t>(1 + Below(random, 2));
    twin.Set(rig.Access(vlan).value(), vlan);
  }
  uint16_t AnyPort() {
    return std::next(twin.ports().begin(), long(Below(random, twin.ports().size())))->first;
  }
  static std::string MacOf(uint64_t station) {
    return MacAddress({2, 0, 0, 0, uint8_t(station >> 8), uint8_t(station)}).ToString();
  }

  void Send() {
    const uint16_t from = AnyPort();
    const uint64_t source = Below(random, 24);
    const uint64_t destination = Below(random, 24);
    const Egress out = rig.Send(
        PortId{from}, UdpFrame({.source_mac = MacOf(source), .destination_mac = MacOf(destination)}));
    REQUIRE(PortsOf(out) == twin.Send(from, source, destination, second));
  }
  void Wait() {
    const uint64_t seconds = Below(random, 100);
    second += seconds;
    rig.clock.Advance(absl::Seconds(static_cast<int64_t>(seconds)));
  }
  void RemoveAndAdd() {
    const uint16_t port = AnyPort();
    REQUIRE(rig.the_switch->RemovePort(PortId{port}).ok());
    twin.Remove(port);
    AddPort();
  }
  void ChangeVlan() {
    const uint16_t port = AnyPort();
    const auto vlan = static_cast<uint16_t>(twin.ports().at(port) % 2 + 1);
    REQUIRE(rig.the_switch->UpdatePort(PortId{port}, {.vlan = vlan}).ok());
    twin.Set(port, vlan);
  }

  Random random;
  SwitchRig rig;
  TwinSwitch twin;
  uint64_t second = 0;
};

TEST_CASE("over random traffic, time and changes, every frame leaves where the simple twin says") {
  const uint64_t seed = PrintedSeed();
  for (uint64_t run = 0; run < 20; ++run) {
    World world(seed + run);
    for (int step = 0; step < 500; ++step) {
      const uint64_t what = Below(world.random, 100);
      if (what < 90) {
        world.Send();
      } else if (what < 96) {
        world.Wait();
      } else {
        what < 98 ? world.RemoveAndAdd() : world.ChangeVlan();
      }
    }
    CHECK(world.rig.Balanced());
    CHECK(world.rig.pool->available() == world.rig.pool->options().packets);
  }
}

TEST_CASE("over random bursts with refusing egress, received plus copies is sent plus held plus drops") {
  const uint64_t seed = PrintedSeed();
  Random random(seed);
  SwitchRig rig;
  for (int i = 0; i < 4; ++i) rig.Add({.max_addresses = 8});
  for (int round = 0; round < 600; ++round) {
    Burst burst;
    for (uint64_t n = Below(random, 65); n > 0; --n) {
      PacketPtr packet = rig.pool->GetOne();
      if (packet == nullptr) break;
      packet->SetLength(static_cast<uint32_t>(Below(random, 64)));
      for (uint32_t i = 0; i < packet->length(); ++i)
        packet->data()[i] = static_cast<uint8_t>(Below(random, 4));
      burst.Push(std::move(packet));
    }
    Switch::Turn turn(*rig.the_switch, WorkerId{0});
    turn.Forward(PortId(static_cast<uint16_t>(Below(random, 5))), burst);
    turn.Flush([&](PortId, Burst& packets) {
      if (Below(random, 4) != 0) return;  // else hardly a port would ever be full
      for (uint64_t n = Below(random, packets.size() + 1); n > 0; --n) packets.PopFront();
    });
    REQUIRE(rig.Balanced());
  }
  CHECK(rig.the_switch->stats().drops[DropReason::kTransmitRingFull] > 0);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_HOST_SWITCH_RIG_H_
#define SLUICE_TESTS_HOST_SWITCH_RIG_H_

// A switch on a bench: frames go in at one port, and what comes out is looked at. Time stands still until
// told.

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sluice/host/switch.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// Frames by the port that they left at.
using Egress = std::map<uint16_t, std::vector<Bytes>>;

inline std::unique_ptr<PacketPool> SmallPool(uint32_t packets = 2048) {
  return std::move(PacketPool::Create({.packets = packets, .huge_pages = HugePages::kOff})).value();
}

class SwitchRig {
 public:
  explicit SwitchRig(SwitchOptions options = {}) {
    options.pool = pool.get();
    options.clock = &clock;
    the_switch = std::move(Switch::Create(options)).value();
  }

  PortId Add(const SwitchPortOptions& options = {}) { return the_switch->AddPort(options).value(); }
  PortId Access(uint16_t vlan) { return Add({.vlan = vlan}); }
  PortId Trunk(uint16_t native, std::vector<uint16_t> allowed = {}) {
    return Add({.vlan_mode = VlanMode::kTrunk, .vlan = native, .allowed_vlans = std::move(allowed)});
  }

  // What comes out when `frame` goes in at `from`.
  Egress Send(PortId from, const Bytes& frame) { return SendPacket(from, MakePacket(*pool, frame)); }
  Egress SendPacket(PortId from, PacketPtr packet) {
    Burst burst;
    burst.Push(std::move(packet));
    return SendBurst(from, std::move(burst));
  }
  Egress SendAll(PortId from, const std::vector<Bytes>& frames) {
    Burst burst;
    for (const Bytes& frame : frames) burst.Push(MakePacket(*pool, frame));
    return SendBurst(from, std::move(burst));
  }
  Egress SendBurst(PortId from, Burst burst) {
    Switch::Turn turn(*the_switch, WorkerId{0});
    turn.Forward(from, burst);
    CHECK(burst.empty());
    return Take(turn);
  }
  Egress Take(Switch::Turn& turn) {
    Egress egress;
    turn.Flush([&](PortId to, Burst& packets) {
      while (!packets.empty()) egress[to.value()].push_back(BytesOf(*packets.PopFront()));
    });
    return egress;
  }

  SwitchPortStats stats(PortId port) const { return the_switch->port_stats(port).value(); }
  uint64_t drops(PortId port, DropReason reason) const { return stats(port).drops[reason]; }
  bool Balanced() const {
    const SwitchStats all = the_switch->stats();
    return all.received + all.copies == all.sent + all.held + all.drops.total();
  }

  ManualClock clock;
  std::unique_ptr<PacketPool> pool = SmallPool();
  std::unique_ptr<Switch> the_switch;
};

inline std::vector<uint16_t> PortsOf(const Egress& egress) {
  std::vector<uint16_t> ports;
  for (const auto& [port, frames] : egress) ports.push_back(port);
  return ports;
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_HOST_SWITCH_RIG_H_

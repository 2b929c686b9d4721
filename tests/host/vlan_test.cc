// SPDX-License-Identifier: Apache-2.0
// VLANs as a table: how a frame comes in, and how it leaves at each kind of port.

#include <optional>

#include "tests/host/switch_rig.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kPriority = 5 << 13;

// No tag, or this one.
using Tag = std::optional<uint16_t>;

Bytes Broadcast(Tag tag) {
  FrameSpec spec{.destination_mac = "ff:ff:ff:ff:ff:ff"};
  if (tag) spec.vlans = {*tag};
  return UdpFrame(spec);
}

struct Row {
  const char* what;
  uint16_t in;                  // port, as in VlanRig
  Tag tag;                      // of the frame that comes in
  std::map<uint16_t, Tag> out;  // tag by port that it leaves at
};

// 0, 1: access 10.   2: access 20.   3: trunk, native 10, all.   4: trunk, no native, 10 and 20.   5: trunk, native
// 20, allows 30.
struct VlanRig : SwitchRig {
  VlanRig() {
    Access(10);
    Access(10);
    Access(20);
    Trunk(10);
    Trunk(0, {10, 20});
    Trunk(20, {30});
  }
};

const Row kRows[] = {
    {"access to its VLAN", 0, {}, {{1, {}}, {3, {}}, {4, 10}}},
    {"access 20", 2, {}, {{3, 20}, {4, 20}, {5, {}}}},
    {"priority tag on access", 0, kPriority, {{1, {}}, {3, {}}, {4, kPriority | 10}}},
    {"tag on access is refused, its own too", 0, 10, {}},
    {"native VLAN of a trunk", 3, {}, {{0, {}}, {1, {}}, {4, 10}}},
    {"native VLAN with a tag", 3, 10, {{0, {}}, {1, {}}, {4, 10}}},
    {"tag through trunks keeps its priority", 3, kPriority | 20, {{2, {}}, {4, kPriority | 20}, {5, {}}}},
    {"tag that only one other trunk allows", 3, 30, {{5, 30}}},
    {"tag that no other port allows", 3, 40, {}},
    {"no tag without native VLAN", 4, {}, {}},
    {"priority tag without native VLAN", 4, kPriority, {}},
    {"tag that is not allowed", 4, 30, {}},
    {"priority tag in a native VLAN is written over",
     5,
     kPriority,
     {{2, {}}, {3, kPriority | 20}, {4, kPriority | 20}}},
    {"reserved VLAN 4095", 3, 4095, {}},
};

std::map<uint16_t, Bytes> Single(const Egress& egress) {
  std::map<uint16_t, Bytes> single;
  for (const auto& [port, frames] : egress) {
    CHECK(frames.size() == 1);
    single[port] = frames.front();
  }
  return single;
}

TEST_CASE("each kind of port takes, tags and untags as 802.1Q says") {
  for (const Row& row : kRows) {
    INFO(row.what);
    VlanRig rig;
    std::map<uint16_t, Bytes> expected;
    for (const auto& [port, tag] : row.out) expected[port] = Broadcast(tag);
    CHECK(Single(rig.Send(PortId{row.in}, Broadcast(row.tag))) == expected);
    CHECK(rig.Balanced());
  }
}

TEST_CASE("a tag that the device took out counts as the frame's own") {
  for (const Row& row : kRows) {
    if (!row.tag) continue;
    INFO(row.what);
    VlanRig rig;
    std::map<uint16_t, Bytes> expected;
    for (const auto& [port, tag] : row.out) expected[port] = Broadcast(tag);
    PacketPtr packet = MakePacket(*rig.pool, Broadcast({}));
    packet->vlan_stripped = true;
    packet->vlan_tci = *row.tag;
    CHECK(Single(rig.SendPacket(PortId{row.in}, std::move(packet))) == expected);
  }
}

TEST_CASE("frames of a train that differ in nothing but their tags stay in their VLANs") {
  SwitchRig rig;
  const PortId ten = rig.Access(10), twenty = rig.Access(20), trunk = rig.Trunk(10);
  FrameSpec spec{.destination_mac = "02:00:00:00:00:aa"};
  const Bytes plain = UdpFrame(spec);
  spec.vlans = {20};
  const Bytes tagged = UdpFrame(spec);
  Burst burst;
  for (int i = 0; i < 8; ++i) {
    burst.Push(MakePacket(*rig.pool, i == 5 ? tagged : plain));
    Packet& packet = burst[burst.size() - 1];
    packet.vlan_tci = i % 2 == 0 ? 0 : 20;
    packet.vlan_stripped = i == 1 || i == 7;
    packet.offload.insert_vlan = i == 3;
  }
  Switch::Turn turn(*rig.the_switch, WorkerId{0});
  turn.Forward(trunk, burst);
  const std::vector<Bytes> four(4, plain);
  CHECK(rig.Take(turn) == Egress{{ten.value(), four}, {twenty.value(), four}});
}

TEST_CASE("a device that inserts tags is left to do so") {
  SwitchRig rig;
  const PortId guest = rig.Access(10);
  rig.Add({.vlan_mode = VlanMode::kTrunk, .vlan = 0, .inserts_vlan = true});
  Burst burst;
  burst.Push(MakePacket(*rig.pool, Broadcast({})));
  Switch::Turn turn(*rig.the_switch, WorkerId{0});
  turn.Forward(guest, burst);
  turn.Flush([](PortId, Burst& packets) {
    const PacketPtr packet = packets.PopFront();
    CHECK(packet->offload.insert_vlan);
    CHECK(packet->vlan_tci == 10);
    CHECK(BytesOf(*packet) == Broadcast({}));
  });
}

TEST_CASE("what a port may not take in is counted under no-vlan") {
  VlanRig rig;
  rig.Send(PortId{0}, Broadcast(10));
  rig.Send(PortId{4}, Broadcast({}));
  rig.Send(PortId{4}, Broadcast(30));
  CHECK(rig.drops(PortId{0}, DropReason::kNoVlan) == 1);
  CHECK(rig.drops(PortId{4}, DropReason::kNoVlan) == 2);
  CHECK(rig.the_switch->addresses().empty());
}

TEST_CASE("one address may be on different ports in different VLANs") {
  VlanRig rig;
  rig.Send(PortId{0}, Broadcast({}));
  rig.Send(PortId{2}, Broadcast({}));
  const Bytes reply = UdpFrame({.source_mac = "02:00:00:00:00:99", .destination_mac = "02:00:00:00:00:01"});
  CHECK(PortsOf(rig.Send(PortId{1}, reply)) == std::vector<uint16_t>{0});
  CHECK(PortsOf(rig.Send(PortId{5}, reply)) == std::vector<uint16_t>{2});
}

TEST_CASE("a port whose VLAN changes forgets its addresses and gets nothing more of the old VLAN") {
  VlanRig rig;
  rig.Send(PortId{1}, Broadcast({}));
  REQUIRE(rig.the_switch->UpdatePort(PortId{1}, {.vlan = 20}).ok());
  const Bytes to_it = UdpFrame({.source_mac = "02:00:00:00:00:99", .destination_mac = "02:00:00:00:00:01"});
  CHECK(PortsOf(rig.Send(PortId{0}, to_it)) == std::vector<uint16_t>{3, 4});
}

TEST_CASE("a service tag is payload to a switch of customer tags") {
  VlanRig rig;
  const Bytes frame = UdpFrame(
      {.destination_mac = "ff:ff:ff:ff:ff:ff", .vlans = {7, 8}, .outer_vlan_type = Ethertype::kServiceVlan});
  CHECK(Single(rig.Send(PortId{0}, frame)).at(1) == frame);
}

TEST_CASE("a tag cut off by the end of the frame is no tag") {
  VlanRig rig;
  const Bytes frame = Cut(Broadcast(10), 16);
  CHECK(Single(rig.Send(PortId{0}, frame)).at(1) == frame);
}

}  // namespace
}  // namespace sluice::testing

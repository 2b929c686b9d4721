// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "host/vlan_tag_internal.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

constexpr uint32_t kAddressBytes = 2 * MacAddress::kSize;
constexpr uint32_t kTagBytes = sizeof(VlanTag);

bool Writable(Packet& packet) { return !packet.borrows() || packet.Own(); }

bool PushTag(Packet& packet, uint16_t tci) {
  if (!Writable(packet) || packet.headroom() < kTagBytes) return false;
  uint8_t* data = packet.Prepend(kTagBytes);
  std::memmove(data, data + kTagBytes, kAddressBytes);
  HeaderAt<EthernetHeader>(data, 0)->type = Ethertype::kVlan;
  HeaderAt<VlanTag>(data, sizeof(EthernetHeader))->tci = tci;
  return true;
}

bool PopTag(Packet& packet) {
  if (!Writable(packet)) return false;
  std::memmove(packet.data() + kTagBytes, packet.data(), kAddressBytes);
  packet.TrimFront(kTagBytes);
  return true;
}

bool RewriteTag(Packet& packet, uint16_t tci) {
  if (TagAt(packet, TagPlace::kFrame) == tci) return true;
  if (!Writable(packet)) return false;
  HeaderAt<VlanTag>(packet.data(), sizeof(EthernetHeader))->tci = tci;
  return true;
}

void TakeFromMetadata(Packet& packet) {
  packet.vlan_tci = 0;
  packet.vlan_stripped = false;
  packet.offload.insert_vlan = false;
}

}  // namespace

TagPlace FindTag(const Packet& packet) {
  if (HasTagApart(packet)) return TagPlace::kMetadata;
  const bool tagged = HeaderAt<EthernetHeader>(packet.data(), 0)->type == Ethertype::kVlan;
  return tagged && packet.head_length() >= sizeof(EthernetHeader) + kTagBytes ? TagPlace::kFrame
                                                                              : TagPlace::kNone;
}

uint16_t TagAt(const Packet& packet, TagPlace place) {
  if (place == TagPlace::kMetadata) return packet.vlan_tci;
  return HeaderAt<VlanTag>(packet.data(), sizeof(EthernetHeader))->tci.get();
}

bool SetTag(Packet& packet, TagPlace place, uint16_t vlan, bool device_inserts) {
  const uint16_t priority =
      place == TagPlace::kNone ? uint16_t{0} : static_cast<uint16_t>(TagAt(packet, place) & ~kVlanMask);
  const auto tci = static_cast<uint16_t>(priority | vlan);
  if (place == TagPlace::kFrame) return RewriteTag(packet, tci);
  TakeFromMetadata(packet);
  if (!device_inserts) return PushTag(packet, tci);
  packet.vlan_tci = tci;
  packet.offload.insert_vlan = true;
  return true;
}

bool RemoveTag(Packet& packet, TagPlace place) {
  if (place == TagPlace::kFrame) return PopTag(packet);
  TakeFromMetadata(packet);
  return true;
}

}  // namespace sluice

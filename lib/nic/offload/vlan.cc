// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "nic/offload/vlan_internal.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

constexpr size_t kAddresses = 2 * MacAddress::kSize;  // they move; what follows stays

}  // namespace

void StripVlan(Packet& packet) {
  if (packet.borrows() || packet.head_length() < sizeof(EthernetHeader) + sizeof(VlanTag)) return;
  if (HeaderAt<EthernetHeader>(packet.data(), 0)->type.get() != Ethertype::kVlan) return;
  packet.vlan_tci = HeaderAt<VlanTag>(packet.data(), sizeof(EthernetHeader))->tci.get();
  packet.vlan_stripped = true;
  std::memmove(packet.data() + sizeof(VlanTag), packet.data(), kAddresses);
  packet.TrimFront(sizeof(VlanTag));
}

bool InsertVlan(Packet& packet) {
  if (packet.headroom() < sizeof(VlanTag) || packet.head_length() < sizeof(EthernetHeader)) return false;
  uint8_t* const data = packet.Prepend(sizeof(VlanTag));
  std::memmove(data, data + sizeof(VlanTag), kAddresses);
  HeaderAt<EthernetHeader>(data, 0)->type = Ethertype::kVlan;
  // The old Ethertype now follows the TCI, as it should (IEEE 802.1Q, 9.6).
  HeaderAt<VlanTag>(data, sizeof(EthernetHeader))->tci = packet.vlan_tci;
  return true;
}

}  // namespace sluice

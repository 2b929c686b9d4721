// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_OFFLOAD_VLAN_INTERNAL_H_
#define SLUICE_NIC_OFFLOAD_VLAN_INTERNAL_H_

// The 802.1Q tag, out of a frame and into it. Layer offsets are not moved.

#include "sluice/packet/packet.h"

namespace sluice {

// Takes the outermost tag out to Packet::vlan_tci; leaves a frame without one as it is, as well as a frame
// whose first bytes are not there to be written.
void StripVlan(Packet& packet);

// Puts Packet::vlan_tci in front of the Ethertype. False, and nothing done, when the head has no 4 bytes of
// headroom or no whole Ethernet header.
[[nodiscard]] bool InsertVlan(Packet& packet);

}  // namespace sluice

#endif  // SLUICE_NIC_OFFLOAD_VLAN_INTERNAL_H_

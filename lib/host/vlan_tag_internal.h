// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_HOST_VLAN_TAG_INTERNAL_H_
#define SLUICE_HOST_VLAN_TAG_INTERNAL_H_

// The C-tag of a packet (IEEE 802.1Q, 9.6), which lies in the frame or, taken out by the device that received
// it, in the metadata.

#include <cstdint>

#include "sluice/packet/packet.h"

namespace sluice {

inline constexpr uint16_t kVlanMask = 0x0fff;
inline constexpr uint16_t kNoVlanId = 0;  // in a tag: carries a priority only

enum class TagPlace : uint8_t { kNone, kFrame, kMetadata };

// Whether its tag is in the metadata: taken out, or to be put in.
inline bool HasTagApart(const Packet& packet) { return packet.vlan_stripped || packet.offload.insert_vlan; }
// Where the outermost C-tag of a frame of at least 14 bytes is. A tag cut off by the frame's end is none.
TagPlace FindTag(const Packet& packet);
// Its control information; `place` is not kNone.
uint16_t TagAt(const Packet& packet, TagPlace place);

// Makes the packet leave with a tag of `vlan`, keeping the priority of the one it has; in the metadata when
// the device inserts tags. False when there is no room for it, or to write at all: drop as kTooLong.
[[nodiscard]] bool SetTag(Packet& packet, TagPlace place, uint16_t vlan, bool device_inserts);
// Makes it leave without the tag at `place`. False as above.
[[nodiscard]] bool RemoveTag(Packet& packet, TagPlace place);

}  // namespace sluice

#endif  // SLUICE_HOST_VLAN_TAG_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#include "nic/wire/shm_protocol_internal.h"

namespace sluice {

// meta:   bit 0-4 the requests, in the order of OffloadRequest; 5 vlan_stripped; 6-7 and 8-9 the verdicts on
//         L3 and L4; 10-11 fixed_ids; 16-31 vlan_tci; 32-47 mss; 48-63 mss_override. 12-15 are zero.
namespace {

constexpr uint64_t kUnusedBits = 0xf000;

uint64_t Bit(bool set, int at) { return uint64_t{set} << at; }
bool IsSet(uint64_t meta, int at) { return (meta >> at & 1) != 0; }
ChecksumVerdict Verdict(uint64_t meta, int at) { return static_cast<ChecksumVerdict>(meta >> at & 3); }

}  // namespace

uint64_t EncodeShmMeta(const Packet& packet) {
  const OffloadRequest& ask = packet.offload;
  return Bit(ask.l4_checksum, 0) | Bit(ask.l3_checksum, 1) | Bit(ask.outer_checksum, 2) |
         Bit(ask.segment, 3) | Bit(ask.insert_vlan, 4) | Bit(packet.vlan_stripped, 5) |
         uint64_t{static_cast<uint8_t>(packet.l3_checksum)} << 6 |
         uint64_t{static_cast<uint8_t>(packet.l4_checksum)} << 8 | Bit(ask.fixed_ids.outer, 10) |
         Bit(ask.fixed_ids.inner, 11) | uint64_t{packet.vlan_tci} << 16 | uint64_t{ask.mss} << 32 |
         uint64_t{ask.mss_override} << 48;
}

bool DecodeShmMeta(uint64_t meta, Packet& packet) {
  OffloadRequest& ask = packet.offload;
  ask.l4_checksum = IsSet(meta, 0);
  ask.l3_checksum = IsSet(meta, 1);
  ask.outer_checksum = IsSet(meta, 2);
  ask.segment = IsSet(meta, 3);
  ask.insert_vlan = IsSet(meta, 4);
  packet.vlan_stripped = IsSet(meta, 5);
  packet.l3_checksum = Verdict(meta, 6);
  packet.l4_checksum = Verdict(meta, 8);
  ask.fixed_ids = {.outer = IsSet(meta, 10), .inner = IsSet(meta, 11)};
  packet.vlan_tci = static_cast<uint16_t>(meta >> 16);
  ask.mss = static_cast<uint16_t>(meta >> 32);
  ask.mss_override = static_cast<uint16_t>(meta >> 48);
  // Segmenting into pieces of nothing never ends.
  return (meta & kUnusedBits) == 0 && (!ask.segment || ask.mss != 0);
}

}  // namespace sluice

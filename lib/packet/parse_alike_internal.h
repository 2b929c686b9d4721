// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_PARSE_ALIKE_INTERNAL_H_
#define SLUICE_LIB_PACKET_PARSE_ALIKE_INTERNAL_H_

// What the variants that parse packets in runs share: which layers a run may have, and what of its packets is
// the same but not among the bytes of a level that they compare. For x86-64 only.

#include <emmintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "packet/parse_burst_internal.h"
#include "packet/parse_internal.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {

inline bool IsIpv6(const LayerOffsets& at) { return at.l3_type == L3Type::kIpv6; }

// Whether `at` is as ParseUsual fills it.
inline bool IsUsual(const LayerOffsets& at) {
  if (at.l3_type != L3Type::kIpv4 && !IsIpv6(at)) return false;
  const size_t header = IsIpv6(at) ? sizeof(Ipv6Header) : sizeof(Ipv4Header);
  return at.l4 - at.l3 == static_cast<int>(header) &&
         (at.l4_type == L4Type::kTcp || at.l4_type == L4Type::kUdp);
}
inline bool IsUsual(const Layers& layers) {
  const size_t l2 = sizeof(EthernetHeader) + layers.vlan_tags * sizeof(VlanTag);
  if (!IsUsual(layers.outer) || layers.vlan_tags > 2 || layers.outer.l3 != l2) return false;
  if (layers.tunnel == TunnelType::kNone) return true;
  if (layers.tunnel != TunnelType::kVxlan && layers.tunnel != TunnelType::kGeneve) return false;
  return layers.outer.l4_type == L4Type::kUdp && layers.inner_verdict == ParseVerdict::kOk &&
         layers.inner_l2 == layers.outer.payload + sizeof(VxlanHeader) && IsUsual(layers.inner) &&
         layers.inner.l3 == layers.inner_l2 + sizeof(EthernetHeader);
}

// The Ethertypes of up to two tags, as they lie in a frame.
struct Tags {
  uint64_t care = 0;
  uint64_t value = 0;

  bool operator()(const uint8_t* data) const { return (Read(data) & care) == value; }
  static uint64_t Read(const uint8_t* data) {
    uint64_t tags;
    std::memcpy(&tags, data + offsetof(EthernetHeader, type), sizeof(tags));
    return tags;
  }
};

// What the tags of a packet are that was parsed as `layers`, or may have been: false when it has others.
inline bool FindTags(const Packet& packet, const Layers& layers, Tags& tags) {
  if (packet.head_length() < layers.outer.payload) return false;
  for (uint32_t i = 0; i < layers.vlan_tags; ++i) {
    const uint32_t at = static_cast<uint32_t>(offsetof(EthernetHeader, type) + i * sizeof(VlanTag));
    if (!IsVlan(HeaderAt<BigEndian<Ethertype>>(packet.data(), at)->get())) return false;
    tags.care |= uint64_t{0xffff} << (32 * i);
  }
  tags.value = Tags::Read(packet.data()) & tags.care;
  return true;
}

inline bool AnnouncesTunnel(const uint8_t* udp) {
  return MayBeTunnel(HeaderAt<UdpHeader>(udp, 0)->destination_port.get());
}

// The layers of a run in registers, which no store to a packet can change.
class SameLayers {
 public:
  explicit SameLayers(const Layers& layers) {
    static_assert(sizeof(Layers) == sizeof(offsets_) + sizeof(rest_));
    std::memcpy(&offsets_, &layers, sizeof(offsets_));
    std::memcpy(&rest_, reinterpret_cast<const char*>(&layers) + sizeof(offsets_), sizeof(rest_));
  }
  [[gnu::always_inline]] void Store(Packet& packet) const {
    char* const to = reinterpret_cast<char*>(&packet.layers());
    std::memcpy(to, &offsets_, sizeof(offsets_));
    std::memcpy(to + sizeof(offsets_), &rest_, sizeof(rest_));
  }

 private:
  __m128i offsets_;
  uint32_t rest_;
};

// What a variant has for the two shapes of a run, UDP first and then TCP: each parses from `first` on as many packets
// as have `layers`, and returns the first that may have others.
using ParseShape = size_t(const PacketRun& run, size_t first, const Layers& layers, const Tags& tags);
struct ShapeParsers {
  ParseShape* plain[2];
  ParseShape* tunnelled[2];
};

// A ParseAlikeFunction by those.
template <const ShapeParsers& kParsers>
size_t ParseAlike(const PacketRun& run, size_t first, const Layers& layers) {
  Tags tags;
  if (!IsUsual(layers) || !FindTags(*run.packets[first], layers, tags)) return first;
  if (layers.tunnel != TunnelType::kNone) {
    return kParsers.tunnelled[layers.inner.l4_type == L4Type::kTcp](run, first, layers, tags);
  }
  if (run.flows == LayerSet::kInner) return first;
  return kParsers.plain[layers.outer.l4_type == L4Type::kTcp](run, first, layers, tags);
}

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_PARSE_ALIKE_INTERNAL_H_

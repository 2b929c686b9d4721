// SPDX-License-Identifier: Apache-2.0
// The short way through the usual frames, tunnels included.

#include "packet/parse_usual_internal.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

inline bool ParseUsualL3(Extent& in, uint32_t at, Ethertype type, LayerOffsets& out) {
  OffsetsWord word = 0;
  if (type == Ethertype::kIpv4) word = ParseUsualIp<Ipv4Header>(in, at);
  if (type == Ethertype::kIpv6) word = ParseUsualIp<Ipv6Header>(in, at);
  Write(word, out);
  return word != 0;
}

// Whether `port` announces no tunnel, or one whose header at `at` is a usual one.
inline bool IsUsualTunnel(const Extent& in, uint32_t at, uint16_t port, TunnelType& tunnel) {
  static_assert(sizeof(VxlanHeader) == sizeof(GeneveHeader));
  if (!MayBeTunnel(port)) [[likely]]
    return true;
  if (port == kVxlanPort) {
    tunnel = TunnelType::kVxlan;
    return in.head >= at + sizeof(VxlanHeader) &&
           (in.At<VxlanHeader>(at).flags & VxlanHeader::kValidVni) != 0;
  }
  if (port == kGenevePort) {
    tunnel = TunnelType::kGeneve;
    return in.head >= at + sizeof(GeneveHeader) && in.At<GeneveHeader>(at).version_length == 0 &&
           in.At<GeneveHeader>(at).type == Ethertype::kBridging;
  }
  return port != kVxlanGpePort && port != kMplsUdpPort;
}

}  // namespace

bool ParseUsual(const Extent& whole, Layers& layers) {
  Extent in = whole;
  Ethertype type;
  uint32_t at = 0;
  uint8_t tags;
  LayerOffsets outer, inner;
  TunnelType tunnel = TunnelType::kNone;
  uint32_t inner_l2 = 0;
  if (!SkipUsualEthernet(in, at, tags, type) || !ParseUsualL3(in, at, type, outer)) return false;
  const uint8_t outer_tags = tags;
  if (outer.l4_type == L4Type::kUdp) {
    const uint16_t port = in.At<UdpHeader>(outer.l4).destination_port.get();
    if (!IsUsualTunnel(in, outer.payload, port, tunnel)) return false;
    if (tunnel != TunnelType::kNone) {
      inner_l2 = at = outer.payload + uint32_t{sizeof(VxlanHeader)};
      if (!SkipUsualEthernet(in, at, tags, type) || !ParseUsualL3(in, at, type, inner)) return false;
    }
  }
  layers.outer = outer;
  layers.inner = inner;
  layers.inner_l2 = static_cast<uint16_t>(inner_l2);
  layers.tunnel = tunnel;
  layers.vlan_tags = outer_tags & 3;
  layers.inner_verdict = ParseVerdict::kOk;
  return true;
}

}  // namespace sluice

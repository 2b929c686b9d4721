// SPDX-License-Identifier: Apache-2.0
// Fields out of a frame. Each header was found by Parse, which looked at its length; what is in front of the
// layers is looked at here, for it is wanted of frames that nobody parsed.

#include <algorithm>

#include "flow/frame_fields_internal.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {
namespace {

// Ethernet at `at` and the tags behind it, as far as they end before `end`.
void TakeEthernet(const uint8_t* data, size_t at, size_t end, HeaderFields& out) {
  if (at + sizeof(EthernetHeader) > end) return;
  const auto* ethernet = HeaderAt<EthernetHeader>(data, at);
  out.destination = ethernet->destination;
  out.source = ethernet->source;
  out.has |= HeaderFields::kEthernet;
  Ethertype type = ethernet->type.get();
  at += sizeof(EthernetHeader);
  for (int tags = 0; IsVlan(type) && tags < kMaxVlanTags && at + sizeof(VlanTag) <= end; ++tags) {
    const auto* tag = HeaderAt<VlanTag>(data, at);
    if ((out.has & HeaderFields::kVlan) == 0) out.tci = tag->tci.get();
    out.has |= HeaderFields::kVlan;
    type = tag->type.get();
    at += sizeof(VlanTag);
  }
  out.type = static_cast<uint16_t>(type);
}

void TakeIpv4(const Ipv4Header& ip, HeaderFields& out) {
  out.has |= HeaderFields::kIpv4;
  std::copy_n(ip.source.bytes().begin(), sizeof(Ipv4Address), out.source_ip.begin());
  std::copy_n(ip.destination.bytes().begin(), sizeof(Ipv4Address), out.destination_ip.begin());
  out.protocol = static_cast<uint8_t>(ip.protocol);
  out.traffic_class = ip.dscp_ecn;
  out.hops = ip.ttl;
  out.fragment = ip.flags_offset.get();
}

void TakeIpv6(const Ipv6Header& ip, IpProtocol protocol, HeaderFields& out) {
  out.has |= HeaderFields::kIpv6;
  out.source_ip = ip.source.bytes();
  out.destination_ip = ip.destination.bytes();
  out.protocol = static_cast<uint8_t>(protocol);
  out.traffic_class = ip.traffic_class();
  out.hops = ip.hop_limit;
  out.flow_label = ip.flow_label();
}

void TakeIp(const uint8_t* data, const LayerOffsets& at, HeaderFields& out) {
  if (at.l3_type == L3Type::kIpv4) TakeIpv4(*HeaderAt<Ipv4Header>(data, at.l3), out);
  if (at.l3_type == L3Type::kIpv6) TakeIpv6(*HeaderAt<Ipv6Header>(data, at.l3), ProtocolOf(data, at), out);
  const bool tcp = at.l4_type == L4Type::kTcp;
  if (!tcp && at.l4_type != L4Type::kUdp) return;
  out.has |= tcp ? HeaderFields::kTcp : HeaderFields::kUdp;
  const auto* ports = HeaderAt<UdpHeader>(data, at.l4);  // TCP has them in the same place: RFC 9293, 3.1
  out.source_port = ports->source_port.get();
  out.destination_port = ports->destination_port.get();
}

// `end` is where the tunnel's headers end, as far as they were understood.
void TakeGre(const uint8_t* data, size_t at, size_t end, FrameFields& out) {
  if (at + sizeof(GreHeader) > end) return;
  const auto* gre = HeaderAt<GreHeader>(data, at);
  out.has |= FrameFields::kGre;
  out.gre_flags = gre->flags.get();
  out.gre_protocol = static_cast<uint16_t>(gre->type.get());
  const size_t key = at + sizeof(GreHeader) + (gre->has(GreHeader::kChecksum) ? 4 : 0);
  if (!gre->has(GreHeader::kKey) || key + sizeof(Be32) > end) return;
  out.has |= FrameFields::kGreKey;
  out.gre_key = HeaderAt<Be32>(data, key)->get();
}

void TakeLabel(const uint8_t* data, size_t at, size_t end, FrameFields& out) {
  if (at + sizeof(MplsLabel) > end) return;
  out.has |= FrameFields::kMpls;
  out.mpls = HeaderAt<MplsLabel>(data, at)->entry.get();
}

void TakeVxlan(const uint8_t* data, size_t at, size_t end, FrameFields& out) {
  if (at + sizeof(VxlanHeader) > end) return;
  out.has |= FrameFields::kVxlan;
  out.vni = HeaderAt<VxlanHeader>(data, at)->vni.get();
}

bool IsIp(L3Type type) { return type == L3Type::kIpv4 || type == L3Type::kIpv6; }

bool HoldsMpls(Ethertype type) { return type == Ethertype::kMpls || type == Ethertype::kMplsMulticast; }

// The headers between outer and inner: behind UDP what its port says, behind IP without ports GRE, and labels
// behind Ethernet, UDP or GRE.
void TakeTunnel(const uint8_t* data, const Layers& layers, FrameFields& out) {
  const size_t at = layers.outer.payload;
  const size_t end = layers.inner_l2;
  if (layers.outer.l4_type == L4Type::kUdp) {
    if (layers.tunnel == TunnelType::kVxlan) TakeVxlan(data, at, end, out);
    if (layers.tunnel == TunnelType::kMpls && out.outer.destination_port == kMplsUdpPort) {
      TakeLabel(data, at, end, out);
    }
  } else if (!IsIp(layers.outer.l3_type)) {
    if (layers.tunnel == TunnelType::kMpls && HoldsMpls(static_cast<Ethertype>(out.outer.type))) {
      TakeLabel(data, layers.outer.l3, end, out);
    }
  } else {
    TakeGre(data, at, end, out);
    const bool labels = HoldsMpls(static_cast<Ethertype>(out.gre_protocol));
    if (layers.tunnel == TunnelType::kMpls && labels) {
      TakeLabel(data, at + HeaderAt<GreHeader>(data, at)->header_length(), end, out);
    }
  }
}

void TakeLayers(const uint8_t* data, size_t end, const Layers& layers, FrameFields& out) {
  TakeIp(data, layers.outer, out.outer);
  if (layers.tunnel == TunnelType::kNone) return;
  TakeTunnel(data, layers, out);
  if (layers.inner.l3 > layers.inner_l2) TakeEthernet(data, layers.inner_l2, end, out.inner);
  TakeIp(data, layers.inner, out.inner);
}

}  // namespace

FieldWords FieldsOf(const Packet& packet, bool layers) {
  FrameFields fields;
  TakeEthernet(packet.data(), 0, packet.head_length(), fields.outer);
  if (packet.vlan_stripped) {
    fields.outer.tci = packet.vlan_tci;
    fields.outer.has |= HeaderFields::kVlan;
  }
  if (layers) TakeLayers(packet.data(), packet.head_length(), packet.layers(), fields);
  return std::bit_cast<FieldWords>(fields);
}

}  // namespace sluice

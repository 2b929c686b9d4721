// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/parse.h"

#include <algorithm>

#include "packet/parse_internal.h"

namespace sluice {
namespace {

// Fewest bytes of an extension header: the unit of its length (RFC 8200, 4).
constexpr uint32_t kExtensionUnit = 8;
constexpr uint8_t kPad1Option = 0;
constexpr uint8_t kJumboOption = 0xc2;  // RFC 2675, 2

bool IsExtension(IpProtocol protocol) {
  switch (protocol) {
    case IpProtocol::kHopByHop:
    case IpProtocol::kRouting:
    case IpProtocol::kFragment:
    case IpProtocol::kAuthentication:
    case IpProtocol::kDestinationOptions:
      return true;
    default:
      return false;
  }
}

uint32_t ExtensionLength(IpProtocol protocol, const Ipv6Extension& extension) {
  if (protocol == IpProtocol::kFragment) return sizeof(Ipv6Fragment);
  if (protocol == IpProtocol::kAuthentication) return (extension.length + 2u) * 4;  // RFC 4302, 2.2
  return (extension.length + 1u) * kExtensionUnit;
}

// Anything but IPv4 over Ethernet has other field sizes than ArpHeader, and is not understood.
ParseVerdict ParseArp(const Extent& in, const Next& next, LayerOffsets& out) {
  const ParseVerdict verdict = in.Check(next.at, sizeof(ArpHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  const auto& arp = in.At<ArpHeader>(next.at);
  const bool usual = arp.hardware_type == uint16_t{1} && arp.protocol_type == Ethertype::kIpv4 &&
                     arp.hardware_length == MacAddress::kSize && arp.protocol_length == sizeof(Ipv4Address);
  out.l3_type = usual ? L3Type::kArp : L3Type::kOther;
  if (usual) out.l4 = out.payload = static_cast<uint16_t>(next.at + sizeof(ArpHeader));
  return ParseVerdict::kOk;
}

ParseVerdict ParseIpv4(Extent& in, Next& next, LayerOffsets& out) {
  ParseVerdict verdict = in.Check(next.at, sizeof(Ipv4Header));
  if (verdict != ParseVerdict::kOk) return verdict;
  const auto& ip = in.At<Ipv4Header>(next.at);
  const uint32_t header = ip.header_length();
  if (ip.version() != 4 || header < sizeof(Ipv4Header)) return ParseVerdict::kMalformed;

  uint32_t total = ip.total_length.get();
  if (total == 0 && in.ExceedsLengthField(next.at)) total = in.end - next.at;
  if (total < header) return ParseVerdict::kMalformed;
  verdict = in.Declare(next.at, total);
  if (verdict == ParseVerdict::kOk) verdict = in.Check(next.at, header);
  if (verdict != ParseVerdict::kOk) return verdict;

  out.l3_type = L3Type::kIpv4;
  out.l4_type = ip.is_fragment() ? L4Type::kFragment : L4Type::kNone;
  next.protocol = ip.protocol;
  next.at += header;
  out.l4 = out.payload = static_cast<uint16_t>(next.at);
  return ParseVerdict::kOk;
}

// The length in the jumbo payload option of the hop-by-hop header at `at` (RFC 2675, 2 and 3). The payload
// length of the fixed header is zero then, so a header without the option contradicts it.
ParseVerdict ParseJumbo(const Extent& in, uint32_t at, uint32_t& length) {
  ParseVerdict verdict = in.Check(at, kExtensionUnit);
  if (verdict != ParseVerdict::kOk) return verdict;
  const uint32_t end = at + ExtensionLength(IpProtocol::kHopByHop, in.At<Ipv6Extension>(at));
  verdict = in.Check(at, end - at);
  if (verdict != ParseVerdict::kOk) return verdict;

  for (uint32_t option = at + sizeof(Ipv6Extension); option < end;) {
    if (in.data[option] == kPad1Option) {
      ++option;
      continue;
    }
    if (end - option < 2 || end - option - 2 < in.data[option + 1]) break;
    if (in.data[option] == kJumboOption && in.data[option + 1] == sizeof(Be32)) {
      length = in.At<Be32>(option + 2).get();
      return length > 0xffff ? ParseVerdict::kOk : ParseVerdict::kMalformed;
    }
    option += 2u + in.data[option + 1];
  }
  return ParseVerdict::kMalformed;
}

ParseVerdict DeclareIpv6Length(Extent& in, const Ipv6Header& ip, uint32_t at) {
  uint32_t length = ip.payload_length.get();
  if (length == 0 && ip.next_header == IpProtocol::kHopByHop) {
    const ParseVerdict verdict = ParseJumbo(in, at, length);
    if (verdict != ParseVerdict::kOk) return verdict;
  } else if (length == 0 && in.ExceedsLengthField(at)) {
    length = in.end - at;
  }
  return in.Declare(at, length);
}

// Walks the extension headers to the first that is none, to a fragment, or to the bound.
ParseVerdict SkipExtensions(const Extent& in, Next& next, bool& fragment) {
  for (int i = 0; i < kMaxIpv6Extensions && !fragment && IsExtension(next.protocol); ++i) {
    // Only the first may be hop-by-hop options: RFC 8200, 4.1.
    if (next.protocol == IpProtocol::kHopByHop && i != 0) return ParseVerdict::kMalformed;
    ParseVerdict verdict = in.Check(next.at, kExtensionUnit);
    if (verdict != ParseVerdict::kOk) return verdict;
    const auto& extension = in.At<Ipv6Extension>(next.at);
    const uint32_t length = ExtensionLength(next.protocol, extension);
    verdict = in.Check(next.at, length);
    if (verdict != ParseVerdict::kOk) return verdict;
    fragment = next.protocol == IpProtocol::kFragment && !in.At<Ipv6Fragment>(next.at).is_atomic();
    next.protocol = extension.next_header;
    next.at += length;
  }
  return ParseVerdict::kOk;
}

ParseVerdict ParseIpv6(Extent& in, Next& next, LayerOffsets& out) {
  ParseVerdict verdict = in.Check(next.at, sizeof(Ipv6Header));
  if (verdict != ParseVerdict::kOk) return verdict;
  const auto& ip = in.At<Ipv6Header>(next.at);
  if (ip.version() != 6) return ParseVerdict::kMalformed;

  Next inside{.at = next.at + uint32_t{sizeof(Ipv6Header)}, .type = next.type, .protocol = ip.next_header};
  verdict = DeclareIpv6Length(in, ip, inside.at);
  bool fragment = false;
  if (verdict == ParseVerdict::kOk) verdict = SkipExtensions(in, inside, fragment);
  if (verdict != ParseVerdict::kOk) return verdict;

  out.l3_type = L3Type::kIpv6;
  out.l4_type = fragment ? L4Type::kFragment : L4Type::kNone;
  next = inside;
  out.l4 = out.payload = static_cast<uint16_t>(next.at);
  return ParseVerdict::kOk;
}

ParseVerdict ParseTcp(const Extent& in, Next& next, LayerOffsets& out) {
  ParseVerdict verdict = in.Check(next.at, sizeof(TcpHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  const uint32_t header = in.At<TcpHeader>(next.at).header_length();
  if (header < sizeof(TcpHeader)) return ParseVerdict::kMalformed;
  verdict = in.Check(next.at, header);
  if (verdict != ParseVerdict::kOk) return verdict;
  out.l4_type = L4Type::kTcp;
  next.at += header;
  return ParseVerdict::kOk;
}

// A datagram may be shorter than what IP carries (RFC 9868 puts options there), never longer.
ParseVerdict ParseUdp(Extent& in, Next& next, LayerOffsets& out) {
  ParseVerdict verdict = in.Check(next.at, sizeof(UdpHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  uint32_t length = in.At<UdpHeader>(next.at).length.get();
  if (length == 0 && in.ExceedsLengthField(next.at)) length = in.end - next.at;  // RFC 2675, 4
  if (length < sizeof(UdpHeader)) return ParseVerdict::kMalformed;
  verdict = in.Declare(next.at, length);
  if (verdict != ParseVerdict::kOk) return verdict;
  out.l4_type = L4Type::kUdp;
  next.at += uint32_t{sizeof(UdpHeader)};
  return ParseVerdict::kOk;
}

ParseVerdict ParseIcmp(const Extent& in, Next& next, L4Type type, LayerOffsets& out) {
  const ParseVerdict verdict = in.Check(next.at, sizeof(IcmpHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  out.l4_type = type;
  next.at += uint32_t{sizeof(IcmpHeader)};
  return ParseVerdict::kOk;
}

ParseVerdict ParseL4Header(Extent& in, Next& next, LayerOffsets& out) {
  const bool ipv4 = out.l3_type == L3Type::kIpv4;
  if (next.protocol == IpProtocol::kTcp) return ParseTcp(in, next, out);
  if (next.protocol == IpProtocol::kUdp) return ParseUdp(in, next, out);
  if (next.protocol == IpProtocol::kIcmp && ipv4) return ParseIcmp(in, next, L4Type::kIcmp, out);
  if (next.protocol == IpProtocol::kIcmpv6 && !ipv4) return ParseIcmp(in, next, L4Type::kIcmpv6, out);
  out.l4_type = L4Type::kOther;
  return ParseVerdict::kOk;
}

ParseVerdict ParseL3(Extent& in, Next& next, LayerOffsets& out) {
  switch (next.type) {
    case Ethertype::kIpv4:
      return ParseIpv4(in, next, out);
    case Ethertype::kIpv6:
      return ParseIpv6(in, next, out);
    case Ethertype::kArp:
      return ParseArp(in, next, out);
    case Ethertype::kMpls:
    case Ethertype::kMplsMulticast:
    case Ethertype::kNsh:
      return ParseVerdict::kOk;  // no L3 of its own; see ParseTunnel
    default:
      out.l3_type = L3Type::kOther;
      return ParseVerdict::kOk;
  }
}

}  // namespace

ParseVerdict ParseEthernet(const Extent& in, Next& next, uint8_t& vlan_tags) {
  vlan_tags = 0;
  ParseVerdict verdict = in.Check(next.at, sizeof(EthernetHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  next.type = in.At<EthernetHeader>(next.at).type.get();
  next.at += uint32_t{sizeof(EthernetHeader)};
  while (IsVlan(next.type) && vlan_tags < kMaxVlanTags) {
    verdict = in.Check(next.at, sizeof(VlanTag));
    if (verdict != ParseVerdict::kOk) return verdict;
    next.type = in.At<VlanTag>(next.at).type.get();
    next.at += uint32_t{sizeof(VlanTag)};
    ++vlan_tags;
  }
  return ParseVerdict::kOk;
}

ParseVerdict ParseFromL3(Extent& in, Next& next, LayerOffsets& out) {
  StandAt(next.at, out);
  ParseVerdict verdict = ParseL3(in, next, out);
  const bool ip = out.l3_type == L3Type::kIpv4 || out.l3_type == L3Type::kIpv6;
  if (verdict != ParseVerdict::kOk || !ip || out.l4_type == L4Type::kFragment) return verdict;
  verdict = ParseL4Header(in, next, out);
  if (verdict == ParseVerdict::kOk) out.payload = static_cast<uint16_t>(next.at);
  return verdict;
}

ParseVerdict ParseAny(absl::Span<const uint8_t> head, uint32_t frame_length, Layers& layers) {
  layers = Layers{};
  Extent in{.data = head.data(), .head = static_cast<uint32_t>(head.size()), .end = frame_length};
  Next next;
  uint8_t vlan_tags;
  ParseVerdict verdict = ParseEthernet(in, next, vlan_tags);
  layers.vlan_tags = vlan_tags & 0x3f;
  StandAt(next.at, layers.outer);
  if (verdict == ParseVerdict::kOk) verdict = ParseFromL3(in, next, layers.outer);
  layers.inner = LayerOffsets{};
  if (verdict == ParseVerdict::kOk) layers.inner_verdict = ParseTunnel(in, next, layers);
  return verdict;
}

ParseVerdict Parse(absl::Span<const uint8_t> head, uint32_t frame_length, Layers& layers) {
  const Extent in{.data = head.data(), .head = static_cast<uint32_t>(head.size()), .end = frame_length};
  return ParseUsual(in, layers) ? ParseVerdict::kOk : ParseAny(head, frame_length, layers);
}

ParseVerdict Parse(Packet& packet) {
  return Parse(absl::MakeConstSpan(packet.data(), packet.head_length()), packet.length(), packet.layers());
}

const LayerOffsets& Select(const Layers& layers, LayerSet which) {
  const bool understood = layers.tunnel != TunnelType::kNone && layers.inner_verdict == ParseVerdict::kOk;
  const bool inner = which == LayerSet::kInner || (which == LayerSet::kInnermost && understood);
  return inner ? layers.inner : layers.outer;
}

IpProtocol ProtocolOf(const uint8_t* data, const LayerOffsets& at) {
  if (at.l3_type == L3Type::kIpv4) return HeaderAt<Ipv4Header>(data, at.l3)->protocol;
  IpProtocol protocol = HeaderAt<Ipv6Header>(data, at.l3)->next_header;
  for (uint32_t offset = at.l3 + uint32_t{sizeof(Ipv6Header)}; offset < at.l4;) {
    const auto* extension = HeaderAt<Ipv6Extension>(data, offset);
    offset += ExtensionLength(protocol, *extension);
    protocol = extension->next_header;
  }
  return protocol;
}

bool ExtractFlowKeyAt(const uint8_t* data, const LayerOffsets& at, FlowKey& key) {
  if (at.l3_type != L3Type::kIpv4 && at.l3_type != L3Type::kIpv6) return false;
  key = FlowKey{.protocol = ProtocolOf(data, at), .ipv6 = at.l3_type == L3Type::kIpv6};
  if (key.ipv6) {
    const auto* ip = HeaderAt<Ipv6Header>(data, at.l3);
    key.source = ip->source.bytes();
    key.destination = ip->destination.bytes();
  } else {
    const auto* ip = HeaderAt<Ipv4Header>(data, at.l3);
    std::copy_n(ip->source.bytes().begin(), sizeof(Ipv4Address), key.source.begin());
    std::copy_n(ip->destination.bytes().begin(), sizeof(Ipv4Address), key.destination.begin());
  }
  if (at.l4_type == L4Type::kTcp || at.l4_type == L4Type::kUdp) {
    // Both start with the ports.
    const auto* ports = HeaderAt<UdpHeader>(data, at.l4);
    key.source_port = ports->source_port.get();
    key.destination_port = ports->destination_port.get();
  }
  return true;
}

bool ExtractFlowKey(const Packet& packet, FlowKey& key) {
  return ExtractFlowKeyAt(packet.data(), packet.layers().outer, key);
}

bool ExtractInnerFlowKey(const Packet& packet, FlowKey& key) {
  return packet.layers().tunnel != TunnelType::kNone &&
         ExtractFlowKeyAt(packet.data(), packet.layers().inner, key);
}

}  // namespace sluice

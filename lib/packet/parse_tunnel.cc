// SPDX-License-Identifier: Apache-2.0
// Tunnels. Each of the functions below strips one header: it moves next.at behind it, sets next.type to what
// the header says is inside, and names the tunnel. A header of a version that is not known is left alone, as
// any payload.

#include "packet/parse_internal.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {
namespace {

constexpr Ethertype kUnknownType{};

Ethertype TypeOf(TunnelProtocol protocol) {
  switch (protocol) {
    case TunnelProtocol::kIpv4:
      return Ethertype::kIpv4;
    case TunnelProtocol::kIpv6:
      return Ethertype::kIpv6;
    case TunnelProtocol::kEthernet:
      return Ethertype::kBridging;
    case TunnelProtocol::kNsh:
      return Ethertype::kNsh;
    case TunnelProtocol::kMpls:
      return Ethertype::kMpls;
  }
  return kUnknownType;
}

ParseVerdict StripVxlan(const Extent& in, bool gpe, Next& next, TunnelType& tunnel) {
  tunnel = TunnelType::kVxlan;
  const ParseVerdict verdict = in.Check(next.at, sizeof(VxlanHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  const auto& vxlan = in.At<VxlanHeader>(next.at);
  if (gpe && (vxlan.flags & VxlanHeader::kVersion) != 0) {
    tunnel = TunnelType::kNone;
    return ParseVerdict::kOk;
  }
  if ((vxlan.flags & VxlanHeader::kValidVni) == 0) return ParseVerdict::kMalformed;  // RFC 7348, 5
  const bool typed = gpe && (vxlan.flags & VxlanHeader::kNextProtocol) != 0;
  next.type = typed ? TypeOf(vxlan.next_protocol) : Ethertype::kBridging;
  next.at += uint32_t{sizeof(VxlanHeader)};
  return ParseVerdict::kOk;
}

// Options that do not add up to the length announced make the packet invalid: RFC 8926, 3.4.
ParseVerdict CheckGeneveOptions(const Extent& in, uint32_t at, uint32_t end) {
  while (at < end) {
    const uint32_t length = in.At<GeneveOption>(at).total_length();  // at least 4, as is end - at
    if (length > end - at) return ParseVerdict::kMalformed;
    at += length;
  }
  return ParseVerdict::kOk;
}

ParseVerdict StripGeneve(const Extent& in, Next& next, TunnelType& tunnel) {
  tunnel = TunnelType::kGeneve;
  ParseVerdict verdict = in.Check(next.at, sizeof(GeneveHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  const auto& geneve = in.At<GeneveHeader>(next.at);
  if (geneve.version() != 0) {
    tunnel = TunnelType::kNone;
    return ParseVerdict::kOk;
  }
  const uint32_t options = next.at + uint32_t{sizeof(GeneveHeader)};
  verdict = in.Check(options, geneve.options_length());
  if (verdict == ParseVerdict::kOk) {
    verdict = CheckGeneveOptions(in, options, options + geneve.options_length());
  }
  if (verdict != ParseVerdict::kOk) return verdict;
  next.type = geneve.type.get();
  next.at = options + geneve.options_length();
  return ParseVerdict::kOk;
}

// RFC 7637, 3.2: NVGRE has the key, and neither checksum nor sequence.
bool IsNvgre(const GreHeader& gre) {
  return gre.type == Ethertype::kBridging && gre.has(GreHeader::kKey) && !gre.has(GreHeader::kChecksum) &&
         !gre.has(GreHeader::kSequence);
}

ParseVerdict StripGre(const Extent& in, Next& next, TunnelType& tunnel) {
  tunnel = TunnelType::kGre;
  ParseVerdict verdict = in.Check(next.at, sizeof(GreHeader));
  if (verdict != ParseVerdict::kOk) return verdict;
  const auto& gre = in.At<GreHeader>(next.at);
  if (gre.has(GreHeader::kVersion) || gre.has(GreHeader::kRouting)) {
    tunnel = TunnelType::kNone;
    return ParseVerdict::kOk;
  }
  if (IsNvgre(gre)) tunnel = TunnelType::kNvgre;
  verdict = in.Check(next.at, gre.header_length());
  if (verdict != ParseVerdict::kOk) return verdict;
  next.type = gre.type.get();
  next.at += gre.header_length();
  return ParseVerdict::kOk;
}

ParseVerdict StripNsh(const Extent& in, Next& next, TunnelType& tunnel) {
  ParseVerdict verdict = in.Check(next.at, sizeof(NshHeader));
  const bool known = verdict != ParseVerdict::kOk || in.At<NshHeader>(next.at).version() == 0;
  if (!known) {
    next.type = kUnknownType;
    return ParseVerdict::kOk;
  }
  tunnel = TunnelType::kNsh;
  if (verdict != ParseVerdict::kOk) return verdict;
  const auto& nsh = in.At<NshHeader>(next.at);
  if (nsh.header_length() < sizeof(NshHeader)) return ParseVerdict::kMalformed;
  verdict = in.Check(next.at, nsh.header_length());
  if (verdict != ParseVerdict::kOk) return verdict;
  next.type = TypeOf(nsh.next_protocol);
  next.at += nsh.header_length();
  return ParseVerdict::kOk;
}

// Nothing names what follows the label stack; its first four bits tell IPv4 and IPv6, as RFC 4928, 2 has it.
Ethertype TypeByNibble(uint8_t first) {
  if (first >> 4 == 4) return Ethertype::kIpv4;
  if (first >> 4 == 6) return Ethertype::kIpv6;
  return kUnknownType;
}

ParseVerdict StripMpls(const Extent& in, Next& next, TunnelType& tunnel) {
  tunnel = TunnelType::kMpls;
  next.type = kUnknownType;
  bool bottom = false;
  for (int i = 0; i < kMaxMplsLabels && !bottom; ++i) {
    const ParseVerdict verdict = in.Check(next.at, sizeof(MplsLabel));
    if (verdict != ParseVerdict::kOk) return verdict;
    bottom = in.At<MplsLabel>(next.at).bottom();
    next.at += uint32_t{sizeof(MplsLabel)};
  }
  if (!bottom) return ParseVerdict::kOk;
  const ParseVerdict verdict = in.Check(next.at, 1);
  if (verdict == ParseVerdict::kOk) next.type = TypeByNibble(in.data[next.at]);
  return verdict;
}

ParseVerdict StripUdpTunnel(const Extent& in, uint16_t port, Next& next, TunnelType& tunnel) {
  switch (port) {
    case kVxlanPort:
    case kVxlanGpePort:
      return StripVxlan(in, port == kVxlanGpePort, next, tunnel);
    case kGenevePort:
      return StripGeneve(in, next, tunnel);
    case kMplsUdpPort:
      return StripMpls(in, next, tunnel);
    default:
      return ParseVerdict::kOk;
  }
}

// The header that the outer headers announce: by UDP port, by IP protocol, or by Ethertype, which `next`
// still holds.
ParseVerdict StripAnnounced(const Extent& in, const LayerOffsets& outer, Next& next, TunnelType& tunnel) {
  if (outer.l3_type == L3Type::kNone) return ParseVerdict::kOk;
  next.type = kUnknownType;
  if (outer.l4_type == L4Type::kUdp) {
    return StripUdpTunnel(in, in.At<UdpHeader>(outer.l4).destination_port.get(), next, tunnel);
  }
  const bool gre = outer.l4_type == L4Type::kOther && next.protocol == IpProtocol::kGre;
  return gre ? StripGre(in, next, tunnel) : ParseVerdict::kOk;
}

bool IsMpls(Ethertype type) { return type == Ethertype::kMpls || type == Ethertype::kMplsMulticast; }

// One level: what announces it, then NSH, then MPLS, each at most once.
ParseVerdict StripTunnel(const Extent& in, const LayerOffsets& outer, Next& next, TunnelType& tunnel) {
  ParseVerdict verdict = StripAnnounced(in, outer, next, tunnel);
  if (verdict == ParseVerdict::kOk && next.type == Ethertype::kNsh) verdict = StripNsh(in, next, tunnel);
  if (verdict == ParseVerdict::kOk && IsMpls(next.type)) verdict = StripMpls(in, next, tunnel);
  return verdict;
}

}  // namespace

ParseVerdict ParseTunnel(Extent in, Next next, Layers& layers) {
  TunnelType tunnel = TunnelType::kNone;
  ParseVerdict verdict = StripTunnel(in, layers.outer, next, tunnel);
  if (tunnel == TunnelType::kNone) return ParseVerdict::kOk;
  layers.tunnel = tunnel;
  layers.inner_l2 = static_cast<uint16_t>(next.at);
  StandAt(next.at, layers.inner);
  if (verdict == ParseVerdict::kOk && next.type == Ethertype::kBridging) {
    uint8_t vlan_tags;
    verdict = ParseEthernet(in, next, vlan_tags);
    StandAt(next.at, layers.inner);
  }
  return verdict == ParseVerdict::kOk ? ParseFromL3(in, next, layers.inner) : verdict;
}

}  // namespace sluice

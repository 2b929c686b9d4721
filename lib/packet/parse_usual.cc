// SPDX-License-Identifier: Apache-2.0
// The short way through the usual frames. Whatever is out of the ordinary, wrong lengths too, is left to
// ParseAny: so no question here has more than two answers.

#include "packet/parse_internal.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {
namespace {

constexpr uint8_t kUsualTags = 2;

// Whether neither options nor fragments make the header longer or shorter than it looks.
inline bool IsPlain(const Ipv4Header& ip) { return ip.version_ihl == 0x45 && !ip.is_fragment(); }
inline bool IsPlain(const Ipv6Header& ip) { return ip.version() == 6; }

inline IpProtocol ProtocolIn(const Ipv4Header& ip) { return ip.protocol; }
inline IpProtocol ProtocolIn(const Ipv6Header& ip) { return ip.next_header; }

// Of the datagram, in bytes. What a length field of zero stands for is less than any header here.
inline uint32_t LengthOf(const Ipv4Header& ip) { return ip.total_length.get(); }
inline uint32_t LengthOf(const Ipv6Header& ip) { return sizeof(ip) + ip.payload_length.get(); }

// Moves `at` from the Ethernet header behind it and its tags.
inline bool SkipEthernet(const Extent& in, uint32_t& at, uint8_t& tags, Ethertype& type) {
  if (in.head < at + sizeof(EthernetHeader)) return false;
  type = in.At<EthernetHeader>(at).type.get();
  at += uint32_t{sizeof(EthernetHeader)};
  for (tags = 0; IsVlan(type); ++tags) {
    if (tags == kUsualTags || in.head < at + sizeof(VlanTag)) return false;
    type = in.At<VlanTag>(at).type.get();
    at += uint32_t{sizeof(VlanTag)};
  }
  return true;
}

// The IP header at `at` and the one it carries; in.end then is the end of what that one declares.
template <typename Ip>
inline bool ParseUsualIp(Extent& in, uint32_t at, L3Type type, LayerOffsets& out) {
  const uint32_t l4 = at + uint32_t{sizeof(Ip)};
  if (in.head < l4 + sizeof(UdpHeader)) return false;
  const auto& ip = in.At<Ip>(at);
  if (!IsPlain(ip)) return false;
  const bool tcp = ProtocolIn(ip) == IpProtocol::kTcp;
  uint32_t header = sizeof(UdpHeader);
  uint32_t declared;
  if (tcp) {
    if (in.head < l4 + sizeof(TcpHeader)) return false;
    declared = header = in.At<TcpHeader>(l4).header_length();
  } else if (ProtocolIn(ip) == IpProtocol::kUdp) {
    declared = in.At<UdpHeader>(l4).length.get();
  } else {
    return false;
  }
  const uint32_t end = at + LengthOf(ip);
  const bool fits = declared >= (tcp ? sizeof(TcpHeader) : sizeof(UdpHeader)) && l4 + declared <= end &&
                    end <= in.end && l4 + header <= in.head;
  if (!fits) return false;
  in.end = l4 + declared;
  out = {.l3 = static_cast<uint16_t>(at),
         .l4 = static_cast<uint16_t>(l4),
         .payload = static_cast<uint16_t>(l4 + header),
         .l3_type = type,
         .l4_type = tcp ? L4Type::kTcp : L4Type::kUdp};
  return true;
}

inline bool ParseUsualL3(Extent& in, uint32_t at, Ethertype type, LayerOffsets& out) {
  if (type == Ethertype::kIpv4) return ParseUsualIp<Ipv4Header>(in, at, L3Type::kIpv4, out);
  if (type == Ethertype::kIpv6) return ParseUsualIp<Ipv6Header>(in, at, L3Type::kIpv6, out);
  return false;
}

// Whether `port` announces no tunnel, or one whose header at `at` is a usual one.
inline bool IsUsualTunnel(const Extent& in, uint32_t at, uint16_t port, TunnelType& tunnel) {
  static_assert(sizeof(VxlanHeader) == sizeof(GeneveHeader));
  if (port < kVxlanPort || port > kMplsUdpPort) [[likely]]
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
  Layers found;
  if (!SkipEthernet(in, at, tags, type) || !ParseUsualL3(in, at, type, found.outer)) return false;
  found.vlan_tags = tags & 3;
  if (found.outer.l4_type == L4Type::kUdp) {
    const uint16_t port = in.At<UdpHeader>(found.outer.l4).destination_port.get();
    if (!IsUsualTunnel(in, found.outer.payload, port, found.tunnel)) return false;
    if (found.tunnel != TunnelType::kNone) {
      at = found.outer.payload + uint32_t{sizeof(VxlanHeader)};
      found.inner_l2 = static_cast<uint16_t>(at);
      if (!SkipEthernet(in, at, tags, type) || !ParseUsualL3(in, at, type, found.inner)) return false;
    }
  }
  layers = found;
  return true;
}

}  // namespace sluice

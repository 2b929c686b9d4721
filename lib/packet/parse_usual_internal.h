// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_PARSE_USUAL_INTERNAL_H_
#define SLUICE_LIB_PACKET_PARSE_USUAL_INTERNAL_H_

// The steps of the short way through the usual frames: each says no to whatever is out of the ordinary, wrong lengths too,
// and leaves it to ParseAny. So no question here has more than two answers.

#include <bit>
#include <cstdint>
#include <cstring>

#include "packet/parse_internal.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {

inline constexpr uint8_t kUsualTags = 2;

// Moves `at` from the Ethernet header behind it and its tags.
inline bool SkipUsualEthernet(const Extent& in, uint32_t& at, uint8_t& tags, Ethertype& type) {
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

// LayerOffsets as one number, to be written at once: what is written field by field, and read as a whole soon after, waits
// until the last field has left the processor's store buffer.
using OffsetsWord = uint64_t;

constexpr OffsetsWord ToWord(const LayerOffsets& at) { return std::bit_cast<OffsetsWord>(at); }
inline void Write(OffsetsWord word, LayerOffsets& at) {
  std::memcpy(static_cast<void*>(&at), &word, sizeof(word));
}

// Of an IP header at `at`, with `header` bytes of the one it carries.
template <L3Type kL3, L4Type kL4>
inline OffsetsWord OffsetsOf(uint32_t at, uint32_t header) {
  constexpr uint16_t kSize = kL3 == L3Type::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  constexpr OffsetsWord kAtZero = ToWord({.l4 = kSize, .payload = kSize, .l3_type = kL3, .l4_type = kL4});
  constexpr OffsetsWord kOneFurther = ToWord({.l3 = 1, .l4 = 1, .payload = 1});
  constexpr OffsetsWord kOneLonger = ToWord({.payload = 1});
  return kAtZero + at * kOneFurther + header * kOneLonger;
}

inline constexpr L3Type TypeOf(const Ipv4Header*) { return L3Type::kIpv4; }
inline constexpr L3Type TypeOf(const Ipv6Header*) { return L3Type::kIpv6; }

// Whether neither options nor fragments make the header longer or shorter than it looks.
inline bool IsPlain(const Ipv4Header& ip) { return ip.version_ihl == 0x45 && !ip.is_fragment(); }
inline bool IsPlain(const Ipv6Header& ip) { return ip.version() == 6; }

inline IpProtocol ProtocolIn(const Ipv4Header& ip) { return ip.protocol; }
inline IpProtocol ProtocolIn(const Ipv6Header& ip) { return ip.next_header; }

// Of the datagram, in bytes. What a length field of zero stands for is less than any header here.
inline uint32_t LengthOf(const Ipv4Header& ip) { return ip.total_length.get(); }
inline uint32_t LengthOf(const Ipv6Header& ip) { return sizeof(ip) + ip.payload_length.get(); }

// The IP header at `at` and the one it carries; 0 = unusual. Behind UDP, in.end then is the end of what that declares.
template <typename Ip>
inline OffsetsWord ParseUsualIp(Extent& in, uint32_t at) {
  constexpr L3Type kType = TypeOf(static_cast<const Ip*>(nullptr));
  const uint32_t l4 = at + uint32_t{sizeof(Ip)};
  if (in.head < l4 + sizeof(UdpHeader)) return 0;
  const auto& ip = in.At<Ip>(at);
  const uint32_t end = at + LengthOf(ip);
  if (!IsPlain(ip) || end > in.end) return 0;
  if (ProtocolIn(ip) == IpProtocol::kTcp) {
    if (in.head < l4 + sizeof(TcpHeader)) return 0;
    const uint32_t header = in.At<TcpHeader>(l4).header_length();
    if (header < sizeof(TcpHeader) || l4 + header > end || l4 + header > in.head) return 0;
    return OffsetsOf<kType, L4Type::kTcp>(at, header);
  }
  if (ProtocolIn(ip) != IpProtocol::kUdp) return 0;
  const uint32_t declared = in.At<UdpHeader>(l4).length.get();
  if (declared < sizeof(UdpHeader) || l4 + declared > end) return 0;
  in.end = l4 + declared;
  return OffsetsOf<kType, L4Type::kUdp>(at, sizeof(UdpHeader));
}

// The flow of headers that ParseUsualIp understood.
inline void WriteAddresses(const Ipv4Header& ip, FlowKey& flow) {
  flow.source = flow.destination = {};
  std::memcpy(flow.source.data(), &ip.source, sizeof(ip.source));
  std::memcpy(flow.destination.data(), &ip.destination, sizeof(ip.destination));
}
inline void WriteAddresses(const Ipv6Header& ip, FlowKey& flow) {
  flow.source = ip.source.bytes();
  flow.destination = ip.destination.bytes();
}
template <typename Ip>
inline void WriteUsualFlow(const uint8_t* data, uint32_t at, FlowKey& flow) {
  const auto& ip = *HeaderAt<Ip>(data, at);
  const auto& ports =
      *HeaderAt<UdpHeader>(data, at + uint32_t{sizeof(Ip)});  // those of TCP are in the same place
  WriteAddresses(ip, flow);
  flow.source_port = ports.source_port.get();
  flow.destination_port = ports.destination_port.get();
  flow.protocol = ProtocolIn(ip);
  flow.ipv6 = TypeOf(&ip) == L3Type::kIpv6;
}

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_PARSE_USUAL_INTERNAL_H_

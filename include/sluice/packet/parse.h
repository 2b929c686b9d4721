// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PARSE_H_
#define SLUICE_PACKET_PARSE_H_

// Finds the headers of a frame, once, so that nobody after has to. Looks at every length field before it
// follows it and never past the head's last byte, whatever the frame says.
//
//   Ethernet ─ VLAN tags ─ IPv4 | IPv6 ─ UDP ─ VXLAN ─ Ethernet ─ IPv4 ─ TCP ─ ...
//                          └outer.l3     │     │       │          │      │     └inner.payload
//                                outer.l4┘     │       │          │      └inner.l4
//                                 outer.payload┘       └inner_l2  └inner.l3
//
// Understood: Ethernet II, 802.1Q/802.1ad/0x9100 tags, ARP, IPv4 with options, IPv6 with hop-by-hop, routing,
// destination options, authentication and fragment headers, TCP, UDP, ICMP, ICMPv6; one tunnel: VXLAN,
// VXLAN-GPE, Geneve, GRE, NVGRE, NSH, MPLS. Anything else is kOther and kOk: not to understand a frame is no
// fault of the frame.
//
// Fragments are L4Type::kFragment, the first too: it alone has ports, and would part from the others if they
// were read. Threads: none of its own; a packet has one user at a time. Cost: the bytes of the headers;
// nothing allocated.

#include <cstdint>

#include "absl/types/span.h"
#include "sluice/base/export.h"
#include "sluice/packet/flow_key.h"
#include "sluice/packet/packet.h"

namespace sluice {

// The most that Parse follows; what comes after is kOther. Together they keep every offset below 2^16.
inline constexpr int kMaxVlanTags = 4;
inline constexpr int kMaxIpv6Extensions = 8;
inline constexpr int kMaxMplsLabels = 8;

// Fills `layers` from the first bytes of a frame of `frame_length` bytes; head.size() <= frame_length.
// Padding after the IP datagram is allowed.
//
// The verdict is that of the outer headers; Layers::inner_verdict is that of the tunnel header and of what is
// inside, which is somebody else's frame: a hop that only carries it has no reason to refuse it.
//   kTruncated  a header reaches past the head: of a whole frame, it is too short; of a cut one, more is to
//   be fetched kMalformed  a length field contradicts another, or the frame's length
// After either, the layers before the bad one are filled, and the offsets of the rest stand where it starts.
SLUICE_EXPORT ParseVerdict Parse(absl::Span<const uint8_t> head, uint32_t frame_length, Layers& layers);

// The same for packet.layers().
SLUICE_EXPORT ParseVerdict Parse(Packet& packet);

// Which headers of a parsed packet are meant.
enum class LayerSet : uint8_t {
  kOuter,
  kInner,      // inside the tunnel
  kInnermost,  // kInner when there is a tunnel and its inside was understood, else kOuter
};
SLUICE_EXPORT const LayerOffsets& Select(const Layers& layers, LayerSet which);

// The protocol above IP, after all extension headers; `at` was parsed from `data` as IPv4 or IPv6.
SLUICE_EXPORT IpProtocol ProtocolOf(const uint8_t* data, const LayerOffsets& at);

// The flow of a parsed packet; false, and an untouched `key`, when it is not IP.
SLUICE_EXPORT bool ExtractFlowKey(const Packet& packet, FlowKey& key);
// That of the packet in the tunnel; false also without a tunnel.
SLUICE_EXPORT bool ExtractInnerFlowKey(const Packet& packet, FlowKey& key);

}  // namespace sluice

#endif  // SLUICE_PACKET_PARSE_H_

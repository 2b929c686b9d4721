// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_PARSE_INTERNAL_H_
#define SLUICE_LIB_PACKET_PARSE_INTERNAL_H_

// The parts of Parse: a short way for the frames that nearly all traffic is made of (parse_usual.cc), and for
// all others Ethernet to L4 (parse.cc), and what a tunnel puts between two of those (parse_tunnel.cc).

#include <cstdint>

#include "absl/types/span.h"
#include "sluice/packet/flow_key.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {

// The bytes that may be looked at, and those that exist.
//
//   data ├── head: at hand ──┤
//        ├── end: of the frame, later of the innermost datagram that declared its length ──┤
struct Extent {
  const uint8_t* data;
  uint32_t head;
  uint32_t end;
  bool declared = false;  // a length field set `end`: a header that does not fit contradicts it

  template <typename H>
  const H& At(uint32_t offset) const {
    return *HeaderAt<H>(data, offset);
  }

  // Whether [offset, offset + bytes) can be read; offset <= end.
  ParseVerdict Check(uint32_t offset, uint32_t bytes) const {
    if (bytes > end - offset) return declared ? ParseVerdict::kMalformed : ParseVerdict::kTruncated;
    return offset + bytes > head ? ParseVerdict::kTruncated : ParseVerdict::kOk;
  }

  // A header at `offset` says that `bytes` belong to it and its payload; offset <= end.
  ParseVerdict Declare(uint32_t offset, uint32_t bytes) {
    if (bytes > end - offset) return ParseVerdict::kMalformed;
    end = offset + bytes;
    declared = true;
    return ParseVerdict::kOk;
  }

  // A 16-bit length field of zero stands for "to the end" only where the true length does not fit the field:
  // in the kernel's BIG TCP and UDP frames above 64 KiB, which have not been on a wire.
  bool ExceedsLengthField(uint32_t offset) const { return end - offset > 0xffff; }
};

// Whether a UDP port may be that of a tunnel: they are all in one range.
inline bool MayBeTunnel(uint16_t port) { return port >= kVxlanPort && port <= kMplsUdpPort; }

// What a header says comes next.
struct Next {
  uint32_t at = 0;
  Ethertype type{};
  IpProtocol protocol{};
};

// Puts all offsets at `at`: nothing is known from there on.
inline void StandAt(uint32_t at, LayerOffsets& out) {
  out.l3 = out.l4 = out.payload = static_cast<uint16_t>(at);
}

// Each starts at next.at, and moves it behind what it understood; on any verdict but kOk `out` stands at the
// bad header.
ParseVerdict ParseEthernet(const Extent& in, Next& next, uint8_t& vlan_tags);
ParseVerdict ParseFromL3(Extent& in, Next& next, LayerOffsets& out);

// What Parse answers, for every frame: the twin of the ways that are shorter.
ParseVerdict ParseAny(absl::Span<const uint8_t> head, uint32_t frame_length, Layers& layers);

// Fills `layers` as ParseAny does where that would say kOk twice, of a frame of these headers and no others:
//
//   Ethernet, 0 to 2 tags ─ IPv4 | IPv6 ─ TCP | UDP
//                                         └ UDP ─ VXLAN | Geneve without options ─ the first line once more
//
// False for all others, which ParseAny then fills. in.head <= in.end.
bool ParseUsual(const Extent& in, Layers& layers);

// The flow of the headers at `at`; false, and an untouched `key`, when they are not IP.
bool ExtractFlowKeyAt(const uint8_t* data, const LayerOffsets& at, FlowKey& key);

// The tunnel, if there is one, behind the outer headers: fills the rest of `layers` but inner_verdict, which
// it returns.
ParseVerdict ParseTunnel(Extent in, Next next, Layers& layers);

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_PARSE_INTERNAL_H_

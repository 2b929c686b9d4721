// SPDX-License-Identifier: Apache-2.0
#include "tests/support/random_frames.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice::testing {
namespace {

bool Chance(Random& random, uint64_t in) { return Below(random, in) == 0; }

Bytes RandomBytes(Random& random, size_t size) {
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// Ethernet and IP, with everything that may be in them.
FrameSpec RandomSpec(Random& random) {
  FrameSpec spec;
  if (Chance(random, 2)) spec.source = "2001:db8::1", spec.destination = "2001:db8:ffff::2";
  for (uint64_t tags = Below(random, 3); tags > 0; --tags)
    spec.vlans.push_back(static_cast<uint16_t>(random()));
  spec.ttl = static_cast<uint8_t>(1 + Below(random, 255));
  spec.dscp_ecn = static_cast<uint8_t>(random());
  spec.ip_id = static_cast<uint16_t>(Chance(random, 4) ? 0xfffe : random());
  if (Chance(random, 2)) spec.flags_offset = Ipv4Header::kDontFragment;
  if (Chance(random, 3)) spec.ip_options = Bytes(4 * Below(random, 11), 1);
  if (Chance(random, 3)) spec.extensions = {{IpProtocol::kDestinationOptions, Bytes(8)}};
  spec.source_port = static_cast<uint16_t>(1 + Below(random, 65535));
  spec.destination_port = static_cast<uint16_t>(1 + Below(random, 4000));  // none of a tunnel's
  spec.zero_udp_checksum = Chance(random, 3);
  return spec;
}

Bytes RandomInner(Random& random, size_t most_payload) {
  FrameSpec spec = RandomSpec(random);
  spec.bytes = RandomBytes(random, Below(random, most_payload + 1));
  if (spec.bytes.empty()) spec.payload.clear();
  if (Chance(random, 3)) return UdpFrame(spec);
  constexpr uint8_t kNotAsked = TcpHeader::kSyn | TcpHeader::kRst;
  spec.tcp_flags = static_cast<uint8_t>(random() & ~uint64_t{kNotAsked});
  spec.sequence = static_cast<uint32_t>(random());
  spec.acknowledgment = static_cast<uint32_t>(random());
  spec.tcp_options = Bytes(4 * Below(random, 11), 1);
  return TcpFrame(spec);
}

Bytes GeneveOptions(Random& random) {
  Bytes options;
  for (uint64_t n = Below(random, 4); n > 0; --n) options.insert(options.end(), {1, 2, 3, 1, 4, 5, 6, 7});
  return options;
}

Bytes InTunnel(Random& random, const Bytes& inner) {
  const FrameSpec outer = RandomSpec(random);
  switch (Below(random, 8)) {
    case 0:
      return VxlanFrame(outer, inner, 42);
    case 1:
      return VxlanGpeFrame(outer, inner, TunnelProtocol::kEthernet);
    case 2:
    case 3:
      return GeneveFrame(outer, inner, GeneveOptions(random));
    case 4:
      return GreFrame(outer, inner, Ethertype::kBridging, GreHeader::kChecksum | GreHeader::kKey);
    case 5:
      return GreFrame(outer, inner, Ethertype::kBridging);
    case 6:
      return NvgreFrame(outer, inner);
    default:
      return NshFrame(outer, inner);
  }
}

}  // namespace

Bytes RandomFrame(Random& random, const RandomFrameOptions& options) {
  const Bytes inner = RandomInner(random, options.most_payload);
  return options.tunnels && !Chance(random, 3) ? InTunnel(random, inner) : inner;
}

PacketPtr RandomlyCut(Random& random, PacketPool& pool, Bytes& frame, size_t head, Lender& lender) {
  PacketPtr packet;
  for (size_t at = 0; packet == nullptr || at < frame.size();) {
    const size_t least = at == 0 ? head : 1;
    const size_t here = std::min(frame.size() - at, least + Below(random, 1200));
    PacketPtr piece = pool.GetOne();
    if (piece == nullptr) return nullptr;
    if (at != 0 && Chance(random, 2)) {
      piece->BorrowBytes(&frame[at], static_cast<uint32_t>(here), lender, 0);
    } else {
      std::memcpy(piece->data(), &frame[at], here);
      piece->SetLength(static_cast<uint32_t>(here));
    }
    at += here;
    if (packet == nullptr) {
      packet = std::move(piece);
    } else {
      packet->Append(std::move(piece));
    }
  }
  return packet;
}

}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
#include "tests/support/frames.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace sluice::testing {
namespace {

bool IsIpv6(const FrameSpec& spec) { return spec.source.find(':') != std::string::npos; }

template <typename H>
void Append(Bytes& to, const H& header) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&header);
  to.insert(to.end(), bytes, bytes + sizeof(H));
}

void Append(Bytes& to, const Bytes& bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

Bytes Joined(const Bytes& first, const Bytes& second) {
  Bytes all = first;
  Append(all, second);
  return all;
}

void Put16(Bytes& bytes, size_t at, uint16_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}

Bytes Payload(const FrameSpec& spec) {
  if (!spec.bytes.empty()) return spec.bytes;
  if (spec.payload_size == 0) return {spec.payload.begin(), spec.payload.end()};
  Bytes bytes(spec.payload_size);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  return bytes;
}

FrameSpec Carrying(const FrameSpec& spec, const Bytes& bytes) {
  FrameSpec changed = spec;
  changed.bytes = bytes;
  if (bytes.empty()) changed.payload.clear();
  changed.payload_size = 0;
  return changed;
}

Bytes PseudoHeaderBytes(const FrameSpec& spec, IpProtocol protocol, size_t length) {
  Bytes bytes;
  if (IsIpv6(spec)) {
    Append(bytes, Ipv6Address::Parse(spec.source).value());
    Append(bytes, Ipv6Address::Parse(spec.destination).value());
  } else {
    Append(bytes, Ipv4Address::Parse(spec.source).value());
    Append(bytes, Ipv4Address::Parse(spec.destination).value());
  }
  Append(bytes, Be32(static_cast<uint32_t>(length)));
  Append(bytes, Be32(static_cast<uint32_t>(protocol)));
  return bytes;
}

Bytes Ipv4Packet(const FrameSpec& spec, IpProtocol protocol, const Bytes& inside) {
  const size_t header = sizeof(Ipv4Header) + spec.ip_options.size();
  Bytes bytes;
  Append(bytes, Ipv4Header{.version_ihl = static_cast<uint8_t>(0x40 | header / 4),
                           .dscp_ecn = spec.dscp_ecn,
                           .total_length = static_cast<uint16_t>(header + inside.size()),
                           .id = spec.ip_id,
                           .flags_offset = spec.flags_offset,
                           .ttl = spec.ttl,
                           .protocol = protocol,
                           .checksum = {},
                           .source = Ipv4Address::Parse(spec.source).value(),
                           .destination = Ipv4Address::Parse(spec.destination).value()});
  Append(bytes, spec.ip_options);
  Put16(bytes, 10, SimpleChecksum(bytes));
  Append(bytes, inside);
  return bytes;
}

Bytes Ipv6Packet(const FrameSpec& spec, IpProtocol protocol, const Bytes& inside) {
  Bytes extensions;
  for (size_t i = 0; i < spec.extensions.size(); ++i) {
    const size_t at = extensions.size();
    Append(extensions, spec.extensions[i].bytes);
    const IpProtocol next = i + 1 < spec.extensions.size() ? spec.extensions[i + 1].protocol : protocol;
    extensions[at] = static_cast<uint8_t>(next);
  }
  Bytes bytes;
  Append(bytes, Ipv6Header{.version_class_label = 0x60000000u | uint32_t{spec.dscp_ecn} << 20,
                           .payload_length = static_cast<uint16_t>(extensions.size() + inside.size()),
                           .next_header = spec.extensions.empty() ? protocol : spec.extensions[0].protocol,
                           .hop_limit = spec.ttl,
                           .source = Ipv6Address::Parse(spec.source).value(),
                           .destination = Ipv6Address::Parse(spec.destination).value()});
  return Joined(Joined(bytes, extensions), inside);
}

Bytes InEthernet(const FrameSpec& spec, Ethertype type, const Bytes& inside) {
  Bytes bytes;
  Append(bytes, MacAddress::Parse(spec.destination_mac).value());
  Append(bytes, MacAddress::Parse(spec.source_mac).value());
  for (size_t i = 0; i < spec.vlans.size(); ++i) {
    const bool service = i == 0 && spec.vlans.size() > 1;
    Append(bytes, BigEndian<Ethertype>(service ? spec.outer_vlan_type : Ethertype::kVlan));
    Append(bytes, Be16(spec.vlans[i]));
  }
  Append(bytes, BigEndian<Ethertype>(type));
  Append(bytes, inside);
  return bytes;
}

Bytes InIp(const FrameSpec& spec, IpProtocol protocol, const Bytes& inside) {
  if (IsIpv6(spec)) return InEthernet(spec, Ethertype::kIpv6, Ipv6Packet(spec, protocol, inside));
  return InEthernet(spec, Ethertype::kIpv4, Ipv4Packet(spec, protocol, inside));
}

// Fills the checksum at `field` of an L4 header with payload.
void Finish(const FrameSpec& spec, IpProtocol protocol, size_t field, Bytes& l4) {
  const uint16_t sum = SimpleChecksum(Joined(PseudoHeaderBytes(spec, protocol, l4.size()), l4));
  Put16(l4, field, protocol == IpProtocol::kUdp && sum == 0 ? uint16_t{0xffff} : sum);
}

Bytes VxlanBytes(uint8_t flags, TunnelProtocol next, uint32_t vni) {
  Bytes bytes;
  Append(bytes,
         VxlanHeader{.flags = flags, .reserved = {}, .next_protocol = next, .vni = vni, .reserved2 = 0});
  return bytes;
}

Bytes InUdp(FrameSpec outer, uint16_t port, const Bytes& inside) {
  outer.destination_port = port;
  return UdpFrame(Carrying(outer, inside));
}

}  // namespace

uint16_t SimpleChecksum(absl::Span<const uint8_t> bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? uint64_t{bytes[i]} << 8 : bytes[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

Bytes UdpFrame(const FrameSpec& spec) {
  const Bytes payload = Payload(spec);
  Bytes l4;
  Append(l4, UdpHeader{.source_port = spec.source_port,
                       .destination_port = spec.destination_port,
                       .length = static_cast<uint16_t>(sizeof(UdpHeader) + payload.size()),
                       .checksum = {}});
  Append(l4, payload);
  if (!spec.zero_udp_checksum) Finish(spec, IpProtocol::kUdp, 6, l4);
  return InIp(spec, IpProtocol::kUdp, l4);
}

Bytes TcpFrame(const FrameSpec& spec) {
  const size_t header = sizeof(TcpHeader) + spec.tcp_options.size();
  Bytes l4;
  Append(l4, TcpHeader{.source_port = spec.source_port,
                       .destination_port = spec.destination_port,
                       .sequence = spec.sequence,
                       .acknowledgment = spec.acknowledgment,
                       .data_offset = static_cast<uint8_t>(header / 4 << 4),
                       .flags = spec.tcp_flags,
                       .window = uint16_t{0xffff},
                       .checksum = {},
                       .urgent = {}});
  Append(l4, spec.tcp_options);
  Append(l4, Payload(spec));
  Finish(spec, IpProtocol::kTcp, 16, l4);
  return InIp(spec, IpProtocol::kTcp, l4);
}

Bytes IcmpFrame(const FrameSpec& spec) {
  const bool v6 = IsIpv6(spec);
  Bytes l4;
  Append(l4,
         IcmpHeader{.type = v6 ? uint8_t{128} : uint8_t{8}, .code = 0, .checksum = {}, .rest = 0x00010001u});
  Append(l4, Payload(spec));
  if (v6) {
    Finish(spec, IpProtocol::kIcmpv6, 2, l4);
  } else {
    Put16(l4, 2, SimpleChecksum(l4));
  }
  return InIp(spec, v6 ? IpProtocol::kIcmpv6 : IpProtocol::kIcmp, l4);
}

Bytes IpFrame(const FrameSpec& spec, IpProtocol protocol) { return InIp(spec, protocol, Payload(spec)); }

Bytes EthernetFrame(const FrameSpec& spec, Ethertype type) { return InEthernet(spec, type, Payload(spec)); }

Bytes ArpFrame(const FrameSpec& spec, uint16_t operation) {
  Bytes arp;
  Append(arp, ArpHeader{.hardware_type = uint16_t{1},
                        .protocol_type = Ethertype::kIpv4,
                        .hardware_length = MacAddress::kSize,
                        .protocol_length = sizeof(Ipv4Address),
                        .operation = operation,
                        .sender_mac = MacAddress::Parse(spec.source_mac).value(),
                        .sender_ip = Ipv4Address::Parse(spec.source).value(),
                        .target_mac = {},
                        .target_ip = Ipv4Address::Parse(spec.destination).value()});
  return InEthernet(spec, Ethertype::kArp, arp);
}

Bytes VxlanFrame(const FrameSpec& outer, const Bytes& inner, uint32_t vni) {
  return InUdp(outer, kVxlanPort, Joined(VxlanBytes(VxlanHeader::kValidVni, TunnelProtocol{}, vni), inner));
}

Bytes VxlanGpeFrame(const FrameSpec& outer, const Bytes& inner, TunnelProtocol next, uint32_t vni) {
  constexpr uint8_t kFlags = VxlanHeader::kValidVni | VxlanHeader::kNextProtocol;
  return InUdp(outer, kVxlanGpePort, Joined(VxlanBytes(kFlags, next, vni), inner));
}

Bytes GeneveFrame(const FrameSpec& outer, const Bytes& inner, const Bytes& options, uint32_t vni,
                  Ethertype type) {
  Bytes bytes;
  Append(bytes, GeneveHeader{.version_length = static_cast<uint8_t>(options.size() / 4),
                             .flags = 0,
                             .type = type,
                             .vni = vni,
                             .reserved = 0});
  Append(bytes, options);
  return InUdp(outer, kGenevePort, Joined(bytes, inner));
}

Bytes GreFrame(const FrameSpec& outer, const Bytes& inner, Ethertype type, uint16_t flags) {
  const GreHeader header{.flags = flags, .type = type};
  Bytes bytes;
  Append(bytes, header);
  if (header.has(GreHeader::kChecksum)) Append(bytes, Be32());
  if (header.has(GreHeader::kKey)) Append(bytes, Be32(0x12345600u));
  if (header.has(GreHeader::kSequence)) Append(bytes, Be32(7u));
  Append(bytes, inner);
  if (header.has(GreHeader::kChecksum)) Put16(bytes, 4, SimpleChecksum(bytes));
  return InIp(outer, IpProtocol::kGre, bytes);
}

Bytes NvgreFrame(const FrameSpec& outer, const Bytes& inner, uint32_t vsid) {
  Bytes bytes;
  Append(bytes, GreHeader{.flags = GreHeader::kKey, .type = Ethertype::kBridging});
  Append(bytes, Be32(vsid << 8));
  return InIp(outer, IpProtocol::kGre, Joined(bytes, inner));
}

Bytes NshBytes(const Bytes& inner, TunnelProtocol next) {
  Bytes bytes;
  // TTL 63, six words with a fixed context (RFC 8300, 2.4), path 10, index 255.
  Append(bytes, NshHeader{.version_ttl_length = uint16_t{63 << 6 | 6},
                          .md_type = 1,
                          .next_protocol = next,
                          .path_index = 10u << 8 | 255u});
  bytes.resize(24);
  return Joined(bytes, inner);
}

Bytes NshFrame(const FrameSpec& outer, const Bytes& inner, TunnelProtocol next) {
  return InEthernet(outer, Ethertype::kNsh, NshBytes(inner, next));
}

Bytes MplsBytes(const Bytes& inner, const std::vector<uint32_t>& labels) {
  Bytes bytes;
  for (size_t i = 0; i < labels.size(); ++i) {
    const uint32_t bottom = i + 1 == labels.size() ? 0x100 : 0;
    Append(bytes, MplsLabel{.entry = labels[i] << 12 | bottom | 64u});
  }
  return Joined(bytes, inner);
}

Bytes MplsFrame(const FrameSpec& outer, const Bytes& inner, const std::vector<uint32_t>& labels) {
  return InEthernet(outer, Ethertype::kMpls, MplsBytes(inner, labels));
}

Bytes MplsUdpFrame(const FrameSpec& outer, const Bytes& inner, const std::vector<uint32_t>& labels) {
  return InUdp(outer, kMplsUdpPort, MplsBytes(inner, labels));
}

Bytes WithoutEthernet(const Bytes& frame) { return {frame.begin() + sizeof(EthernetHeader), frame.end()}; }

Bytes Padded(Bytes frame, size_t length) {
  frame.resize(std::max(frame.size(), length));
  return frame;
}

Bytes Cut(Bytes frame, size_t length) {
  frame.resize(std::min(frame.size(), length));
  return frame;
}

PacketPtr MakePacket(PacketPool& pool, absl::Span<const uint8_t> bytes, size_t piece) {
  PacketPtr packet = pool.GetOne();
  if (packet == nullptr) return nullptr;
  const size_t here = std::min(bytes.size(), piece == 0 ? packet->tailroom() : piece);
  if (here != 0) std::memcpy(packet->data(), bytes.data(), here);
  packet->SetLength(static_cast<uint32_t>(here));
  if (here == bytes.size()) return packet;
  PacketPtr rest = MakePacket(pool, bytes.subspan(here), piece);
  if (rest == nullptr) return nullptr;
  packet->Append(std::move(rest));
  return packet;
}

Bytes BytesOf(const Packet& packet) {
  Bytes bytes(packet.length());
  [[maybe_unused]] const bool whole = packet.CopyOut(0, packet.length(), bytes.data());
  assert(whole);
  return bytes;
}

}  // namespace sluice::testing

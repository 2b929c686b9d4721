// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "packet/coalesce_shape_internal.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

using Mask = CoalesceShape::Mask;

Mask FirstBytes(size_t n) {
  Mask mask{};
  for (size_t i = 0; i < n; ++i) mask[i / CoalesceShape::kBlock] |= uint64_t{1} << i % CoalesceShape::kBlock;
  return mask;
}

// `bytes` has a bit for each, from `at`.
void Ignore(size_t at, uint64_t bytes, Mask& mask) {
  const size_t word = at / CoalesceShape::kBlock;
  const size_t shift = at % CoalesceShape::kBlock;
  mask[word] &= ~(bytes << shift);
  if (shift != 0 && bytes >> (CoalesceShape::kBlock - shift) != 0) {
    mask[word + 1] &= ~(bytes >> (CoalesceShape::kBlock - shift));
  }
}

// Total length, id, checksum; payload length.
void AddIp(const LayerOffsets& at, CoalesceShape& shape) {
  const bool ipv4 = at.l3_type == L3Type::kIpv4;
  shape.ip[shape.ips++] = {.at = static_cast<uint8_t>(at.l3), .ipv4 = ipv4};
  Ignore(at.l3, ipv4 ? 0b1100'0011'1100 : 0b11'0000, shape.alike);
  if (ipv4) Ignore(at.l3, 0b1100'0011'0000, shape.exact);
}

void AddTcp(CoalesceShape& shape) {
  shape.counters[0] = static_cast<uint8_t>(shape.l4 + offsetof(TcpHeader, sequence));
  shape.sum_at = static_cast<uint8_t>(shape.l4 + offsetof(TcpHeader, checksum));
  shape.unfit_sum = -1;
  Ignore(shape.l4, 0b11'0010'0000'1111'0000, shape.alike);
  Ignore(shape.l4, 0b11'0000'0000'1111'0000, shape.exact);
}

void AddUdp(CoalesceShape& shape) {
  const CoalesceShape::Ip& ip = shape.innermost();
  const size_t addresses = ip.ipv4 ? offsetof(Ipv4Header, source) : offsetof(Ipv6Header, source);
  shape.counters[0] = static_cast<uint8_t>(ip.at + addresses);
  shape.sum_at = static_cast<uint8_t>(shape.l4 + offsetof(UdpHeader, checksum));
  shape.unfit_sum = shape.summed ? 0 : -1;  // without one, each is zero
  Ignore(shape.l4, 0b1111'0000, shape.alike);
  if (shape.summed) Ignore(shape.l4, 0b1100'0000, shape.exact);
}

void CountIds(CoalesceShape& shape) {
  for (size_t i = 0; i < shape.ips; ++i) {
    if (!shape.ip[i].ipv4) continue;
    shape.counts_ids = true;
    shape.counters[2] = static_cast<uint8_t>(shape.ip[i].at + offsetof(Ipv4Header, id));
    if (shape.counters[1] == 0) shape.counters[1] = shape.counters[2];
  }
}

CoalesceShape MakeShape(const Layers& layers, const LayerOffsets& at, bool summed) {
  CoalesceShape shape{.alike = FirstBytes(at.payload),
                      .l4 = static_cast<uint8_t>(at.l4),
                      .summed = summed,
                      .exact = FirstBytes(at.payload),
                      .header = static_cast<uint8_t>(at.payload),
                      .tcp = at.l4_type == L4Type::kTcp};
  if (layers.tunnel != TunnelType::kNone) {
    shape.tunnel_l4 = static_cast<uint8_t>(layers.outer.l4);
    Ignore(layers.outer.l4, 0b1111'0000, shape.alike);
    AddIp(layers.outer, shape);
  }
  AddIp(at, shape);
  shape.tcp ? AddTcp(shape) : AddUdp(shape);
  CountIds(shape);
  return shape;
}

bool HasExtensions(const LayerOffsets& at) {
  return at.l3_type == L3Type::kIpv6 && at.l4 != at.l3 + sizeof(Ipv6Header);
}

bool IsUsable(const Layers& layers, const LayerOffsets& at) {
  const bool ip = at.l3_type == L3Type::kIpv4 || at.l3_type == L3Type::kIpv6;
  return ip && at.payload <= Coalescer::kMostHeader && !HasExtensions(at) && !HasExtensions(layers.outer);
}

bool IsSummed(const Packet& packet, const LayerOffsets& at) {
  return at.l4_type == L4Type::kTcp || HeaderAt<UdpHeader>(packet.data(), at.l4)->checksum != Be16();
}

}  // namespace

const CoalesceShapes::Numbered* CoalesceShapes::Find(const Packet& packet, const LayerOffsets& at) {
  const Layers& layers = packet.layers();
  const bool summed = IsSummed(packet, at);
  Place& place = places_[(at.payload / 2u + 3u * static_cast<size_t>(at.l3_type)) % kPlaces];
  if (std::memcmp(&place.layers, &layers, sizeof(layers)) != 0 || place.summed != summed) [[unlikely]] {
    place.layers = layers;
    place.summed = summed;
    place.usable = IsUsable(layers, at);
    place.numbered.number += kPlaces * kModes;
    if (place.usable) place.numbered.shape = MakeShape(layers, at, summed);
  }
  return place.usable ? &place.numbered : nullptr;
}

}  // namespace sluice

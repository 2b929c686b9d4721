// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/spoiling_wire.h"

#include <cstddef>

#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kFullFrame = 1514;  // bytes, of an MTU of 1500: segments that were cut for it
constexpr uint32_t kSpoiled = 1;       // Packet::mark of a frame that is broken already, and was not taken

// The byte to be broken, from the start of the frame.
uint32_t PlaceOf(SpoiledField field, const Layers& layers) {
  const LayerOffsets& innermost = Select(layers, LayerSet::kInnermost);
  switch (field) {
    case SpoiledField::kOuterIpv4:
      return layers.outer.l3 + uint32_t{offsetof(Ipv4Header, checksum)};
    case SpoiledField::kOuterUdp:
      return layers.outer.l4 + uint32_t{offsetof(UdpHeader, checksum)};
    case SpoiledField::kInnerIpv4:
      return innermost.l3 + uint32_t{offsetof(Ipv4Header, checksum)};
    case SpoiledField::kTcpChecksum:
      return innermost.l4 + uint32_t{offsetof(TcpHeader, checksum)};
    case SpoiledField::kPayload:
      break;
  }
  return innermost.payload;
}

// Payload is lent to a segment, not its own, and in a piece behind the headers.
void Break(Packet& packet, uint32_t place) {
  Packet* piece = &packet;
  while (place >= piece->head_length()) {
    place -= piece->head_length();
    piece = piece->next();
  }
  piece->data()[place] ^= 1;
}

}  // namespace

size_t SpoilingWire::Transmit(uint16_t lane, Burst& burst) {
  for (Packet* packet : burst) {
    const bool wanted = spoiled_ < plan_.frames && packet->length() >= kFullFrame;
    if (wanted && packet->mark() != kSpoiled) Spoil(*packet);
  }
  return ForwardingWire::Transmit(lane, burst);
}

void SpoilingWire::Spoil(Packet& packet) {
  Parse(packet);
  Break(packet, PlaceOf(plan_.field, packet.layers()));
  packet.set_mark(kSpoiled);
  ++spoiled_;
}

}  // namespace sluice::testing

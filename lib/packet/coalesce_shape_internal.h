// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_COALESCE_SHAPE_INTERNAL_H_
#define SLUICE_LIB_PACKET_COALESCE_SHAPE_INTERNAL_H_

// Where in the headers of a packet is what, as its layers tell, for who looks whether another one follows it.
//
//   headers    Ethernet ─ IPv4 ─ UDP ─ VXLAN ─ Ethernet ─ IPv4 ─ TCP
//   exact      11111111111 00 111 00 111111111111111111 00 111 00 1111 0000 11111 00 1111
//                          id    sum                    id    sum     sequence    sum
//   counters               1└8 bytes                    2└8 bytes     0└4 bytes
//
// All bytes of `exact` are the same in every segment of full size but for TCP's CWR. What is not, counts: read as one big
// number it is that of the segment before and a step, with nothing carried from one field into another.
//
//   0     four bytes: TCP's sequence                                    step: payload
//   1, 2  eight bytes, from the id of an IPv4 header to its checksum    step: one more id, one less checksum; or none, where
//                                                                       ids stay (CoalesceShapes::kModes)
//
// Where there is none, as in UDP and IPv6, the counter is at bytes that stay the same, or at those of another.

#include <array>
#include <cstddef>
#include <cstdint>

#include "sluice/base/counters.h"
#include "sluice/packet/coalesce.h"
#include "sluice/packet/packet.h"

namespace sluice {

// The layers whose segments are joined: the innermost, of a plain packet or in a tunnel of a kind that is known. Null when
// there are none.
inline const LayerOffsets* SegmentLayer(const Layers& layers) {
  if (layers.tunnel == TunnelType::kNone) [[likely]]
    return &layers.outer;
  const bool known = layers.tunnel == TunnelType::kVxlan || layers.tunnel == TunnelType::kGeneve;
  return known && layers.inner_verdict == ParseVerdict::kOk ? &layers.inner : nullptr;
}

struct CoalesceShape {
  static constexpr size_t kBlock = 64;                                 // bytes that a word of a mask tells of
  using Mask = std::array<uint64_t, Coalescer::kMostHeader / kBlock>;  // a bit for each byte of the headers

  // What is looked at rule by rule, and written in the end.
  struct Ip {
    uint8_t at;
    bool ipv4;
  };
  Mask alike{};  // the same in segments of any size, with any flags: all but lengths, counters, checksums
  std::array<Ip, 2> ip{};  // outside first
  uint8_t ips = 0;
  uint8_t l4 = 0;
  uint8_t tunnel_l4 = 0;  // the tunnel's UDP header; 0 without
  bool summed = false;    // there is an L4 checksum

  // What every segment is looked at with.
  Mask exact{};
  std::array<uint8_t, 3> counters{};
  uint8_t header = 0;  // length
  uint8_t sum_at = 0;  // the L4 checksum's place
  bool tcp = false;    // or UDP
  bool counts_ids = false;
  int8_t unfit_sum = 0;  // what never is a right L4 checksum here: plus or minus zero

  const Ip& innermost() const { return ip[ips - 1u]; }
  // From the id of an IPv4 header to its checksum: an id of one more is a checksum of one less. A mode has bit `i` where the
  // id of counter 1 + i stays.
  uint64_t id_step(size_t i, uint32_t mode) const {
    const bool stays = (mode >> i & 1) != 0;
    return counts_ids && !stays ? (uint64_t{1} << 48) - 1 : 0;
  }
};
static_assert(sizeof(CoalesceShape) == 64);

// Shapes by layers: few are in use at a time.
class CoalesceShapes {
 public:
  // How ids go on in a unit: CoalesceShape::id_step.
  static constexpr uint32_t kModes = 4;

  // With a number, for who keeps no pointer; a multiple of kModes.
  struct alignas(2 * kCacheLine) Numbered {
    CoalesceShape shape;
    uint32_t number = 0;
  };

  CoalesceShapes() {
    for (uint32_t i = 0; i < kPlaces; ++i) places_[i].numbered.number = i * kModes;
  }

  // Of a packet of TCP or UDP whose SegmentLayer is `at`; null when nothing like it is joined, as it has too long headers or
  // extensions of IPv6. Valid until the next call.
  const Numbered* Find(const Packet& packet, const LayerOffsets& at);

  // Of a number with a mode added. Null when its place has been taken by another since. It takes 2^26 others until a number
  // comes again.
  const CoalesceShape* WithNumber(uint32_t number) const {
    const Numbered& there = places_[number / kModes % kPlaces].numbered;
    return there.number / kModes == number / kModes ? &there.shape : nullptr;
  }

 private:
  static constexpr uint32_t kPlaces = 16;

  struct Place {
    Numbered numbered;
    Layers layers;
    bool summed = false;
    bool usable = false;
  };

  std::array<Place, kPlaces> places_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_COALESCE_SHAPE_INTERNAL_H_

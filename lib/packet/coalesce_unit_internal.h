// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_
#define SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

// A packet that waits for the next segments of its flow: the segments so far, and what the next must look like.
//
// The first packet's headers are copied, so that all that a comparison reads lies together: the headers themselves are
// at the same place of their buffers, 2 KiB apart, and so share a few sets of the processor's cache. One bit a byte says
// which of them must be alike; the others are lengths, counters and checksums, which have a rule each.

#include <array>
#include <cstdint>
#include <optional>

#include "sluice/base/counters.h"
#include "sluice/packet/coalesce.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/parse.h"

namespace sluice {

// The layers whose segments are joined: the innermost, of a plain packet or in a tunnel of a kind that is known. Null when
// there are none.
inline const LayerOffsets* SegmentLayer(const Layers& layers) {
  if (layers.tunnel == TunnelType::kNone) [[likely]]
    return &layers.outer;
  const bool known = layers.tunnel == TunnelType::kVxlan || layers.tunnel == TunnelType::kGeneve;
  return known && layers.inner_verdict == ParseVerdict::kOk ? &layers.inner : nullptr;
}

class alignas(kCacheLine) CoalesceUnit {
 public:
  // What a packet does to the unit of its flow.
  struct Verdict {
    bool joins = false;
    CoalesceEnd end = CoalesceEnd::kOther;  // why not
  };

  // Makes `packet`, which is taken over then, the first of this unit; false when nothing can be joined to it. `at` is its
  // SegmentLayer, of TCP or UDP.
  bool Start(Packet& packet, const LayerOffsets& at);

  // Whether `packet` is the next segment, and if so hangs its payload behind the others'. Of a packet that does not join,
  // nothing but a checksum verdict is changed.
  Verdict Join(Packet& packet, const LayerOffsets& at);

  // Why nothing can join any more, if that is so.
  std::optional<CoalesceEnd> Complete(const CoalesceOptions& options) const {
    if (last_seen_) return CoalesceEnd::kLast;
    const bool full = segments_ >= options.max_segments || length_ + size_ > options.max_bytes;
    return full ? std::optional(CoalesceEnd::kFull) : std::nullopt;
  }

  // Makes the segments one packet, and gives it back.
  Packet* Finish();

  uint32_t hash() const { return hash_; }
  void set_hash(uint32_t hash) { hash_ = hash; }
  uint16_t segments() const { return segments_; }
  Packet* first() const { return first_; }

 private:
  static constexpr size_t kBlock = 32;  // compared at a time
  static constexpr size_t kBlocks = Coalescer::kMostHeader / kBlock;

  // An IP header, and what is known of its fields that vary.
  struct Ip {
    uint16_t at;
    uint16_t id;  // IPv4: of the first segment
    uint32_t
        sum;  // IPv4: of total length, id and checksum, folded; the same in every right header of the flow
    bool ipv4;
  };

  void ReadLayout(const Packet& packet, const LayerOffsets& at);
  bool ReadIp(const Packet& packet, const LayerOffsets& at, LayerSet which);
  bool StartLayers(const Packet& packet, const LayerOffsets& at);
  bool StartTcp();
  void Ignore(uint32_t at, uint32_t bytes);

  bool Alike(const Packet& packet) const;
  bool LengthsFit(const Packet& packet) const;
  bool IdsFollow(const uint8_t* data) const;
  bool ChecksumsFit(Packet& packet) const;
  bool ChecksumIsCanonical(const uint8_t* data) const;
  uint32_t VaryingSum(const uint8_t* data, uint32_t l4_length) const;
  void Take(const uint8_t* data, uint32_t payload);
  void Hang(Packet& packet);

  void PatchIp(uint8_t* data) const;
  void PatchL4(uint8_t* data) const;
  void PatchCover(uint8_t* data) const;
  uint32_t PseudoHeaderSum(const uint8_t* data, uint32_t l4_length) const;
  uint16_t JoinedChecksum() const;

  Packet* first_;
  Packet* last_piece_;
  uint32_t hash_;
  uint32_t sequence_;  // of the next segment
  uint32_t length_;    // of the frame so far
  uint16_t header_;    // length of the headers
  uint16_t size_;      // payload of each segment but the last
  uint16_t segments_;
  uint16_t l4_;
  uint8_t blocks_;  // of header
  uint8_t ips_;
  uint8_t flags_;   // TCP: of the first segment
  uint8_t ending_;  // TCP: PSH and FIN, once they came
  bool tcp_;
  bool summed_;   // there is an L4 checksum
  bool covered_;  // and one in the tunnel's UDP header
  bool last_seen_;
  std::array<uint32_t, kBlocks> alike_;  // a bit for each byte that must be

  std::array<Ip, 2> ip_;
  uint16_t tunnel_l4_;               // the outer UDP header; 0 without a tunnel
  std::array<uint32_t, 2> varying_;  // VaryingSum of the segments at even, and at odd places of the payload
  alignas(kBlock) std::array<uint8_t, Coalescer::kMostHeader> headers_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

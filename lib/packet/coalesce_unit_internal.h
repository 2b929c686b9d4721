// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_
#define SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

// A packet that waits for the next segments of its flow: the segments so far, and what the next must look like.
//
// The next segment is foreseen: its headers are those of the one before, counted up, to the last byte but that of the L4
// checksum. One comparison of blocks then stands for all the rules. Where it fails, they are looked at one by one: the
// segment may be the last, or end the packet.
//
// The headers foreseen are a copy, not those of a packet: these lie at the same place of buffers 2 KiB apart, and so share
// a few sets of the processor's cache.

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <array>
#include <cstdint>
#include <optional>

#include "sluice/base/counters.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/coalesce.h"
#include "sluice/packet/headers.h"
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
  bool Start(Packet& packet, const LayerOffsets& at, const CoalesceOptions& options);

  // Whether `packet` is the next segment, and if so hangs its payload behind the others'. Of a packet that does not join,
  // nothing but a checksum verdict is changed. The first of the two is quick, and takes the segment foreseen only.
  bool JoinForeseen(Packet& packet, const LayerOffsets& at);
  Verdict JoinAny(Packet& packet, const LayerOffsets& at);

  // Whether nothing can join any more, and why.
  bool complete() const { return left_ == 0; }
  CoalesceEnd end() const { return last_seen_ ? CoalesceEnd::kLast : CoalesceEnd::kFull; }

  // Makes the segments one packet, and gives it back.
  Packet* Finish();

  uint32_t hash() const { return hash_; }
  void set_hash(uint32_t hash) { hash_ = hash; }

 private:
  static constexpr size_t kBlock = 32;  // compared at a time
  static constexpr size_t kBlocks = Coalescer::kMostHeader / kBlock;
  using Mask = std::array<uint32_t, kBlocks>;  // a bit for each byte of the headers

  // An IP header, and what is known of its fields that vary.
  struct Ip {
    uint16_t at;
    bool ipv4;
    uint32_t
        sum;  // IPv4: of total length, id and checksum, folded; the same in every right header of the flow
  };

  void ReadLayout(const Packet& packet, const LayerOffsets& at);
  bool ReadIp(const Packet& packet, const LayerOffsets& at, LayerSet which);
  bool StartLayers(const Packet& packet, const LayerOffsets& at);
  bool StartTcp();
  void StartUdp();
  void Ignore(uint32_t at, uint32_t bytes);
  static void Clear(uint32_t at, uint32_t bytes, Mask& mask);

  void Bound(const CoalesceOptions& options);
  void Foresee();
  std::optional<CoalesceEnd> Refuse(Packet& packet, const LayerOffsets& at, uint32_t payload);
  static uint32_t Differing(const uint8_t* a, const uint8_t* b);
  bool Agrees(const uint8_t* data, const Mask& mask) const;
  bool AgreesIn(const Packet& packet, const Mask& mask) const;
  bool LengthsFit(const Packet& packet) const;
  bool IdsFollow(const uint8_t* data) const;
  bool IpChecksumsFit(const uint8_t* data) const;
  bool L4ChecksumsFit(Packet& packet) const;
  bool IsCanonical(const uint8_t* data) const;
  uint32_t VaryingSum(const uint8_t* data, uint32_t l4_length) const;
  void Take(const uint8_t* data, uint32_t payload);
  void Hang(Packet& packet);

  void PatchIp(uint8_t* data) const;
  void PatchL4(uint8_t* data) const;
  void PatchCover(uint8_t* data) const;
  uint32_t PseudoHeaderSum(const uint8_t* data, uint32_t l4_length) const;
  uint16_t JoinedChecksum(const uint8_t* first) const;

  // What every segment touches.
  Packet* first_;
  Packet* last_piece_;
  uint32_t length_;  // of the frame so far
  uint32_t full_;    // length of a segment's frame, of full size
  uint16_t header_;  // length of the headers
  uint16_t size_;    // payload of each segment but the last
  uint16_t left_;    // segments of full size that may still join; 0 = none of any size
  uint16_t l4_;
  uint16_t sum_at_;     // the L4 checksum's place
  uint16_t unfit_sum_;  // what never is a right one here
  uint8_t blocks_;      // of headers
  uint8_t ips_;
  bool tcp_;
  bool quick_;  // JoinForeseen may be asked
  Mask exact_;  // what the next segment has as foreseen: all but L4 checksums

  std::array<uint64_t, 2> known_;    // of the first packet
  std::array<uint32_t, 2> varying_;  // VaryingSum of the segments at even, and at odd places of the payload
  uint32_t fixed_varying_;           // of it, what is the same in all of full size
  uint16_t segments_;
  bool summed_;   // there is an L4 checksum
  bool covered_;  // and one in the tunnel's UDP header
  bool last_seen_;
  uint8_t ending_;      // TCP: PSH and FIN, once they came
  uint16_t tunnel_l4_;  // the tunnel's UDP header; 0 without
  std::array<Ip, 2> ip_;
  uint32_t hash_;

  // The headers of the next segment, if it is of full size and nothing has changed.
  alignas(kCacheLine) std::array<uint8_t, Coalescer::kMostHeader> headers_;
  Mask alike_;  // of these, what must be so in any segment: all but lengths, counters, checksums
};

// Bit i: whether a[i] and b[i] differ, of a block; `b` is aligned.
inline uint32_t CoalesceUnit::Differing(const uint8_t* a, const uint8_t* b) {
#if defined(__SSE2__)
  const auto equal = [a, b](size_t at) {
    const __m128i one = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + at));
    const __m128i two = _mm_load_si128(reinterpret_cast<const __m128i*>(b + at));
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(one, two)));
  };
  return ~(equal(0) | equal(16) << 16);
#else
  uint32_t differing = 0;
  for (uint32_t i = 0; i < kBlock; ++i) differing |= uint32_t{a[i] != b[i]} << i;
  return differing;
#endif
}

inline bool CoalesceUnit::Agrees(const uint8_t* data, const Mask& mask) const {
  uint32_t differing = 0;
  for (size_t i = 0; i < blocks_; ++i) {
    differing |= Differing(data + i * kBlock, &headers_[i * kBlock]) & mask[i];
  }
  return differing == 0;
}

// Counts the headers up.
inline void CoalesceUnit::Foresee() {
  uint8_t* const next = headers_.data();
  if (tcp_) {
    auto* const tcp = HeaderAt<TcpHeader>(next, l4_);
    tcp->sequence = tcp->sequence.get() + size_;
  }
  for (size_t i = 0; i < ips_; ++i) {
    if (!ip_[i].ipv4) continue;
    auto* const ip = HeaderAt<Ipv4Header>(next, ip_[i].at);
    const auto id = static_cast<uint16_t>(ip->id.get() + 1);
    const uint16_t checksum = ip->checksum.get();
    // One more there is one less here, modulo 0xffff; from 0xffff to 0 there is no difference.
    if (id != 0) ip->checksum = static_cast<uint16_t>(checksum != 0 ? checksum - 1 : 0xfffe);
    ip->id = id;
  }
}

inline bool CoalesceUnit::JoinForeseen(Packet& packet, const LayerOffsets& at) {
  // 1. Is it? The frame is longer than its last block of headers, so no comparison leaves it.
  if (!quick_ || packet.length() != full_ || packet.head_length() != full_ || packet.borrows()) return false;
  const uint8_t* const data = packet.data();
  const uint16_t sum = HeaderAt<Be16>(data, sum_at_)->get();
  if (at.payload != header_ || sum == unfit_sum_ || !Agrees(data, exact_)) return false;
  if (packet.l4_checksum == ChecksumVerdict::kUnknown) [[unlikely]]
    packet.l4_checksum = VerifyL4Checksum(packet, LayerSet::kInnermost);
  if (packet.known() != known_) return false;

  // 2. Then it is right in all else, too.
  uint32_t varying = fixed_varying_ + sum;
  if (tcp_) {
    const uint32_t sequence = HeaderAt<TcpHeader>(data, l4_)->sequence.get();
    varying += (sequence >> 16) + (sequence & 0xffff);
  }
  varying_[(length_ - header_) % 2] += varying;
  length_ += size_;
  ++segments_;
  --left_;
  packet.TrimFront(header_);
  last_piece_->Link(PacketPtr(&packet));
  last_piece_ = &packet;
  Foresee();
  return true;
}

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_
#define SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

// A packet that waits for the next segments of its flow: the segments so far, and what the next must look like.
//
//   line 0   │ the first packet, limits │ layout (CoalesceShape)                  what begins and ends it
//   line 1   │ exact, places (CoalesceShape) │ last piece │ known │ lengths │       what each segment of full size touches,
//   line 2   │ varying │ counters │ steps │ headers of the first segment            with headers of up to 72 bytes
//   line 3   │ ...
//
// The next segment is foreseen: its headers are those of the first, counted up (coalesce_shape_internal.h), but for the L4
// checksum. That one comparison stands for all the rules, and tells that it is a packet of this flow, too. Where it fails,
// they are looked at one by one: the segment may be the last, or end the packet.
//
// The headers are a copy, not those of a packet: these lie at the same place of buffers 2 KiB apart, and so share a few sets
// of the processor's cache.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "packet/coalesce_shape_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/coalesce.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet.h"

namespace sluice {

class alignas(kCacheLine) CoalesceUnit {
 public:
  // What a packet does to the unit of its flow.
  struct Verdict {
    bool joins = false;
    CoalesceEnd end = CoalesceEnd::kOther;  // why not
  };

  // Makes `packet`, which is taken over then, the first of this unit; false when nothing can be joined to it. `shape` is its
  // own; it is TCP or UDP.
  bool Start(Packet& packet, const CoalesceShape& shape, const CoalesceOptions& options);

  // Whether `packet`, of any flow, is the next segment, as foreseen; if so hangs its payload
  // behind the others'. `differs(exact, a, b, n)` tells whether bytes differ, of n, that have a bit in `exact`. Of a unit
  // that is not started none is foreseen.
  template <typename Differs>
  bool JoinForeseen(Packet& packet, Differs differs);

  // Joins `packet`, which is of this flow, if it can be.
  Verdict JoinAny(Packet& packet, const LayerOffsets& at);

  // Whether nothing can join any more, and why.
  bool complete() const { return full_up() || last_seen_; }
  bool full_up() const { return left_ == 0; }  // by segments, or bytes
  CoalesceEnd end() const { return last_seen_ ? CoalesceEnd::kLast : CoalesceEnd::kFull; }

  // Makes the segments one packet, and gives it back. PrefetchFinish gets what that touches.
  Packet* Finish();
  void PrefetchFinish() const;
  void Prefetch() const;  // what JoinForeseen touches

  uint32_t hash() const { return hash_; }
  void set_hash(uint32_t hash) { hash_ = hash; }

 private:
  static constexpr uint32_t kNoneForeseen = ~uint32_t{0};

  void CopyHeaders(const Packet& packet);
  bool StartHeaders(Packet& packet);
  bool StartTcp();
  void Bound(const CoalesceOptions& options);
  void Foresee(const Packet& packet);
  bool IdsWrap() const;
  std::optional<CoalesceEnd> Refuse(Packet& packet, const LayerOffsets& at, uint32_t payload) const;
  bool LengthsFit(const Packet& packet) const;
  bool SequenceFollows(const uint8_t* data) const;
  bool IdsFollow(const uint8_t* data) const;
  bool Ipv4ChecksumsAreGood() const;
  bool Ipv4ChecksumsFit(const uint8_t* data) const;
  bool L4ChecksumsFit(Packet& packet) const;
  bool IsCanonical(const uint8_t* data) const;
  void CountFrom(const uint8_t* data);
  uint64_t VaryingOf(const uint8_t* data) const;
  uint64_t& SumOf(uint32_t left) { return varying_[left & size_ & 1u]; }
  void End(uint32_t payload, uint8_t flags);
  void Hang(Packet& packet);

  void PatchIp(uint8_t* data) const;
  void PatchL4(uint8_t* data) const;
  void PatchCover(uint8_t* data) const;
  uint32_t LengthsIn(uint32_t l4_length) const;
  uint64_t FixedSum() const;
  uint16_t JoinedChecksum() const;

  uint32_t segments() const { return 1u + most_ - left_; }
  // Lengths of frames: a segment of full size, and the joined one.
  uint32_t full() const { return uint32_t{shape_.header} + size_; }
  uint32_t length() const { return shape_.header + segments() * size_ - missing_; }
  static uint64_t BigAt(const uint8_t* data, size_t at) { return HeaderAt<Be64>(data, at)->get(); }
  template <typename Header>
  const Header& First(size_t at) const {
    return *HeaderAt<Header>(headers_.data(), at);
  }

  Packet* first_;
  uint8_t* data_;       // its frame
  uint16_t most_;       // left_, when it started
  uint16_t size_;       // payload of each segment but the last
  uint16_t missing_;    // of the last, to that size
  uint8_t more_flags_;  // TCP: CWR of the first, PSH and FIN of the last
  bool last_seen_;
  bool covered_;  // the tunnel's UDP header has a checksum
  uint32_t hash_;

  CoalesceShape shape_;
  Packet* last_piece_;
  std::array<uint64_t, 2> known_;             // of the first packet
  uint32_t foreseen_length_ = kNoneForeseen;  // of a segment's frame of full size
  uint16_t left_ = 0;                // segments of full size that may still join; 0 = none of any size
  std::array<uint64_t, 2> varying_;  // VaryingOf all segments, by SumOf
  std::array<uint64_t, 3> next_;     // the counters that are foreseen
  std::array<uint64_t, 2> steps_;    // of counter 0, and of the others
  std::array<uint8_t, Coalescer::kMostHeader> headers_;  // of the first segment, without CWR
};

static_assert(sizeof(CoalesceUnit) == 6 * kCacheLine);

// The words under the L4 checksum, itself among them, that differ between segments of full size, but for the payload. Of UDP,
// some that do not, to be added and taken off likewise.
inline uint64_t CoalesceUnit::VaryingOf(const uint8_t* data) const {
  return (BigAt(data, shape_.counters[0]) >> 32) + HeaderAt<Be16>(data, shape_.sum_at)->get();
}

template <typename Differs>
inline bool CoalesceUnit::JoinForeseen(Packet& packet, Differs differs) {
  // 1. Is it?
  if (packet.length() != foreseen_length_ || packet.head_length() != foreseen_length_ || packet.borrows()) {
    return false;
  }
  const uint8_t* const data = packet.data();
  std::array<uint64_t, 3> counters;
  for (size_t i = 0; i < 3; ++i) counters[i] = BigAt(data, shape_.counters[i]);
  const uint16_t sum = HeaderAt<Be16>(data, shape_.sum_at)->get();
  const uint64_t different = (counters[0] ^ next_[0]) | (counters[1] ^ next_[1]) | (counters[2] ^ next_[2]);
  if (different != 0 || sum == shape_.unfit_sum ||
      differs(shape_.exact, data, headers_.data(), shape_.header)) {
    return false;
  }
  if (packet.l4_checksum == ChecksumVerdict::kUnknown) [[unlikely]]
    packet.l4_checksum = VerifyL4Checksum(packet, LayerSet::kInnermost);
  const std::array<uint64_t, 2> known = packet.known();
  if (((known[0] ^ known_[0]) | (known[1] ^ known_[1])) != 0) return false;

  // 2. Then it is right in all else, too.
  const bool odd = (foreseen_length_ - shape_.header) % 2 != 0;
  varying_[left_ & odd] += (counters[0] >> 32) + sum;
  next_[0] += steps_[0];
  next_[1] += steps_[1];
  next_[2] += steps_[1];
  --left_;
  packet.TrimFront(shape_.header);
  last_piece_->Link(PacketPtr(&packet));
  last_piece_ = &packet;
  return true;
}

inline void CoalesceUnit::Prefetch() const {
  const auto* const line = reinterpret_cast<const uint8_t*>(this);
  for (size_t i = 1; i < 4; ++i) __builtin_prefetch(line + i * kCacheLine, 1);
}

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

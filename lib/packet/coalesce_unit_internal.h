// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_
#define SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

// A packet that waits for the next segments of its flow: the segments so far, and what the next must look like.
//
//   line 0   │ the first packet, limits                                            what begins and ends it
//   line 1   │ layout (CoalesceShape)
//   line 2   │ last piece │ lengths │ known │ counters │ sums │                    what each segment of full size touches
//   line 3   │ headers of the first segment ...
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

// What the next segment of full size must look like: one line, and as many of headers as these fill.
struct alignas(kCacheLine) CoalesceForeseen {
  static constexpr uint64_t kNone = ~uint64_t{0};
  static constexpr uint64_t kBothLengths = 0x1'0000'0001;  // Packet::lengths() of one piece, by its length

  Packet* last_piece = nullptr;  // of those so far
  uint64_t lengths = kNone;      // Packet::lengths()
  uint64_t known = 0;  // Packet::known() of the first, but for the sizes in a request, which is none
  uint32_t known_more = 0;
  uint32_t shape_number = 0;       // CoalesceShapes::Numbered, and a mode
  uint16_t left = 0;               // that may still join; 0 = none of any size
  uint16_t step = 0;               // of the sequence
  uint32_t sequence = 0;           // the counters
  std::array<uint32_t, 2> sums{};  // of L4 checksums, apart for payload at even and at odd places
  std::array<uint64_t, 2> ids{};
  std::array<uint8_t, Coalescer::kMostHeader> headers;  // of the first, without CWR

  // All of it but what the headers say, which are there then.
  bool Agrees(const Packet& packet) const {
    const std::array<uint64_t, 2> of_packet = packet.known();
    return packet.lengths() == lengths && of_packet[0] == known &&
           static_cast<uint32_t>(of_packet[1]) == known_more && !packet.borrows() && packet.contiguous();
  }
  uint32_t& SumOf(uint32_t at, uint32_t size) { return sums[at & size & 1u]; }
  void Hang(Packet& packet) {
    last_piece->Link(PacketPtr(&packet));
    last_piece = &packet;
  }
};
static_assert(offsetof(CoalesceForeseen, headers) == kCacheLine);

class alignas(kCacheLine) CoalesceUnit {
 public:
  // What a packet does to the unit of its flow.
  struct Verdict {
    bool joins = false;
    CoalesceEnd end = CoalesceEnd::kOther;  // why not
  };

  // Makes `packet`, which is taken over then, the first of this unit; false when nothing can be joined to it. `shape` is its
  // own; it is TCP or UDP.
  bool Start(Packet& packet, const CoalesceShapes::Numbered& shape, const CoalesceOptions& options);

  // Nothing, in a unit that is not started.
  CoalesceForeseen& foreseen() { return next_; }

  // Joins `packet`, which is of this flow, if it can be.
  Verdict JoinAny(Packet& packet, const LayerOffsets& at);

  // Whether nothing can join any more, and why.
  bool complete() const { return full_up() || last_seen_; }
  bool full_up() const { return next_.left == 0; }  // by segments, or bytes
  CoalesceEnd end() const { return last_seen_ ? CoalesceEnd::kLast : CoalesceEnd::kFull; }

  // Makes the segments one packet, and gives it back. PrefetchFinish gets what that touches.
  Packet* Finish();
  void PrefetchFinish() const;
  void Prefetch() const;  // what is foreseen

  uint32_t hash() const { return hash_; }
  void set_hash(uint32_t hash) { hash_ = hash; }

 private:
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
  bool IdFollows(const uint8_t* data, size_t i) const;
  void DecideIds(const uint8_t* data);
  void GuessIds();
  bool Ipv4ChecksumsAreGood() const;
  bool Ipv4ChecksumsFit(const uint8_t* data) const;
  bool L4ChecksumsFit(Packet& packet) const;
  bool IsCanonical(const uint8_t* data) const;
  void CountFrom(const uint8_t* data);
  uint32_t SequenceOf(const uint8_t* data) const;
  uint16_t ChecksumOf(const uint8_t* data) const;
  void End(uint32_t payload, uint8_t flags);
  void Hang(Packet& packet);

  void PatchIp(uint8_t* data) const;
  void PatchL4(uint8_t* data) const;
  void PatchCover(uint8_t* data) const;
  uint32_t LengthsIn(uint32_t l4_length) const;
  uint64_t FixedSum() const;
  uint16_t JoinedChecksum() const;

  uint32_t segments() const { return 1u + most_ - next_.left; }
  // Lengths of frames: a segment of full size, and the joined one.
  uint32_t full() const { return uint32_t{shape_.header} + size_; }
  uint32_t length() const { return shape_.header + segments() * size_ - missing_; }
  static uint64_t BigAt(const uint8_t* data, size_t at) { return HeaderAt<Be64>(data, at)->get(); }
  // Of IPv4 ids: those of counters 1 and 2 of the shape, which has some.
  size_t CountedIp(size_t i) const { return shape_.counters[1 + i] - offsetof(Ipv4Header, id); }
  uint16_t IdOf(const uint8_t* data, size_t i) const {
    return HeaderAt<Ipv4Header>(data, CountedIp(i))->id.get();
  }
  bool MayStay(size_t i) const { return First<Ipv4Header>(CountedIp(i)).dont_fragment(); }
  bool Stays(size_t i) const { return (next_.shape_number >> i & 1) != 0; }
  void SetStays(size_t i, bool stays) {
    next_.shape_number = (next_.shape_number & ~(1u << i)) | uint32_t{stays} << i;
  }
  FixedIds fixed_ids() const {
    return {.outer = shape_.ip[0].ipv4 && Stays(0),
            .inner = shape_.ips == 2 && shape_.ip[1].ipv4 && Stays(1)};
  }
  template <typename Header>
  const Header& First(size_t at) const {
    return *HeaderAt<Header>(next_.headers.data(), at);
  }

  Packet* first_;
  uint8_t* data_;       // its frame
  uint16_t most_;       // next_.left, when it started
  uint16_t size_;       // payload of each segment but the last
  uint16_t missing_;    // of the last, to that size
  uint8_t more_flags_;  // TCP: CWR of the first, PSH and FIN of the last
  bool last_seen_;
  bool covered_;  // the tunnel's UDP header has a checksum
  uint32_t hash_;

  alignas(kCacheLine) CoalesceShape shape_;

  CoalesceForeseen next_;
};

static_assert(sizeof(CoalesceUnit) == 6 * kCacheLine);

inline void CoalesceUnit::Prefetch() const {
  const auto* const lines = reinterpret_cast<const uint8_t*>(&next_);
  for (size_t i = 0; i < 3; ++i) __builtin_prefetch(lines + i * kCacheLine, 1);
}

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_COALESCE_UNIT_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_SEGMENT_HEADERS_INTERNAL_H_
#define SLUICE_LIB_PACKET_SEGMENT_HEADERS_INTERNAL_H_

// The headers of segments: a template, and what is written over each copy of it.
//
//   template   │ Ethernet │ IPv4 │ UDP │ VXLAN │ Ethernet │ IPv4 │ TCP │      lengths in place, counters zero
//   over it                id                              id     sequence
//                          checksum                        checksum  flags, checksum
//
// Segments but the last are all of one length, so of every checksum only the part that counts up is added anew.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "absl/types/span.h"
#include "sluice/base/drop_reason.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/segment.h"

namespace sluice {

// Has all of a packet fetched, to be written.
inline void Fetch(const Packet* packet) {
  const auto* const line = reinterpret_cast<const uint8_t*>(packet);
  __builtin_prefetch(line, 1);
  __builtin_prefetch(line + kCacheLine, 1);
}

class Segmenter::Headers {
 public:
  // Copies go block by block, each a few moves of fixed size.
  static constexpr size_t kBlock = 64;
  static constexpr size_t kMost = 512;

  // Reads the headers of a packet. Refuses what cannot be cut, but for what only shows in the number of segments.
  std::optional<DropReason> Read(const Packet& packet, bool finish_checksums);

  // Of the headers read: without a jumbo payload option.
  const Layers& layers() const { return layers_; }
  uint32_t length() const { return length_; }
  size_t room_needed() const { return std::max<size_t>(length_, kBlock); }
  // Puts the headers of different packets in different places of the `room` that a buffer has behind its headroom
  // (segment.h says why).
  void Spread(size_t headroom, size_t room);
  // L4 payload that the packet has.
  uint32_t payload() const { return payload_; }
  L4Type l4_type() const { return tcp_ ? L4Type::kTcp : L4Type::kUdp; }
  bool may_be_cut() const { return !tcp_ || (flags_ & (TcpHeader::kSyn | TcpHeader::kRst)) == 0; }
  bool FitsLengthFields(uint32_t payload) const { return length_ - layers_.outer.l3 + payload <= 0xffff; }

  bool finishes_l4() const { return l4_checksum_ == L4Checksum::kFinish; }
  bool leaves_l4() const { return l4_checksum_ == L4Checksum::kLeave; }
  // Whether Finish is to be called.
  bool reads_payload() const { return reads_payload_; }

  // Makes the template that of segments with `payload` bytes.
  void SetPayload(uint32_t payload);

  // Writes the headers of the next segments, which carry `payload` bytes each. The heads may be as PacketPool::GetRaw gave
  // them; `last` for a single one, the last of all.
  void Write(absl::Span<Packet* const> heads, const Packet::Likeness& likeness, uint32_t payload, bool last);

  // Has those places fetched that Write will write to.
  void Expect(absl::Span<Packet* const> heads) const;

  // Writes into what Write wrote, with the template as it was, what depends on the payload; `sums` are those of the
  // payload, by WordSum.
  void Finish(absl::Span<Packet* const> heads, const uint64_t* sums) const;

 private:
  enum class L4Checksum : uint8_t { kFinish, kLeave, kNone };

  // An IPv4 header, and the sum of it without the identification, which counts up, or stays.
  struct Ipv4 {
    uint16_t at = 0;
    uint16_t id = 0;
    uint16_t step = 1;
    uint32_t sum = 0;
  };

  template <typename H>
  H& At(uint32_t offset) {
    return *HeaderAt<H>(bytes_.data(), offset);
  }
  uint16_t SumOf(uint32_t begin, uint32_t end) const;
  uint16_t PseudoHeaderSum(const LayerOffsets& at, uint32_t payload) const;
  // A UDP checksum of zero is sent as all ones (RFC 768).
  static uint16_t ChecksumField(uint64_t sum, bool udp) {
    const auto checksum = static_cast<uint16_t>(~FoldSum(sum));
    return checksum == 0 && udp ? uint16_t{0xffff} : checksum;
  }

  std::optional<DropReason> CheckLayers(const Packet& packet) const;
  bool DropJumboOption(LayerOffsets& at);
  void ReadL3(const LayerOffsets& at, bool fixed_id);
  void ReadL4(bool checksum_asked, bool finish_checksums);
  void ReadTcp();
  std::optional<DropReason> ReadCover();

  void SetL3Length(const LayerOffsets& at, uint32_t payload, size_t& ipv4);
  void SetUdpLength(uint32_t at, uint32_t payload);
  void SetL4Checksum(uint32_t payload);
  void SetCover(uint32_t payload);

  // The last block overlaps the one before, or is the first again. The first and the last stay in registers.
  class Copier {
   public:
    explicit Copier(const Headers& headers)
        : bytes_(headers.bytes_.data()), last_(headers.room_needed() - kBlock) {
      std::memcpy(&first_block_, bytes_, kBlock);
      std::memcpy(&last_block_, bytes_ + last_, kBlock);
    }
    void To(uint8_t* to) const {
      std::memcpy(to, &first_block_, kBlock);
      for (size_t at = kBlock; at < last_; at += kBlock) std::memcpy(to + at, bytes_ + at, kBlock);
      std::memcpy(to + last_, &last_block_, kBlock);
    }

   private:
    using Block = uint64_t __attribute__((vector_size(kBlock)));
    const uint8_t* const bytes_;
    const size_t last_;
    Block first_block_;
    Block last_block_;
  };
  template <size_t ipv4s, bool tcp>
  void WriteAll(absl::Span<Packet* const> heads, const Packet::Likeness& likeness, uint32_t payload);
  void FinishOne(uint8_t* to, uint16_t sum) const;
  void WriteUrgent(absl::Span<Packet* const> heads, uint32_t offset, uint32_t payload) const;
  uint64_t CountedSum(const uint8_t* to) const;

  alignas(kCacheLine) std::array<uint8_t, kMost> bytes_;
  uint32_t length_ = 0;
  uint32_t l4_ = 0;  // the innermost L4 header's place
  size_t ipv4s_ = 0;
  std::array<Ipv4, 2> ipv4_;
  bool tcp_ = false;
  uint8_t flags_ = 0;       // of the next segment ...
  uint8_t last_flags_ = 0;  // ... and what the last has beside
  bool urges_ = false;      // the big packet's urgent pointer counts
  uint16_t urgent_ = 0;     // of the big packet, as the next
  uint32_t sequence_ = 0;   // of the next segment
  uint32_t offset_ = 0;     // payload of the segments so far

  L4Checksum l4_checksum_ = L4Checksum::kFinish;
  bool reads_payload_ = false;
  uint32_t l4_field_ = 0;   // where the L4 checksum is
  uint16_t l4_pseudo_ = 0;  // the sum of the pseudo-header
  uint32_t l4_sum_ = 0;     // of pseudo-header and L4 header, without what counts up
  uint32_t cover_ = 0;      // where the header is whose checksum covers the inner packet; 0 = there is none
  uint32_t cover_field_ = 0;
  uint32_t cover_sum_ = 0;  // of what it covers, without payload that nothing inside has summed
  uint32_t payload_ = 0;
  Layers layers_;
  size_t headroom_ = 0;
  size_t spread_ = 0;  // which bits of a packet's address move its headers on
};

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_SEGMENT_HEADERS_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
// The loop over the heads of segments.
#include "packet/segment_headers_internal.h"

namespace sluice {
namespace {

// As FoldSum (checksum.h), of half as many bits.
uint16_t FoldHalf(uint32_t sum) { return static_cast<uint16_t>((sum + std::rotl(sum, 16)) >> 16); }

}  // namespace

// Only the first segment says CWR, and few packets are urgent: both are written over the others' once the loop is done.
void Segmenter::Headers::Write(absl::Span<Packet* const> heads, const Packet::Likeness& likeness,
                               uint32_t payload, bool last) {
  const auto first_flags = static_cast<uint8_t>(flags_ | (last ? last_flags_ : 0));
  flags_ = first_flags & static_cast<uint8_t>(~TcpHeader::kCwr);
  const uint32_t offset = offset_;
  switch (ipv4s_) {
    case 0:
      tcp_ ? WriteAll<0, true>(heads, likeness, payload) : WriteAll<0, false>(heads, likeness, payload);
      break;
    case 1:
      tcp_ ? WriteAll<1, true>(heads, likeness, payload) : WriteAll<1, false>(heads, likeness, payload);
      break;
    default:
      tcp_ ? WriteAll<2, true>(heads, likeness, payload) : WriteAll<2, false>(heads, likeness, payload);
  }
  if (first_flags != flags_) HeaderAt<TcpHeader>(heads[0]->data(), l4_)->flags = first_flags;
  if (urges_) WriteUrgent(heads, offset, payload);
}

void Segmenter::Headers::Expect(absl::Span<Packet* const> heads) const {
  for (Packet* const head : heads) {
    Fetch(head);
    const uint8_t* const to = head->buffer() + headroom_ + (reinterpret_cast<uintptr_t>(head) / 2 & spread_);
    __builtin_prefetch(to, 1);
    __builtin_prefetch(to + kCacheLine, 1);
  }
}

// All that it reads is its own, so that it stays in registers: what is written could be anything's bytes, those of this
// object too. Half of a packet's address: the sets repeat every 4 KiB, so that of two buffers of 2 KiB one comes between
// those of the other.
template <size_t ipv4s, bool tcp>
void Segmenter::Headers::WriteAll(absl::Span<Packet* const> heads, const Packet::Likeness& likeness,
                                  uint32_t payload) {
  const Copier copy(*this);
  std::array<Ipv4, 2> ip = ipv4_;
  const uint32_t l4 = l4_;
  const uint8_t flags = flags_;
  uint32_t sequence = sequence_;
  const size_t spread = spread_;
  for (Packet* const head : heads) {
    head->Restart(likeness, reinterpret_cast<uintptr_t>(head) / 2 & spread);
    uint8_t* const to = head->data();
    copy.To(to);
    for (size_t i = 0; i < ipv4s; ++i) {
      auto* const header = HeaderAt<Ipv4Header>(to, ip[i].at);
      header->id = ip[i].id;
      header->checksum = static_cast<uint16_t>(~FoldHalf(ip[i].sum + ip[i].id));
      ip[i].id = static_cast<uint16_t>(ip[i].id + ip[i].step);
    }
    if constexpr (tcp) {
      auto* const header = HeaderAt<TcpHeader>(to, l4);
      header->sequence = sequence;
      header->flags = flags;
      sequence += payload;
    }
  }
  ipv4_ = ip;
  sequence_ = sequence;
  offset_ += static_cast<uint32_t>(heads.size()) * payload;
}

// The pointer counts from the segment's own sequence (RFC 9293, 3.1). Once passed it says nothing more.
void Segmenter::Headers::WriteUrgent(absl::Span<Packet* const> heads, uint32_t offset,
                                     uint32_t payload) const {
  for (Packet* const head : heads) {
    auto* const header = HeaderAt<TcpHeader>(head->data(), l4_);
    const bool ahead = offset == 0 || urgent_ > offset;
    header->urgent = ahead ? static_cast<uint16_t>(urgent_ - offset) : uint16_t{0};
    if (!ahead) header->flags &= static_cast<uint8_t>(~TcpHeader::kUrg);
    offset += payload;
  }
}

}  // namespace sluice

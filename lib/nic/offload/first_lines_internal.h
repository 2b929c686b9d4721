// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_OFFLOAD_FIRST_LINES_INTERNAL_H_
#define SLUICE_NIC_OFFLOAD_FIRST_LINES_INTERNAL_H_

// What a hop has to know of a burst, gathered in one pass over the first lines of its packets: without a
// branch, so that the fetches of many packets overlap. For nearly every burst the answer is that nothing has
// to be done.

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <bit>
#include <cstddef>
#include <cstdint>

#include "sluice/packet/burst.h"
#include "sluice/packet/packet.h"

namespace sluice {

inline uint64_t BytesOf(Packet* const* packets, size_t n) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < n; ++i) bytes += packets[i]->length();
  return bytes;
}
inline uint64_t BytesOf(const Burst& burst) { return BytesOf(burst.begin(), burst.size()); }

class FirstLines {
 public:
  static constexpr uint32_t kShortest = 14;  // an Ethernet header

  explicit FirstLines(uint32_t max_frame)
      : margins_{kSign - 1 - max_frame, 0 - kShortest, kSign - (1u << 16), 0} {}

  // Nothing here waits for what was added before but for one cycle: sums and ORs, where a maximum takes two. The margins
  // are summed up with the words, for one addition less, and taken off at the end.
  void Add(const Packet& packet) {
    const Words raised = std::bit_cast<Words>(packet.first_words()) + margins_;
    sums_ += raised;
    odd_ |= raised;
    ++count_;
  }

  uint32_t bytes() const { return sum(kLength); }  // a burst of frames within 65,535 is far from 2^32
  // Whether any is longer than max_frame, or has less than kShortest in its first piece.
  bool any_outside() const { return ((odd_[kLength] | odd_[kHead]) & kSign) != 0; }
  bool any_request() const { return (odd_[kRequest] & kSign) != 0; }
  bool any_fragments() const { return sum(kHead) != sum(kLength); }
  // The first two in one.
  bool any_odd() const {
#if defined(__SSE2__)
    return (_mm_movemask_ps(std::bit_cast<__m128>(odd_)) & 0b111) != 0;
#else
    return any_outside() || any_request();
#endif
  }

 private:
  // Of Packet::first_words().
  using Words = uint32_t __attribute__((vector_size(16)));
  enum Word { kLength, kHead, kRequest };
  uint32_t sum(Word word) const { return sums_[word] - count_ * margins_[word]; }

  static constexpr uint32_t kSign = uint32_t{1} << 31;

  const Words
      margins_;  // what makes a word that is odd reach the sign, or one that is too small wrap round to it
  Words sums_{};
  Words odd_{};
  uint32_t count_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_OFFLOAD_FIRST_LINES_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_POSTED_INTERNAL_H_
#define SLUICE_NIC_VERBS_POSTED_INTERNAL_H_

// The packets that a card has of one queue, oldest first. Requests are numbered as they are posted (wr_id) and complete
// in that order, so the number of one tells which are done. A number that is not under way is a leftover of before a
// reset.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "sluice/packet/packet.h"

namespace sluice {

class PostedPackets {
 public:
  explicit PostedPackets(uint32_t ring) : slots_(ring) {}  // a power of two

  uint64_t first() const { return first_; }
  uint64_t next() const { return next_; }
  uint32_t count() const { return static_cast<uint32_t>(next_ - first_); }
  uint32_t room() const { return static_cast<uint32_t>(slots_.size()) - count(); }
  bool Holds(uint64_t number) const { return number - first_ < count(); }

  // There is room().
  void Push(Packet* packet) { slots_[next_++ & mask()] = packet; }
  void Push(Packet* const* packets, uint32_t count) {
    for (; count > 0;) {
      const size_t at = next_ & mask();
      const auto run = static_cast<uint32_t>(std::min<size_t>(count, slots_.size() - at));
      std::copy_n(packets, run, &slots_[at]);
      packets += run;
      next_ += run;
      count -= run;
    }
  }
  // The oldest, up to `most` that lie side by side; at least one, if there is any.
  absl::Span<Packet* const> Oldest(size_t most) const {
    const size_t at = first_ & mask();
    return {slots_.data() + at, std::min({most, size_t{count()}, slots_.size() - at})};
  }
  // There is one, or as many.
  Packet* Pop() { return slots_[first_++ & mask()]; }
  void Drop(size_t count) { first_ += count; }
  // Numbers begin at 0 again; there is none.
  void Renumber() { first_ = next_ = 0; }
  // Takes back the newest, which were not posted after all.
  void Unpush(uint32_t count) { next_ -= count; }

  // Calls give(packets, n) for the oldest `count`, in runs that lie side by side, and forgets them.
  template <typename Give>
  void PopRuns(uint32_t count, Give give) {
    while (count > 0) {
      const size_t at = first_ & mask();
      const auto run = static_cast<uint32_t>(std::min<size_t>(count, slots_.size() - at));
      give(&slots_[at], run);
      first_ += run;
      count -= run;
    }
  }

 private:
  uint64_t mask() const { return slots_.size() - 1; }

  std::vector<Packet*> slots_;
  uint64_t first_ = 0;
  uint64_t next_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_POSTED_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_PLACES_INTERNAL_H_
#define SLUICE_NIC_VERBS_PLACES_INTERNAL_H_

// Which of the card's priorities is for what. Verbs cannot change a rule: a new one is put above or below it, and then
// the old one is taken away, so that each frame meets exactly one of the two. For that, everything has two places.
//
//   0  1    2  3    4  5   ...   n-6 n-5 n-4    n-3 n-2 n-1
//   rule 0  rule 1  rule 2       what comes in before any rule says so: by ports, by addresses, the rest
//   up low  up low  up low       up             low
//
// A card with fewer than eight has one place for each rule, and the last for what comes in before.

#include <algorithm>
#include <cstdint>

namespace sluice {

class VerbsPlaces {
 public:
  explicit VerbsPlaces(uint32_t priorities) : priorities_(priorities) {}  // at least 1

  bool doubled() const { return priorities_ >= kLeast; }
  // The largest priority that a rule may ask for.
  uint32_t most() const { return doubled() ? (priorities_ - kLeast) / 2 : std::max(priorities_, 2u) - 2; }

  uint32_t OfRule(uint32_t priority, bool upper) const {
    return doubled() ? 2 * priority + (upper ? 0 : 1) : priority;
  }
  // Depth 0 by ports, 1 by addresses, 2 the rest; where places are doubled.
  uint32_t OfTake(uint32_t depth, bool upper) const {
    return priorities_ - (upper ? 2 * kDepths : kDepths) + depth;
  }
  uint32_t last() const { return priorities_ - 1; }

 private:
  static constexpr uint32_t kDepths = 3;
  static constexpr uint32_t kLeast = 2 * kDepths + 2;

  const uint32_t priorities_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_PLACES_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_COALESCE_TABLE_INTERNAL_H_
#define SLUICE_LIB_PACKET_COALESCE_TABLE_INTERNAL_H_

// Where the units are, by the hash of their flow and by age.
//
//   slots   │ hash, unit │  -  │ hash, unit │ hash, unit │  -  │ ...    linear probing, at most half full
//   units   │ unit 0 │ unit 1 │ ...                                    as many as flows, and a spare one
//   ages    oldest ⇄ ... ⇄ newest                                      in the order of their start
//
// A flow is known by the 32 bits of its hash alone. Two flows that share them share a unit in turns, and never a packet:
// what is joined is compared byte for byte. That costs them some joining, once in thousands of full tables.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "packet/coalesce_unit_internal.h"
#include "sluice/base/clock.h"

namespace sluice {

class CoalesceTable {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};

  explicit CoalesceTable(uint32_t flows)
      : flows_(flows),
        mask_(std::bit_ceil(2 * flows) - 1),
        shift_(32 - static_cast<uint32_t>(std::bit_width(mask_))),
        slots_(mask_ + size_t{1}),
        units_(flows + size_t{1}),
        ages_(units_.size() + 1),
        spare_(flows) {
    for (uint32_t i = 0; i < flows; ++i) free_.push_back(i);
    ages_[end()] = {.older = end(), .newer = end(), .since = 0};
  }

  // The unit of a flow; kNone when it has none.
  uint32_t Find(uint32_t hash) const {
    for (uint32_t at = Home(hash);; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.unit == kNone || slot.hash == hash) return slot.unit;
    }
  }
  void Prefetch(uint32_t hash) const { __builtin_prefetch(&slots_[Home(hash)]); }

  // The same, but some unit of no flow for none: to look ahead.
  uint32_t FindAny(uint32_t hash) const {
    const uint32_t unit = Find(hash);
    return unit != kNone ? unit : spare_;
  }

  CoalesceUnit& operator[](uint32_t unit) { return units_[unit]; }
  uint32_t IndexOf(const CoalesceUnit& unit) const { return static_cast<uint32_t>(&unit - units_.data()); }

  size_t size() const { return flows_ - free_.size(); }
  bool full() const { return free_.empty(); }
  uint32_t oldest() const { return ages_[end()].newer; }  // there is one
  // Gets what it takes to finish a unit, and returns the next newer one; end() does nothing, and returns itself.
  uint32_t PrefetchFinish(uint32_t unit) const {
    if (unit == end()) return unit;
    units_[unit].PrefetchFinish();
    return ages_[unit].newer;
  }
  Nanoseconds SinceOf(uint32_t unit) const { return ages_[unit].since; }

  // A unit of no flow; there always is one.
  CoalesceUnit& spare() { return units_[spare_]; }
  // Makes spare() that of a flow that has none, and the newest; not full().
  void InsertSpare(uint32_t hash, Nanoseconds now);
  void Remove(uint32_t unit);

 private:
  struct Slot {
    uint32_t hash = 0;
    uint32_t unit = kNone;
  };
  struct Age {
    uint32_t older;
    uint32_t newer;
    Nanoseconds since;
  };

  // Its highest bits, which depend on all that was hashed.
  uint32_t Home(uint32_t hash) const { return hash >> shift_; }
  uint32_t end() const { return flows_ + 1; }  // of ages_: newer than the newest
  void CloseGap(uint32_t gap);

  const uint32_t flows_;
  const uint32_t mask_;
  const uint32_t shift_;
  std::vector<Slot> slots_;
  std::vector<CoalesceUnit> units_;
  std::vector<Age> ages_;
  std::vector<uint32_t> free_;
  uint32_t spare_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_COALESCE_TABLE_INTERNAL_H_

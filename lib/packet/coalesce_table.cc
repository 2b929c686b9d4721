// SPDX-License-Identifier: Apache-2.0
#include "packet/coalesce_table_internal.h"

namespace sluice {

void CoalesceTable::InsertSpare(uint32_t hash, Nanoseconds now) {
  const uint32_t unit = spare_;
  spare_ = free_.back();
  free_.pop_back();
  units_[unit].set_hash(hash);

  uint32_t at = Home(hash);
  while (slots_[at].unit != kNone) at = (at + 1) & mask_;
  slots_[at] = {.hash = hash, .unit = unit};

  Age& newest = ages_[end()];
  ages_[unit] = {.older = newest.older, .newer = end(), .since = now};
  ages_[newest.older].newer = unit;
  newest.older = unit;
}

void CoalesceTable::Remove(uint32_t unit) {
  uint32_t at = Home(units_[unit].hash());
  while (slots_[at].unit != unit) at = (at + 1) & mask_;
  CloseGap(at);

  const Age& age = ages_[unit];
  ages_[age.older].newer = age.newer;
  ages_[age.newer].older = age.older;
  free_.push_back(unit);
}

// Moves back what stands behind the gap and would not be found across it: what begins its search at the gap or before.
void CoalesceTable::CloseGap(uint32_t gap) {
  for (uint32_t at = gap;;) {
    at = (at + 1) & mask_;
    if (slots_[at].unit == kNone) break;
    const uint32_t searched = (at - Home(slots_[at].hash)) & mask_;
    if (searched < ((at - gap) & mask_)) continue;
    slots_[gap] = slots_[at];
    gap = at;
  }
  slots_[gap].unit = kNone;
}

}  // namespace sluice

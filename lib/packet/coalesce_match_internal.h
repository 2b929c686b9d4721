// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_PACKET_COALESCE_MATCH_INTERNAL_H_
#define SLUICE_LIB_PACKET_COALESCE_MATCH_INTERNAL_H_

// The inner loop of coalescing: packets whose headers are those that a unit foresees, byte for byte, and so join it.

#include <cstddef>
#include <cstdint>

#include "packet/coalesce_shape_internal.h"
#include "packet/coalesce_unit_internal.h"
#include "packet/simd_internal.h"

namespace sluice {

// Whether `a` and `b` differ in one of the first `n` bytes that have a bit in `mask`; `n`, at least 32, has the last of them.
// Nothing after those is read.
bool HeadersDiffer(const CoalesceShape::Mask& mask, const uint8_t* a, const uint8_t* b, size_t n);

struct CoalesceRun {
  Packet* const* packets;
  CoalesceUnit* const* units;  // that may be those of their flows
  size_t size;
  const CoalesceShapes& shapes;  // of the units
};

// Joins packets from run.packets[from] on to their units, up to one that is not foreseen there, or behind one that makes its
// unit full; returns where it stopped.
extern Dispatch<size_t(const CoalesceRun& run, size_t from)> JoinForeseen;

}  // namespace sluice

#endif  // SLUICE_LIB_PACKET_COALESCE_MATCH_INTERNAL_H_

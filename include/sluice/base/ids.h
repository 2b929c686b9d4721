// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_IDS_H_
#define SLUICE_BASE_IDS_H_

// Numbers that name things, each its own type, so that a queue is never taken for a port. An id carries no
// ownership and says nothing of whether the thing still exists; who hands ids out says when one may be used
// again.

#include <compare>
#include <cstdint>
#include <utility>

namespace sluice {

template <typename Tag, typename Rep>
class StrongId {
 public:
  using rep = Rep;

  constexpr StrongId() = default;  // zero
  constexpr explicit StrongId(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const StrongId&) const = default;

  template <typename Hash>
  friend Hash AbslHashValue(Hash hash, StrongId id) {
    return Hash::combine(std::move(hash), id.value_);
  }

 private:
  Rep value_ = 0;
};

using PortId = StrongId<struct PortTag, uint16_t>;      // a port of a switch or engine
using QueueId = StrongId<struct QueueTag, uint16_t>;    // a receive or transmit queue of one Nic
using OwnerId = StrongId<struct OwnerTag, uint32_t>;    // who is charged for memory; 0 = nobody
using WorkerId = StrongId<struct WorkerTag, uint16_t>;  // a worker of an engine
using NodeId = StrongId<struct NodeTag, int16_t>;       // a NUMA node; -1 = unknown
using CpuId = StrongId<struct CpuTag, uint16_t>;        // a logical processor, as the kernel numbers it
using RuleId = StrongId<struct RuleTag, uint64_t>;      // a steering rule installed on one Nic

inline constexpr OwnerId kNobody{0};
inline constexpr NodeId kUnknownNode{-1};

}  // namespace sluice

#endif  // SLUICE_BASE_IDS_H_

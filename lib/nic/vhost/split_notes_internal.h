// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_SPLIT_NOTES_INTERNAL_H_
#define SLUICE_NIC_VHOST_SPLIT_NOTES_INTERNAL_H_

// What a split ring has in flight, noted where it outlives this process (vhost-user, "Inflight I/O tracking").
//
//   Take        entry of each head: counter, then inflight = 1
//   Show        each head given back is linked before the last one      last_batch_head ─▶ next ─▶ next ...
//               ── the driver sees the used index ──
//   Shown       inflight = 0 of each, then used_index
//
// Whoever dies between the two leaves a used index that is ahead of the noted one by as many heads as lie at the front of that
// list. Each store is behind the one before it, for a process that is killed stops after any of them.
//
// The memory is the front-end's, too. It is read in TakeOver alone, each word once, and checked there.
// Threads: the ring's.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/inflight_internal.h"

namespace sluice {

class SplitNotes {
 public:
  // For a ring of `size` descriptors, in a region for at least as many.
  SplitNotes(uint8_t* region, uint32_t size);

  // Goes on from what the one before has noted, if it has noted anything; the indices are those in the ring. False when the
  // region cannot be of this ring.
  bool TakeOver(uint16_t used, uint16_t available);
  // Heads that were in flight then, in the order in which they were taken: they are taken again before any other.
  size_t again() const { return again_.size() - again_taken_; }
  uint16_t again(size_t i) const { return again_[again_taken_ + i]; }

  // All taken again, or none.
  void Take(const RingChain* chains, size_t n);
  void GiveBack(const RingChain* chains, size_t n);
  // Before and after the driver sees `used`, and so all that was given back.
  void Show();
  void Shown(uint16_t used);

 private:
  void Begin(uint16_t used);
  bool Settle(uint16_t batch);
  void FindInFlight();

  VhostInflightSplit* const header_;
  VhostInflightSplitEntry* const entries_;
  const uint32_t size_;
  uint64_t counter_ = 0;
  uint16_t last_batch_head_ = 0;
  std::vector<uint16_t> given_;  // since Shown; at most the ring's size
  std::vector<uint16_t> again_;
  size_t again_taken_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_SPLIT_NOTES_INTERNAL_H_

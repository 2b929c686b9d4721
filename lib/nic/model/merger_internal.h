// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_MERGER_INTERNAL_H_
#define SLUICE_NIC_MODEL_MERGER_INTERNAL_H_

// Receive coalescing (LRO) of one queue: what its poller takes from the wire, or from its ring, goes through here before
// it comes into the burst.
//
//   wire, or ring ──▶ arrivals() ──Join──▶ ready ──Release──▶ burst
//                                 │   ▲
//                                 ▼   │
//                               Coalescer
//
// What is here never waits for what may not come: once the source has run dry, all of it is ready; before that, what is
// CoalesceOptions::max_age old. So packets get longer the further a poller falls behind, and one that keeps up waits for
// nothing.
//
// A packet that was joined asks to be segmented at the size of its segments, so that a port that cannot carry it whole sends
// the frames that came.
//
// Threads: the poller's; Create and Clear with nobody polling.

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/base/clock.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/coalesce.h"

namespace sluice {

class Merger {
 public:
  // Refuses as Coalescer::Create.
  static absl::StatusOr<std::unique_ptr<Merger>> Create(const CoalesceOptions& options, const Clock& clock);

  // Where arrivals are put, inspected and parsed.
  Burst& arrivals() { return arrivals_; }
  // Joins them, as far as there is room for what comes of it. `dry`: nothing more is behind them.
  void Join(bool dry);
  bool ready() const { return !ready_.empty(); }
  // Moves what is ready to `burst`, as far as there is room; returns how many packets.
  size_t Release(Burst& burst);

  // Whether anything is here.
  bool holds() const;
  // Frees it; returns how many frames it came as.
  size_t Clear();

 private:
  Merger(std::unique_ptr<Coalescer> coalescer, const Clock& clock)
      : coalescer_(std::move(coalescer)), clock_(clock) {}

  const std::unique_ptr<Coalescer> coalescer_;
  const Clock& clock_;
  Burst arrivals_;
  Burst ready_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_MERGER_INTERNAL_H_

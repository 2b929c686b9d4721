// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_FAULT_STREAM_INTERNAL_H_
#define SLUICE_NIC_MODEL_FAULT_STREAM_INTERNAL_H_

// What befalls one sequence of frames: a lane, or the arrivals of a wire.
//
//   Inject ──▶ fate ──▶ queue of frames, each with its time ──▶ Release, from the front
//                └────▶ aside, until enough others have passed ──▲
//
// Threads: one at a time; the counts, any.

#include <atomic>
#include <deque>
#include <random>

#include "sluice/base/counters.h"
#include "sluice/nic/faulty_wire.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class FaultStream {
 public:
  FaultStream(const FaultPlan& plan, uint64_t seed) { SetPlan(plan, seed); }

  void SetPlan(const FaultPlan& plan, uint64_t seed);
  // Whether frames may go by unseen: nothing can befall them, and nothing is before them. Whoever lets them counts them.
  bool clear() const { return !plan_faults_ && held() == 0; }
  void CountPassed(size_t frames) {
    injected_.Add(frames);
    delivered_.Add(frames);
  }

  // Takes over a frame. Copies are made in `pool`.
  void Inject(PacketPtr packet, Nanoseconds now, PacketPool* pool);
  // Takes over a frame that ends here.
  void Lose(PacketPtr packet, DropReason reason);
  // Moves frames whose time has come to `out`, as many as there is room for.
  void Release(Nanoseconds now, Burst& out);
  // Of those, how many were taken; and the rest, which goes back in front.
  void Delivered(size_t frames) { delivered_.Add(frames); }
  void TakeBack(Burst& rest);
  // Frees all that is held.
  void Clear();

  // Whether a frame waits though its time has come: after Release and TakeBack, because nobody takes it.
  bool blocked(Nanoseconds now) const { return !queue_.empty() && queue_.front().due <= now; }
  size_t held() const { return held_.load(std::memory_order_relaxed); }
  FaultCounts counts() const;
  DropCounts drops() const { return drops_.Read(); }

 private:
  struct Held {
    PacketPtr packet;
    Nanoseconds due = 0;  // in the queue: not before this
    uint64_t after = 0;   // aside: when this many have been queued
  };

  bool Meets(const std::vector<uint64_t>& script, double chance);
  void Queue(PacketPtr packet, Nanoseconds due);
  void QueueOvertaken();
  void CountHeld() { held_.store(queue_.size() + aside_.size(), std::memory_order_relaxed); }

  FaultPlan plan_;  // scripts sorted
  bool plan_faults_ = false;
  std::mt19937_64 random_;
  std::deque<Held> queue_;
  std::deque<Held> aside_;
  uint64_t queued_ = 0;

  Counter injected_, delivered_, lost_, duplicated_, reordered_, delayed_;
  std::atomic<size_t> held_{0};
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_FAULT_STREAM_INTERNAL_H_

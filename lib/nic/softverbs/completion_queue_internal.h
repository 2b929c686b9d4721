// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_COMPLETION_QUEUE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_COMPLETION_QUEUE_INTERNAL_H_

// What became of work requests, in order, until the program looks.
//
//        begin_                seen_           end_
//   ──────┼── to be polled ──────┼── late ───────┼──────▶     late: a fault, and usually none
//
// Some of the oldest may be looked at where they are, without the lock (Look): until they are dropped they stay.
//
// Requests are begun only when there is room for their completions, so that none is lost. A queue that may be overrun
// lacks that care, as cards do: the first completion too many ruins it, and it then swallows all that comes.
// Threads: under the lock of the device.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "nic/softverbs/work_ring_internal.h"
#include "sluice/base/clock.h"

namespace sluice {

enum class SoftStatus : uint8_t { kOk, kTooLong, kNoAccess, kFlushed };
enum class SoftOpcode : uint8_t { kSend, kSegment, kReceive };

struct SoftCompletion {
  uint64_t id = 0;
  SoftWorkRing* ring = nullptr;  // of the request; null when that is gone
  uint64_t place = 0;            // of the request in it
  Nanoseconds at = 0;
  Nanoseconds due = 0;  // when it can be seen
  uint32_t queue = 0;   // number of the queue pair
  uint32_t bytes = 0;
  uint32_t mark = 0;  // by the rule that steered the frame here
  uint16_t vlan_tci = 0;
  SoftStatus status = SoftStatus::kOk;
  SoftOpcode opcode = SoftOpcode::kSend;
  bool checksums_good = false;
};

class SoftCompletionQueue {
 public:
  enum class Alarm : uint8_t { kOff, kErrors, kAny };  // raw frames solicit nothing

  // Who is told that a completion came while the alarm was set, and that the queue was overrun.
  class Listener {
   public:
    virtual void Ring() = 0;
    virtual void Overrun() = 0;

   protected:
    ~Listener() = default;
  };

  SoftCompletionQueue(uint32_t size, const Clock& clock)
      : size_(size), clock_(clock), slots_(std::bit_ceil(size)) {}

  uint32_t size() const { return size_; }
  uint64_t count() const { return end_ - begin_; }
  // How many more can be promised.
  uint64_t room() const { return overrun_ ? size_ : size_ - count() - promised_; }
  // Whether one more can; of a queue that may be overrun always, at its cost.
  bool MakeRoom() {
    if (room() == 0 && may_overrun_) Overrun();
    return room() > 0;
  }
  // Completions will follow; there is room.
  void Promise(uint64_t count = 1) { promised_ += count; }
  void BreakPromise(uint64_t count = 1) { promised_ -= count; }

  // The next of what was promised, to be filled in where it is, and then pushed.
  SoftCompletion& Fresh() { return overrun_ ? swallowed_ : At(end_); }
  void Push() {
    --promised_;
    if (alarm_ != Alarm::kOff || late_by_ != 0 || has_late() || overrun_) [[unlikely]]
      return PushSlowly();
    seen_ = ++end_;
  }
  void Push(const SoftCompletion& completion) {
    Fresh() = completion;
    Push();
  }
  bool empty() const { return begin_ == seen_; }
  // The oldest, good until the next call, and the slot of its request given back with those before it; not when empty.
  const SoftCompletion& Pop() {
    const SoftCompletion& oldest = At(begin_++);
    if (oldest.ring != nullptr) oldest.ring->Retire(oldest.place);
    return oldest;
  }

  // Has all that can be seen looked at, by one at a time; returns how many. Dropped as they are popped: `count` of them,
  // and nobody looks at the others any more.
  size_t Look() { return looked_at_ = seen_ - begin_; }
  const SoftCompletion& LookedAt(size_t i) const { return slots_[(begin_ + i) & (slots_.size() - 1)]; }
  void Drop(size_t count) {
    for (; count > 0; --count) Pop();
    looked_at_ = 0;
    Sweep();
  }
  bool looked_at() const { return looked_at_ > 0; }

  // Whether that many would hold what is there, and it can be moved.
  bool CanResize(uint32_t size) const { return size >= count() + promised_ && !looked_at(); }
  void Resize(uint32_t size);
  // Drops the completions of requests of `ring`, which is about to go; while some are looked at, when that is over.
  void Forget(const SoftWorkRing& ring);

  // How late completions are, and whether too many are lost.
  void SetFaults(Nanoseconds late_by, bool may_overrun);
  bool has_late() const { return seen_ != end_; }
  void ShowDue();
  void Overrun();
  bool overrun() const { return overrun_; }

  void Listen(Listener* listener) { listener_ = listener; }
  void SetAlarm(Alarm alarm) { alarm_ = alarm; }
  bool alarmed() const { return alarm_ != Alarm::kOff; }

 private:
  void PushSlowly();
  void Sweep();
  void ShowNext();
  SoftCompletion& At(uint64_t place) { return slots_[place & (slots_.size() - 1)]; }

  uint32_t size_;
  const Clock& clock_;
  std::vector<SoftCompletion> slots_;
  uint64_t begin_ = 0;
  uint64_t seen_ = 0;
  uint64_t end_ = 0;
  uint64_t promised_ = 0;
  uint64_t looked_at_ = 0;
  SoftCompletion swallowed_;  // of a queue that was overrun
  Listener* listener_ = nullptr;
  Alarm alarm_ = Alarm::kOff;
  Nanoseconds late_by_ = 0;
  bool may_overrun_ = false;
  bool overrun_ = false;
  bool has_gone_ = false;  // requests, whose completions are still there
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_COMPLETION_QUEUE_INTERNAL_H_

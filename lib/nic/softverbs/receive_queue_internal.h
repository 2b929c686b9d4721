// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_RECEIVE_QUEUE_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_RECEIVE_QUEUE_INTERNAL_H_

// Where arrivals are copied to: the receive requests of a queue pair, or of a work queue.
//
// A frame may go to several queues, and then goes to all of them at once: each is asked for a place first (Claim), and
// then gets its copy (Take) or the place back (Release).
// Threads: under the lock of the device.

#include <algorithm>
#include <cstdint>
#include <optional>

#include "nic/softverbs/completion_queue_internal.h"
#include "nic/softverbs/memory_internal.h"
#include "nic/softverbs/work_ring_internal.h"
#include "sluice/base/clock.h"
#include "sluice/packet/packet.h"

namespace sluice {

// A frame that goes to receive queues, and what is known of it.
struct SoftArrival {
  const Packet& packet;
  Nanoseconds at = 0;
  bool checksums_good = false;
};

struct SoftReceiveOptions {
  uint32_t number = 0;  // of the queue, as told with completions
  uint32_t domain = 0;
  uint32_t requests = 0;
  uint32_t pieces = 0;
  Nanoseconds patience = 0;
  bool strip_vlan = false;   // the outermost tag goes to the completion
  bool scatter_fcs = false;  // the frame check sequence is put behind the frame
};

class SoftReceiveQueue {
 public:
  enum class Place : uint8_t { kClaimed, kNotYet, kNone };

  SoftReceiveQueue(const SoftReceiveOptions& options, const SoftMemory& memory,
                   SoftCompletionQueue& completions)
      : options_(options),
        memory_(memory),
        completions_(completions),
        ring_(options.requests, options.pieces, 0) {}
  ~SoftReceiveQueue() { completions_.Forget(ring_); }
  SoftReceiveQueue(const SoftReceiveQueue&) = delete;
  SoftReceiveQueue& operator=(const SoftReceiveQueue&) = delete;

  SoftWorkRing& ring() { return ring_; }
  uint32_t number() const { return options_.number; }

  // Whether it receives; a queue that is closed has no place for anything.
  void set_open(bool open) { open_ = open; }

  void set_strip_vlan(bool strip) { strip_vlan_ = strip; }

  // kNotYet: worth waiting for; not for longer than the patience, and not again before there was a place.
  Place Claim(const Clock& clock) {
    if (!open_ || ring_.waiting() == claimed_ || !completions_.MakeRoom()) [[unlikely]]
      return Await(clock);
    Grant(1);
    return Place::kClaimed;
  }
  // As many as have a place now, up to `most`. When there is none, Claim tells why.
  uint64_t ClaimSome(uint64_t most) {
    const uint64_t places = std::min({most, ring_.waiting() - claimed_, completions_.room()});
    if (!open_ || places == 0) return 0;
    Grant(places);
    return places;
  }
  void Release(uint64_t places = 1) {
    claimed_ -= places;
    completions_.BreakPromise(places);
  }
  void Take(const SoftArrival& arrival, uint32_t mark);

  // Completes what waits as flushed, as far as there is room for completions; true when nothing waits.
  bool Flush();
  // Forgets requests and completions.
  void Reset();

 private:
  void Grant(uint64_t places) {
    claimed_ += places;
    completions_.Promise(places);
    full_since_.reset();
    given_up_ = false;
  }
  Place Await(const Clock& clock);
  void FetchAhead() const;
  bool CopyPlain(const SoftWork& work, const Packet& packet) const;
  bool TakeTag(const Packet& packet, SoftCompletion& completion) const;
  SoftStatus Scatter(const SoftArrival& arrival, SoftCompletion& completion);

  const SoftReceiveOptions options_;
  const SoftMemory& memory_;
  SoftCompletionQueue& completions_;
  SoftWorkRing ring_;
  uint64_t claimed_ = 0;
  std::optional<Nanoseconds> full_since_;
  bool strip_vlan_ = options_.strip_vlan;
  bool open_ = false;
  bool given_up_ = false;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_RECEIVE_QUEUE_INTERNAL_H_

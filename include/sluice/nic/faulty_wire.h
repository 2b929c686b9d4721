// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_FAULTY_WIRE_H_
#define SLUICE_NIC_FAULTY_WIRE_H_

// A wire with something wrong with it, for tests and rehearsals: wraps any other wire and loses, repeats,
// delays or re-orders its frames, by script or by chance, and takes its link down at given times.
//
//   auto [a, b] = MakeWirePair();
//   auto bad = MakeFaultyWire(std::move(a), {.transmit = {.lose = {3}}, .clock = &clock});
//
// Accounts, of each direction and at any moment: injected + duplicated = delivered + lost + held. Frames lost
//   by a fault are in drops() as kFault, those of a link that is down as kLinkDown, those held at Close as
//   kStopped.
// Order: only `reorder` changes it. A delayed frame holds up what comes behind, as a slow completion does on
//   a ring.
// Held frames move on when this end is next polled (Transmit or Reclaim of their lane, Receive) after their
//   time; on transmit no more are taken while a ring's number is held. While arrivals are held Arm answers
//   false, for nothing would wake its caller.
// Chance: the same seed and the same frames meet the same faults, lane by lane.
// Cost: not meant for speed; some 50 ns a frame. A direction whose plan has no fault in it costs one call a burst.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "sluice/base/clock.h"
#include "sluice/base/export.h"
#include "sluice/nic/wire.h"

namespace sluice {

// What befalls the frames of one direction. A frame suffers the first that applies, from the top.
struct FaultPlan {
  // By number, from 1, in the order of the lane, or of arrival. For as long as the wire lives.
  std::vector<uint64_t> lose{};
  std::vector<uint64_t> duplicate{};
  std::vector<uint64_t> reorder{};
  std::vector<uint64_t> delay{};

  // By chance, 0 to 1.
  double lose_chance = 0;
  double duplicate_chance = 0;  // of a copy, in a buffer of WireOptions::pool, right behind
  double reorder_chance = 0;
  double delay_chance = 0;

  uint32_t reorder_by = 3;  // frames that overtake it; if fewer follow, it stays held
  absl::Duration delay_time = absl::Microseconds(50);  // on the Clock
};

struct LinkOutage {
  Nanoseconds from = 0;  // on the Clock
  Nanoseconds to = 0;    // up again; exclusive
};

struct FaultyWireOptions {
  FaultPlan transmit{};
  FaultPlan receive{};
  std::vector<LinkOutage> outages{};
  uint64_t seed = 1;
  const Clock* clock = nullptr;  // outlives the wire. Null = Clock::Monotonic()
};

struct FaultCounts {
  uint64_t injected = 0;    // frames that came in
  uint64_t delivered = 0;   // that went on, copies included
  uint64_t lost = 0;        // by fault or outage, or held at Close
  uint64_t duplicated = 0;  // copies made
  uint64_t reordered = 0;   // of those injected, as is the next
  uint64_t delayed = 0;
  uint64_t held = 0;  // in here now
};

class SLUICE_EXPORT FaultyWire : public Wire {
 public:
  // Summed over lanes, since the wire was made. Control thread; exact while nobody polls.
  virtual FaultCounts transmit_counts() const = 0;
  virtual FaultCounts receive_counts() const = 0;

  // Other plans from now on, and chance begun anew with `seed`. Frames go on being numbered; what is held stays so. Control
  // thread, with nobody polling this end.
  virtual void SetPlans(const FaultPlan& transmit, const FaultPlan& receive, uint64_t seed) = 0;
};

SLUICE_EXPORT std::unique_ptr<FaultyWire> MakeFaultyWire(std::unique_ptr<Wire> inner,
                                                         const FaultyWireOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_FAULTY_WIRE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_CONFORMANCE_H_
#define SLUICE_TESTS_NIC_CONFORMANCE_H_

// What every Nic promises (nic.h, queue.h), as tests that any backend is put through:
//
//   TEST_CASE("the model NIC over a pair wire keeps the promises of a Nic", "[conformance]") {
//     CheckConformance({.open = [] { return PairOfModelNics(); }});
//   }
//
// Each promise is a SECTION of its own, opened from scratch: a failure names it, and `-c "its name"` runs it
// alone. What a backend cannot promise is said in Subject, with the reason beside it, and is then not asked.
//
// Frames carry a number, a magic word and a pattern; what else arrives (a kernel's own chatter) is set aside.

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "sluice/nic/nic.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::testing {

// Two Nics back to back, opened and not started. They go first, then what is around them.
struct Rig {
  std::shared_ptr<void> around;        // what the Nics need to live: namespaces, interfaces, files
  std::unique_ptr<Nic> a;              // the one that is tested
  std::unique_ptr<Nic> b;              // its peer; null where there is none, as behind a capture file
  std::function<void(bool)> set_link;  // takes a's link down (false) and up; empty: stopping b takes it down
};

// Rounds of Start and Stop where the kernel waits out its readers in each, some 50 ms: the full number where tests are
// fast, and few in debug builds, whose sanitizers find a leak in the first round.
#ifdef NDEBUG
inline constexpr int kSlowRestarts = 1000;
#else
inline constexpr int kSlowRestarts = 50;
#endif

struct Subject {
  std::function<Rig()> open;  // throws when it cannot

  // Of each of the two pools. Huge pages are left to the tests of the pool.
  PacketPoolOptions pool = {.packets = 4096, .huge_pages = HugePages::kOff};
  uint32_t ring = 256;     // of every queue
  uint16_t rx_queues = 1;  // of each Nic, unless the promise is about queues; the frames all go to the first

  uint32_t max_frame = 0;     // the longest that crosses; 0 = as capabilities() say
  bool back_pressure = true;  // a peer that does not receive shows as packets not taken; false: they are lost
  bool counts_oversize = true;  // frames beyond max_frame are dropped here as kTooLong
  bool link_follows = true;     // there is a way to take the link down, and link() and Send tell of it
  bool link_events = true;      // TakeEvents tells of the link
  bool sleeps = true;           // as capabilities().sleeps, which must agree
  bool receives_from_b = true;  // what b sends arrives at a, in the order in which it was sent
  int restarts = 1000;          // rounds of Start and Stop: fewer where the kernel is slow at it
  absl::Duration patience = absl::Seconds(5);  // for a frame to cross: only a test that fails waits so long
};

// All of the below.
void CheckConformance(const Subject& subject);

// In parts, for backends that are not quite a pair of Nics.
void CheckLifecycle(const Subject& subject);  // options, Start, Stop, what is left behind; needs no peer
void CheckTraffic(const Subject& subject);    // bursts, order, ownership, sizes, statistics
void CheckRequests(const Subject& subject);   // what packets ask for is done, by whomever
void CheckLink(const Subject& subject);       // down, up, events
void CheckWaking(const Subject& subject);     // Arm and fd
void CheckSteering(const Subject& subject);   // rules and RSS, or their refusal, as capabilities() say

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_CONFORMANCE_H_

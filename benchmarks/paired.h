// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_PAIRED_H_
#define SLUICE_BENCHMARKS_PAIRED_H_

// Paired benchmarks: the same work done by us and by a peer, in turns within the same seconds, on the same
// processor. The machine's speed drifts by half from one minute to the next; the ratio of two neighbours does
// not.
//
//   round 1:  ours, peer     round 2:  peer, ours     round 3:  ours, peer  ...     row: median of the ratios
//
//   const Registration get_put({.work = "packet/pool/get_put",
//                               .peer = "rte_mempool",
//                               .goal = 0.5,
//                               .open = [] { return MakePair(GetPut(), dpdk::MempoolGetPut()); }});
//
// A case lives in benchmarks/<layer>/NAME_bench.cc and registers itself. Other sources there are programs of
// their own: ends of a connection that one benchmark process cannot hold both of (see ends.h).
//
// Ratio: the peer's cost by ours, so that 2 means we are twice as fast.

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace sluice::bench {

// One sample: works for a while and returns what one item cost, in the case's unit.
using Sampler = std::function<absl::StatusOr<double>()>;

struct Pair {
  Sampler ours;
  // kUnavailable says which package would bring the peer; the row then shows ours alone. Not used by a case
  // that names no peer.
  absl::StatusOr<Sampler> peer = Sampler();
};

// What `open` of most cases returns. A side of ours that could not be made is the case's failure.
absl::StatusOr<Pair> MakePair(absl::StatusOr<Sampler> ours, absl::StatusOr<Sampler> peer);

struct Case {
  std::string work;                // "layer/thing/variant"
  std::string unit = "ns/packet";  // of the cost: less is better
  std::string peer{};              // empty: measured against the goal alone
  std::string peer_mode{};         // "cache 256"
  double goal = 1;                 // with a peer: the least ratio; without: the highest cost; 0 = none
  bool once = false;               // a figure that does not vary, as bytes of memory: one sample is enough
  // Makes both sides; called when the case is about to run. kUnavailable says what our own side lacks on this machine.
  std::function<absl::StatusOr<Pair>()> open{};
};

class Registration {
 public:
  explicit Registration(Case one);
};

// Every registered case, by name.
std::vector<Case> RegisteredCases();

// Samplers of work that one thread does. `work(n)` does `n` items, always a multiple of 64; a sample takes
// about 20 ms of the thread's processor time, not counting what other processes took.
Sampler NanosecondsPer(std::function<void(size_t n)> work);
// In processor cycles: time divided by that of a chain of dependent additions, measured before and after, for
// the clock of the time-stamp counter is not the one that the core runs at.
Sampler CyclesPer(std::function<void(size_t n)> work);

// Keeps the compiler from joining what stands before with what stands after: `what` is used by somebody else
// between.
inline void MustBeInMemory(void* what) { asm volatile("" : : "r"(what) : "memory"); }

// What the rounds of one case gave.
struct Spread {
  double median = 0;
  double low = 0;   // first quartile
  double high = 0;  // third quartile
};
Spread SpreadOf(std::vector<double> values);

struct Row {
  Case what;
  absl::Status status{};       // not OK: it could not be measured
  std::string peer_missing{};  // why there is no peer, when there should be one
  size_t rounds = 0;
  double ours = 0;  // medians
  double peer = 0;  // 0 without a peer
  Spread ratio{};   // without a peer: of our cost
  double load = 0;  // processors that other processes, and the machine's other tenants, used meanwhile

  bool failed() const { return !status.ok() && !absl::IsUnavailable(status); }
  bool paired() const { return !what.peer.empty() && peer_missing.empty(); }
  // With fewer rounds than this there is no verdict.
  static constexpr size_t kMinRounds = 10;
  bool judged() const {
    return status.ok() && (what.peer.empty() || paired()) && (what.once || rounds >= kMinRounds);
  }
  bool met() const { return what.peer.empty() ? ours <= what.goal : ratio.median >= what.goal; }
};

Row Measure(const Case& what, size_t rounds);

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_PAIRED_H_

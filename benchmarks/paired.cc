// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/paired.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "benchmarks/machine.h"

namespace sluice::bench {
namespace {

std::vector<Case>& Registry() {
  static auto& cases = *new std::vector<Case>;  // never destroyed: other static objects register themselves
  return cases;
}

double ThreadNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double Time(const std::function<void(size_t)>& work, size_t items) {
  const double start = ThreadNanoseconds();
  work(items);
  return ThreadNanoseconds() - start;
}

constexpr double kSampleNanoseconds = 20e6;

// How many items take about a sample's time.
size_t Calibrate(const std::function<void(size_t)>& work) {
  for (size_t items = 64;; items *= 4) {
    const double took = Time(work, items);
    if (took < kSampleNanoseconds / 8) continue;
    return static_cast<size_t>(static_cast<double>(items) * kSampleNanoseconds / took) / 64 * 64 + 64;
  }
}

// An addition of two registers that waits for the one before takes one cycle on any core of the last decades. (One of a
// constant does not: newer cores add those up while renaming.)
double NanosecondsPerCycle() {
  constexpr size_t kAdditions = 400'000;
  uint64_t sum = 0;
  uint64_t step = 1;
  const double start = ThreadNanoseconds();
  for (size_t i = 0; i < kAdditions; i += 8) {
    for (int unrolled = 0; unrolled < 8; ++unrolled) {
      sum += step;
      asm volatile("" : "+r"(sum), "+r"(step));
    }
  }
  return (ThreadNanoseconds() - start) / static_cast<double>(kAdditions);
}

// Both sides of one case, and what they gave so far.
class Rounds {
 public:
  Rounds(Sampler ours, Sampler peer) : ours_(std::move(ours)), peer_(std::move(peer)) {}

  // One more of each, in turns who is first: caches and clocks favour neither side.
  absl::Status Run() {
    const bool ours_first = costs_.size() % 2 == 0;
    double ours = 0;
    double peer = 0;
    for (const bool mine : {ours_first, !ours_first}) {
      const Sampler& sampler = mine ? ours_ : peer_;
      if (!sampler) continue;
      const absl::StatusOr<double> cost = sampler();
      if (!cost.ok()) return cost.status();
      (mine ? ours : peer) = *cost;
    }
    costs_.push_back(ours);
    peers_.push_back(peer);
    ratios_.push_back(peer_ ? peer / ours : ours);
    return absl::OkStatus();
  }

  void Forget() {
    costs_.clear();
    peers_.clear();
    ratios_.clear();
  }

  void Fill(Row& row) const {
    row.rounds = costs_.size();
    row.ours = SpreadOf(costs_).median;
    row.peer = SpreadOf(peers_).median;
    row.ratio = SpreadOf(ratios_);
  }

 private:
  const Sampler ours_;
  const Sampler peer_;  // empty without a peer
  std::vector<double> costs_;
  std::vector<double> peers_;
  std::vector<double> ratios_;
};

absl::Status RunRounds(Rounds& runs, size_t rounds, Row& row) {
  // 1. One round for the caches and the page tables, which nobody counts.
  if (rounds > 1) {
    if (absl::Status status = runs.Run(); !status.ok()) return status;
    runs.Forget();
  }

  // 2. Those that count.
  const OtherLoad load;
  for (size_t i = 0; i < rounds; ++i) {
    if (absl::Status status = runs.Run(); !status.ok()) return status;
  }
  row.load = load.Processors();
  runs.Fill(row);
  return absl::OkStatus();
}

}  // namespace

Registration::Registration(Case one) { Registry().push_back(std::move(one)); }

absl::StatusOr<Pair> MakePair(absl::StatusOr<Sampler> ours, absl::StatusOr<Sampler> peer) {
  if (!ours.ok()) return ours.status();
  return Pair{.ours = *std::move(ours), .peer = std::move(peer)};
}

std::vector<Case> RegisteredCases() {
  std::vector<Case> cases = Registry();
  std::stable_sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) { return a.work < b.work; });
  return cases;
}

Sampler NanosecondsPer(std::function<void(size_t)> work) {
  return [work = std::move(work), items = size_t{0}]() mutable -> absl::StatusOr<double> {
    if (items == 0) items = Calibrate(work);
    return Time(work, items) / static_cast<double>(items);
  };
}

Sampler CyclesPer(std::function<void(size_t)> work) {
  return [nanoseconds = NanosecondsPer(std::move(work))]() -> absl::StatusOr<double> {
    const double before = NanosecondsPerCycle();
    const absl::StatusOr<double> cost = nanoseconds();
    if (!cost.ok()) return cost.status();
    return *cost * 2 / (before + NanosecondsPerCycle());
  };
}

Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&values](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return std::lerp(values[below], values[above], place - static_cast<double>(below));
  };
  return {.median = at(0.5), .low = at(0.25), .high = at(0.75)};
}

Row Measure(const Case& what, size_t rounds) {
  Row row{.what = what};
  absl::StatusOr<Pair> pair = what.open();
  if (!pair.ok()) {
    row.status = pair.status();
    return row;
  }
  Sampler peer;
  if (!what.peer.empty()) {
    if (pair->peer.ok()) {
      peer = *pair->peer;
    } else if (absl::IsUnavailable(pair->peer.status())) {
      row.peer_missing = std::string(pair->peer.status().message());
    } else {
      row.status = pair->peer.status();
      return row;
    }
  }
  Rounds runs(std::move(pair->ours), std::move(peer));
  row.status = RunRounds(runs, what.once ? 1 : rounds, row);
  return row;
}

}  // namespace sluice::bench

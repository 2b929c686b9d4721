// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_ENDS_H_
#define SLUICE_BENCHMARKS_ENDS_H_

// Connections between two processes: one end measures, the other feeds it. Each end is a program of its own,
// ours or a peer's, that keeps to this:
//
//   - it prints the line "ready" when traffic may come;
//   - the end that measures starts its clock 100 ms after its first packet, stops it `--seconds` later, prints
//         packets 1234567 nanoseconds 500000123 cpu_nanoseconds 499000000 bad 0 busy_ticks 0
//     and exits with status 0. `packets` are those that it finished with, `bad` of those were not what was
//     sent, cpu_nanoseconds is the processor time of the whole process in that window, and busy_ticks, of ends that are
//     asked for it by --busy, the time-stamp counter's in turns that moved packets;
//   - the end that feeds goes on until SIGTERM.

#include <string>

#include "absl/status/statusor.h"
#include "benchmarks/paired.h"
#include "tests/support/netns.h"

namespace sluice::bench {

struct EndsResult {
  double packets = 0;
  double nanoseconds = 0;
  double cpu_nanoseconds = 0;
  double busy_ticks = 0;
};

struct Ends {
  // Shell commands. The one that comes up first is waited for; the other one connects to it.
  std::string measuring;
  std::string feeding;
  bool feeder_first = false;
  // A file that ends may leave behind and could not start with, such as their socket; removed before each run.
  std::string left_behind{};
  // A folder for such files, made before each run and removed with all that is in it behind it; empty: none.
  std::string folder{};
  // Network namespaces to run in; null = this process's.
  const testing::Namespace* measuring_in = nullptr;
  const testing::Namespace* feeding_in = nullptr;
};

// Runs both ends once, the measuring one on MeasuringCpu(), the feeding one on OtherCpu(). Fails when one
// does not come up or ends early, with what it printed, and when a packet was bad.
absl::StatusOr<EndsResult> RunEnds(const Ends& ends);

// Samplers over RunEnds: what a packet cost in time, in processor time of the measuring process, or in its busy ticks.
Sampler TimePerPacket(Ends ends);
Sampler ProcessorTimePerPacket(Ends ends);
Sampler BusyTicksPerPacket(Ends ends);

// What `command` prints behind the word that it begins with: "bytes 1234".
absl::StatusOr<double> PrintedFigure(const std::string& command, const std::string& word);

// The path of a program that was built with this one: "nic/port_peer".
std::string BenchProgram(const std::string& name);

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_ENDS_H_

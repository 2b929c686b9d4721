// SPDX-License-Identifier: Apache-2.0
// How long a guest's frames are not taken when its host is killed and started again (vhost_restart.cc).

#include "absl/strings/str_cat.h"
#include "benchmarks/ends.h"
#include "benchmarks/machine.h"
#include "benchmarks/paired.h"

namespace sluice::bench {
namespace {

absl::StatusOr<double> Milliseconds() {
  // Guest and host both poll, each on a processor of its own.
  const absl::StatusOr<double> nanoseconds =
      PrintedFigure(absl::StrCat("taskset --cpu-list ", MeasuringCpu(), ",", OtherCpu(), " ",
                                 BenchProgram("nic/vhost_restart")),
                    "nanoseconds");
  if (!nanoseconds.ok()) return nanoseconds.status();
  return *nanoseconds / 1e6;
}

const Registration restart({.work = "nic/vhost/restart_gap", .unit = "ms", .goal = 50, .open = [] {
                              return Pair{.ours = Milliseconds};
                            }});

}  // namespace
}  // namespace sluice::bench

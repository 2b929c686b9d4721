// SPDX-License-Identifier: Apache-2.0
// The memory of a whole host process that has started (started_host.cc).

#include "benchmarks/ends.h"
#include "benchmarks/paired.h"

namespace sluice::bench {
namespace {

absl::StatusOr<double> Mebibytes() {
  const absl::StatusOr<double> bytes = PrintedFigure(BenchProgram("host/started_host"), "bytes");
  if (!bytes.ok()) return bytes.status();
  return *bytes / (1 << 20);
}

const Registration started(
    {.work = "memory/started_host", .unit = "MiB", .goal = 64, .once = true, .open = [] {
       return Pair{.ours = Mebibytes};
     }});

}  // namespace
}  // namespace sluice::bench

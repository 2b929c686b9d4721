// SPDX-License-Identifier: Apache-2.0
// The memory of a whole host process that has started (started_host.cc).

#include <cstdio>

#include "benchmarks/ends.h"
#include "benchmarks/paired.h"

namespace sluice::bench {
namespace {

absl::StatusOr<double> Mebibytes() {
  const testing::CommandResult result = testing::RunCommand(BenchProgram("host/started_host"));
  double bytes = 0;
  if (!result.ok() || std::sscanf(result.output.c_str(), "bytes %lf", &bytes) != 1) {
    return absl::InternalError(result.output);
  }
  return bytes / (1 << 20);
}

const Registration started(
    {.work = "memory/started_host", .unit = "MiB", .goal = 64, .once = true, .open = [] {
       return Pair{.ours = Mebibytes};
     }});

}  // namespace
}  // namespace sluice::bench

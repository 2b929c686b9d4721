// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/testpmd.h"

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/machine.h"
#include "tests/support/process.h"

namespace sluice::bench::dpdk {
namespace {

// Starts forwarding, and reads the counters twice, half a second apart by the clock.
constexpr char kTyped[] =
    "(sleep 1; echo start tx_first; sleep 0.2; date '+nanoseconds %s%N' >&2; echo show fwd stats all; "
    "sleep 0.5; date '+nanoseconds %s%N' >&2; echo show fwd stats all; sleep 0.1; echo stop; echo quit)";

std::string Command() {
  const std::string core = absl::StrCat(MeasuringCpu());
  return absl::StrCat(
      kTyped, " | exec dpdk-testpmd --lcores 0@", OtherCpu(), ",1@", core,
      " --in-memory -m 128 --no-pci --vdev=net_ring0 -- -i --forward-mode=io --nb-cores=1 --burst=32"
      " --total-num-mbufs=4096");
}

// Every number that stands behind `word`.
std::vector<double> NumbersBehind(const std::string& word, const std::string& text) {
  std::vector<double> numbers;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    double number = 0;
    if (std::sscanf(text.c_str() + at + word.size(), "%lf", &number) == 1) numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<double> NanosecondsPerPacket() {
  const testing::CommandResult result = testing::RunCommand(Command(), nullptr, absl::Seconds(20));
  const std::vector<double> at = NumbersBehind("nanoseconds ", result.output);
  const std::vector<double> packets = NumbersBehind("RX-packets: ", result.output);
  // Each reading prints the port's number and the sum, which is the same.
  if (!result.ok() || at.size() < 2 || packets.size() < 3 || packets[2] <= packets[0]) {
    return absl::InternalError(absl::StrCat("dpdk-testpmd did not forward; it printed:\n", result.output));
  }
  return (at[1] - at[0]) / (packets[2] - packets[0]);
}

}  // namespace

absl::StatusOr<Sampler> TestpmdRingIo() {
  if (!testing::RunCommand("command -v dpdk-testpmd").ok()) {
    return absl::UnavailableError("dpdk-testpmd is not installed: install dpdk-dev");
  }
  return Sampler(NanosecondsPerPacket);
}

}  // namespace sluice::bench::dpdk

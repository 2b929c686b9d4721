// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_END_H_
#define SLUICE_BENCHMARKS_DPDK_END_H_

// What the ends that stand on DPDK ports have in common (port_end.cc, port_pair.cc): their options and their start. See
// ends.h for what an end prints.
//
//   --mode=MODE --vdev=net_memif0,role=server,... [--vdev=...] [--cpu=1] [--length=64] [--seconds=0.5] [--huge-dir=DIR]
//   [--busy] [--under-way=512] [--room=2048] [--tso]
//
//   --seconds=0  measures nothing, and goes on until it is ended
//   --busy       measures the work apart from the waiting
//   --under-way  packets that circulate
//   --room       bytes that a buffer holds
//   --tso        frames are TCP segments that are still to be cut: the front-end asks for all offloads that this takes

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmarks/machine.h"

struct rte_mempool;

namespace sluice::bench::dpdk {

struct EndOptions {
  std::string mode{};
  std::vector<std::string> vdevs{};
  std::string huge_dir{};
  int cpu = MeasuringCpu();
  uint32_t length = 64;
  double seconds = 0.5;
  bool busy = false;
  uint32_t under_way = 512;
  uint32_t room = 2048;
  bool tso = false;

  bool feeds() const { return seconds == 0; }
};

// Starts DPDK with those ports, one queue each way, their buffers from the pool that is returned.
absl::StatusOr<rte_mempool*> StartEnd(const EndOptions& options);

bool LinkUp(uint16_t port);

// The whole of a program's main: options, `run`, and what it fails with.
int EndMain(int argc, char** argv, absl::Status (*run)(const EndOptions&));

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_END_H_

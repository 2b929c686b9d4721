// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_EAL_H_
#define SLUICE_BENCHMARKS_DPDK_EAL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct rte_mempool;

namespace sluice::bench::dpdk {

// Starts DPDK on processor `cpu`, without PCI devices, with `more` arguments. Once per process.
absl::Status StartEal(int cpu, const std::vector<std::string>& more);

// The same for the process that holds our side too: on its processor, memory private, huge pages if there are
// free ones. Any number of times.
absl::Status StartEalBesideOurs();

// One queue each way of the port `id`, started. `uncut`: it sends and receives TCP segments that are still to be cut, as
// far as it can.
absl::Status StartPort(uint16_t id, rte_mempool* buffers, bool uncut = false);

// Buffers that hold `room` bytes behind their headroom.
absl::StatusOr<rte_mempool*> MakeBuffers(const std::string& name, unsigned count, uint32_t room = 2048);

// The last error of DPDK in words, after `what`.
absl::Status EalError(const std::string& what);

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_EAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_TESTPMD_H_
#define SLUICE_BENCHMARKS_DPDK_TESTPMD_H_

// DPDK's own forwarding program as a peer, in a process of its own.

#include "absl/status/statusor.h"
#include "benchmarks/paired.h"

namespace sluice::bench::dpdk {

// `io` over a net_ring port that is a ring to itself, 32 packets under way. kUnavailable with the package where it is
// not installed.
absl::StatusOr<Sampler> TestpmdRingIo();

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_TESTPMD_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_GRO_H_
#define SLUICE_BENCHMARKS_DPDK_GRO_H_

#include "absl/status/statusor.h"
#include "benchmarks/packet/coalesce_load.h"
#include "benchmarks/paired.h"

namespace sluice::bench::dpdk {

// rte_gro over the same packets, in a context that lives from burst to burst.
absl::StatusOr<Sampler> Gro(const CoalesceLoad& load);
// The same, each burst for itself; a round is one burst.
absl::StatusOr<Sampler> GroInBursts(const CoalesceLoad& load);

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_GRO_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_PARSE_H_
#define SLUICE_BENCHMARKS_DPDK_PARSE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/paired.h"

namespace sluice::bench::dpdk {

// rte_net_get_ptype of all layers, with their lengths, over a burst of mbufs that hold `frames`, which are at
// most kBurst. Where `inner` is not 0 it is called once more at that offset: it does not go into UDP tunnels.
absl::StatusOr<Sampler> PacketTypes(absl::Span<const std::vector<uint8_t>> frames, uint16_t inner);

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_PARSE_H_

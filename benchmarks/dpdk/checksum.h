// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_CHECKSUM_H_
#define SLUICE_BENCHMARKS_DPDK_CHECKSUM_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/paired.h"

namespace sluice::bench::dpdk {

// rte_raw_cksum of `bytes`, which stay where they are. Inline code, so that it is built for this processor.
absl::StatusOr<Sampler> RawChecksum(absl::Span<const uint8_t> bytes);

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_CHECKSUM_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_RSS_H_
#define SLUICE_BENCHMARKS_DPDK_RSS_H_

// DPDK's Toeplitz hashes with Microsoft's key. Inline code, so that it is built for this processor.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/paired.h"

namespace sluice::bench::dpdk {

// rte_softrss_be over tuples of `size` bytes that lie one after the other in network order. They are brought into the order
// that it wants beforehand, which is not counted.
absl::StatusOr<Sampler> SoftRss(absl::Span<const uint8_t> tuples, size_t size);

// rte_thash_gfni_bulk, which is for processors with GFNI and AVX-512, over the same tuples as they are.
absl::StatusOr<Sampler> GfniHash(absl::Span<const uint8_t> tuples, size_t size);

// rte_softrss_be of frames, whose tuples are read and brought into order each time: TCP in IPv4 without options or
// tags.
absl::StatusOr<Sampler> SoftRssOfFrames(std::vector<const uint8_t*> frames);

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_RSS_H_

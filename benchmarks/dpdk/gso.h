// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_GSO_H_
#define SLUICE_BENCHMARKS_DPDK_GSO_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/paired.h"

namespace sluice::bench::dpdk {

// A TCP frame that is to be cut: `headers`, which outlive the sampler, in front of `payload` bytes, in mbufs of 2 KiB.
struct GsoFrame {
  absl::Span<const uint8_t> headers;
  uint32_t payload = 0;
  uint16_t outer_l3 = 0;  // offsets; the same as the inner ones without a tunnel
  uint16_t inner_l3 = 0;
  uint16_t l4 = 0;
  uint16_t size = 0;  // payload of a segment
  bool vxlan = false;
  bool finish_checksums = false;  // of IPv4 and TCP, in software over each segment; else left undone
};

// The chain of mbufs made, rte_gso_segment, and all of it freed.
absl::StatusOr<Sampler> Gso(const GsoFrame& frame);

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_GSO_H_

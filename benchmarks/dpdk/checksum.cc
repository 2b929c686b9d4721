// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/checksum.h"

#include <rte_ip.h>

namespace sluice::bench::dpdk {

absl::StatusOr<Sampler> RawChecksum(absl::Span<const uint8_t> bytes) {
  return NanosecondsPer([bytes](size_t n) mutable {
    for (size_t i = 0; i < n; ++i) {
      MustBeInMemory(&bytes);
      uint16_t sum = rte_raw_cksum(bytes.data(), bytes.size());
      MustBeInMemory(&sum);
    }
  });
}

}  // namespace sluice::bench::dpdk

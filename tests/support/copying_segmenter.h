// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_COPYING_SEGMENTER_H_
#define SLUICE_TESTS_SUPPORT_COPYING_SEGMENTER_H_

// The twin of Segmenter: builds each segment from scratch, copies its payload, and sums every byte that a checksum covers.

#include <cstdint>
#include <vector>

#include "sluice/packet/packet.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// The frames that `big`, as parsed, is to be cut into: `size` bytes of payload each, checksums finished. With `udp_checksum`
// false a UDP checksum of zero stays zero.
std::vector<Bytes> CopyingSegment(const Bytes& big, const Layers& layers, uint16_t size,
                                  bool udp_checksum = true, FixedIds ids = {});

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_COPYING_SEGMENTER_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_WIRE_INVARIANTS_H_
#define SLUICE_TESTS_SUPPORT_WIRE_INVARIANTS_H_

#include <string>

#include "absl/types/span.h"

namespace sluice::testing {

// Looks at a frame with everything that reads headers (parse, flow key, hash, checksums), from a copy that ends where its memory
// ends, so that AddressSanitizer sees a read too far. Says which property does not hold; empty when all do:
//
//   offsets are ordered and within the head; without a tunnel the inner ones are zero
//   a longer head of the same frame gives the same layers, once the shorter one was enough
//   checksums that were filled verify
//   what is computed depends on nothing but the bytes
std::string BrokenWireInvariant(absl::Span<const uint8_t> head, uint32_t frame_length);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_WIRE_INVARIANTS_H_

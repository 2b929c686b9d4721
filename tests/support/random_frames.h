// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_RANDOM_FRAMES_H_
#define SLUICE_TESTS_SUPPORT_RANDOM_FRAMES_H_

// Frames for property tests: TCP or UDP over any header that can be in front of them.

#include "sluice/packet/packet.h"
#include "tests/support/frames.h"
#include "tests/support/seed.h"

namespace sluice::testing {

struct RandomFrameOptions {
  size_t most_payload = 9000;
  bool tunnels = true;
};

// With random addresses, options, extension headers, tags, flags and payload, plain or in a tunnel; checksums right, or
// zero where UDP allows it. Never SYN or RST.
Bytes RandomFrame(Random& random, const RandomFrameOptions& options = {});

// A packet of `pool` that holds `frame`: the first `head` bytes in its own buffer, the rest cut at random, some of it
// borrowed from `lender`. `frame` outlives it. Null when the pool is dry.
PacketPtr RandomlyCut(Random& random, PacketPool& pool, Bytes& frame, size_t head, Lender& lender);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_RANDOM_FRAMES_H_

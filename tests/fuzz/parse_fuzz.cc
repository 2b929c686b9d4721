// SPDX-License-Identifier: Apache-2.0
// Four bytes that say how much longer the frame is than the head at hand, then the head.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "sluice/packet/headers.h"
#include "tests/support/wire_invariants.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint32_t kMostMissing = 1 << 20;
  constexpr size_t kMostHead = 32768;  // offsets are 16 bits; more is never a head
  if (size < sizeof(sluice::Be32) || size > kMostHead) return 0;
  const uint32_t missing = sluice::HeaderAt<sluice::Be32>(data, 0)->get() % kMostMissing;
  const absl::Span<const uint8_t> head(data + sizeof(sluice::Be32), size - sizeof(sluice::Be32));
  const std::string broken =
      sluice::testing::BrokenWireInvariant(head, static_cast<uint32_t>(head.size()) + missing);
  if (broken.empty()) return 0;
  std::fprintf(stderr, "%s\n", broken.c_str());
  std::abort();
}

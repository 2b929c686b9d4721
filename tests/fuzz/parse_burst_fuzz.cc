// SPDX-License-Identifier: Apache-2.0
// A byte that says how many packets follow the first, two for each of them that say which byte of the frame differs, by
// index and value, and then the frame: neighbours that are nearly alike are what ParseBurst is clever about.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/packet/burst_twin.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMostFrame = 2048;
  static sluice::testing::BurstTwin twin;
  if (size == 0) return 0;
  const size_t others = data[0] % sluice::Burst::kCapacity;
  if (size < 1 + 2 * others || size > 1 + 2 * others + kMostFrame) return 0;
  const sluice::testing::Bytes frame(data + 1 + 2 * others, data + size);
  std::vector<sluice::testing::Bytes> frames{frame};
  for (size_t i = 0; i < others; ++i) {
    frames.push_back(frame);
    if (!frame.empty()) frames.back()[data[1 + 2 * i] % frame.size()] = data[2 + 2 * i];
  }
  const std::string differences = twin.Differences(frames);
  if (differences.empty()) return 0;
  std::fprintf(stderr, "%s\n", differences.c_str());
  std::abort();
}

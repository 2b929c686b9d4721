// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_FRAME_TRAIN_H_
#define SLUICE_TESTS_SUPPORT_FRAME_TRAIN_H_

// Segments of one flow, as a segmenter makes them: what coalescing makes one packet of.

#include <cstddef>
#include <functional>
#include <vector>

#include "tests/support/frames.h"

namespace sluice::testing {

using FrameMaker = std::function<Bytes(const FrameSpec&)>;

// The `i`th segment of `spec`'s flow with `size` bytes of payload, each of which is different.
inline FrameSpec SegmentOf(FrameSpec spec, size_t i, size_t size) {
  spec.ip_id = static_cast<uint16_t>(spec.ip_id + i);
  spec.sequence = static_cast<uint32_t>(spec.sequence + i * size);
  spec.bytes.resize(size);
  for (size_t k = 0; k < size; ++k) spec.bytes[k] = static_cast<uint8_t>(i * 31 + k * k + 1);
  return spec;
}

inline std::vector<Bytes> FrameTrain(const FrameMaker& make, const FrameSpec& spec, size_t n,
                                     size_t size = 100) {
  std::vector<Bytes> frames;
  for (size_t i = 0; i < n; ++i) frames.push_back(make(SegmentOf(spec, i, size)));
  return frames;
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_FRAME_TRAIN_H_

// SPDX-License-Identifier: Apache-2.0
// Two bytes of segment size, one of choices, then a frame. What can be cut must come out as the twin has it, with no byte
// of the frame written and no packet lost.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "sluice/packet/parse.h"
#include "sluice/packet/segment.h"
#include "tests/support/copying_segmenter.h"

namespace {

using namespace sluice;
using testing::Bytes;

constexpr uint32_t kPackets = 2048;

void Require(bool holds) {
  if (!holds) std::abort();
}

PacketPool& Pool() {
  static const std::unique_ptr<PacketPool> pool =
      PacketPool::Create({.packets = kPackets, .huge_pages = HugePages::kOff}).value();
  return *pool;
}

struct Choices {
  uint16_t size = 0;
  bool ask = false;  // for an L4 checksum
  bool finish = false;
  FixedIds ids;
  size_t piece = 0;
};

std::vector<Bytes> Cut(Segmenter& segmenter) {
  std::vector<Bytes> segments;
  while (!segmenter.done()) {
    Burst burst;
    segmenter.Next(burst);
    for (const Packet* segment : burst) segments.push_back(testing::BytesOf(*segment));
  }
  return segments;
}

// The twin knows neither a jumbo option nor padding.
bool TwinKnows(const Bytes& frame, const Layers& layers) {
  if (frame.size() <= 60) return false;
  for (const LayerOffsets& at : {layers.outer, layers.inner}) {
    if (at.l3_type != L3Type::kIpv6) continue;
    if (HeaderAt<Ipv6Header>(frame.data(), at.l3)->payload_length.get() == 0) return false;
  }
  return true;
}

void Try(const Bytes& frame, const Choices& choices) {
  PacketPtr big = testing::MakePacket(Pool(), frame, choices.piece);
  if (big == nullptr || Parse(*big) != ParseVerdict::kOk) return;
  const Layers layers = big->layers();
  big->offload = {.l4_checksum = choices.ask, .segment = true, .fixed_ids = choices.ids, .mss = choices.size};
  Segmenter segmenter({.pool = &Pool(), .finish_checksums = choices.finish});
  if (segmenter.Begin(big).has_value()) return Require(big != nullptr && testing::BytesOf(*big) == frame);
  const std::vector<Bytes> segments = Cut(segmenter);
  if (segmenter.lost() > 0 || !choices.finish || !TwinKnows(frame, layers)) return;
  Require(segments == testing::CopyingSegment(frame, layers, choices.size, choices.ask, choices.ids));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kChoices = 3;
  constexpr size_t kMost = 20000;
  if (size <= kChoices || size > kMost) return 0;
  const Choices choices = {.size = HeaderAt<Be16>(data, 0)->get(),
                           .ask = (data[2] & 1) != 0,
                           .finish = (data[2] & 2) != 0,
                           .ids = {.outer = (data[2] & 8) != 0, .inner = (data[2] & 16) != 0},
                           .piece = (data[2] & 4) != 0 ? size_t{400} : size_t{0}};
  Try(Bytes(data + kChoices, data + size), choices);
  Require(Pool().available() == kPackets);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "packet/coalesce_match_internal.h"
#include "sluice/packet/parse.h"
#include "tests/packet/simd_levels.h"
#include "tests/packet/small_pool.h"
#include "tests/support/frames.h"

namespace sluice {
namespace {

using namespace sluice::testing;

using Maker = Bytes (*)(const FrameSpec&);

FrameSpec Next(FrameSpec spec) {
  spec.ip_id = static_cast<uint16_t>(spec.ip_id + 1);
  spec.sequence += static_cast<uint32_t>(spec.bytes.size());
  return spec;
}

// One flow, whose first segment waits for a second.
class Waiting {
 public:
  explicit Waiting(const Bytes& first) : first_(first) {}

  // Whether `second`, with byte `flipped` of it changed, is taken for the next.
  bool Joins(SimdLevel level, const Bytes& second, size_t flipped) {
    CoalesceUnit unit;
    PacketPtr first = Good(first_);
    const CoalesceShapes::Numbered* const shape = shapes_.Find(*first, *SegmentLayer(first->layers()));
    REQUIRE(unit.Start(*first, *shape, {}));
    sum_at_ = shape->shape.summed ? shape->shape.sum_at : second.size();
    first.release();

    PacketPtr packet = Good(second);
    if (flipped < second.size()) packet->data()[flipped] ^= 0x10;
    Packet* const packets[] = {packet.get()};
    CoalesceUnit* const units[] = {&unit};
    const bool joins =
        JoinForeseen.At(level)({.packets = packets, .units = units, .size = 1, .shapes = shapes_}, 0) == 1;
    if (joins) packet.release();
    PacketPtr(unit.Finish());
    return joins;
  }
  bool IsSum(size_t at) const { return at == sum_at_ || at == sum_at_ + 1; }

 private:
  PacketPtr Good(const Bytes& frame) {
    PacketPtr packet = MakePacket(*pool_, frame);
    Parse(*packet);
    packet->l4_checksum = ChecksumVerdict::kGood;
    return packet;
  }

  const std::unique_ptr<PacketPool> pool_ = SmallPool();
  const Bytes first_;
  CoalesceShapes shapes_;
  size_t sum_at_ = 0;
};

// Of the headers every byte is looked at, but those of the L4 checksum, which stands for the payload.
void CheckEachByte(const Bytes& first, const Bytes& second, size_t payload) {
  Waiting waiting(first);
  for (const SimdLevel level : SimdLevelsHere()) {
    CHECK(waiting.Joins(level, second, second.size()));
    for (size_t i = 0; i < second.size() - payload; ++i) {
      if (waiting.Joins(level, second, i) == waiting.IsSum(i)) continue;
      FAIL("byte " << i << " at level " << static_cast<int>(level));
    }
  }
}

const FrameSpec kV4 = {.ip_id = 300,
                       .sequence = 0xfffffff0,
                       .tcp_options = {1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9},
                       .bytes = Bytes(33)};
const FrameSpec kV6 = {.source = "fd00::1", .destination = "fd00::2", .bytes = Bytes(1)};

TEST_CASE("a change of any byte of the headers is seen, at every level") {
  FrameSpec absent = kV4;
  absent.zero_udp_checksum = true;
  for (const FrameSpec& spec : {kV4, kV6, absent}) {
    for (const Maker make : {Maker{TcpFrame}, Maker{UdpFrame}}) {
      CheckEachByte(make(spec), make(Next(spec)), spec.bytes.size());
    }
  }
}

TEST_CASE("the same in a tunnel") {
  const auto tunnel = [](const FrameSpec& outer, const FrameSpec& inner) {
    return VxlanFrame(outer, TcpFrame(inner), 42);
  };
  for (FrameSpec outer : {kV4, kV6}) {
    outer.zero_udp_checksum = true;
    for (const FrameSpec& inner : {kV4, kV6}) {
      CheckEachByte(tunnel(outer, inner), tunnel(Next(outer), Next(inner)), inner.bytes.size());
    }
  }
}

}  // namespace
}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// Segmenting at egress: by the card, by software in its place, or by the next hop.
#include <catch2/catch.hpp>

#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "tests/nic/model_pair.h"
#include "tests/support/copying_segmenter.h"

namespace sluice::testing {
namespace {

constexpr PairOptions kCable = {.name = "cable", .carries_offloads = false, .carries_fragments = false};
constexpr uint16_t kMss = 400;

PacketPtr Asking(ModelPair& pair, const Bytes& frame, uint16_t mss = kMss) {
  PacketPtr packet = pair.Packet(frame);
  REQUIRE(packet != nullptr);
  packet->offload = {.l4_checksum = true, .segment = true, .mss = mss};
  return packet;
}

std::vector<Bytes> Expected(const Bytes& frame, uint16_t mss = kMss) {
  Layers layers;
  REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
  return CopyingSegment(frame, layers, mss);
}

// All that arrives at b. An L4 checksum that crossed unfinished is finished here.
std::vector<Bytes> Arrivals(ModelPair& pair) {
  std::vector<Bytes> frames;
  Burst burst;
  while (!burst.empty() || pair.b().rx(QueueId{0}).Receive(burst) > 0) {
    PacketPtr packet = burst.PopFront();
    if (packet->offload.l4_checksum) {
      REQUIRE(Parse(*packet) == ParseVerdict::kOk);
      FillL4Checksum(*packet, LayerSet::kInnermost);
    }
    frames.push_back(BytesOf(*packet));
  }
  return frames;
}

std::vector<Bytes> BigFrames() {
  const FrameSpec v4 = {.payload_size = 3000};
  const FrameSpec v6 = {.source = "2001:db8::1", .destination = "2001:db8::2", .payload_size = 3000};
  FrameSpec tagged = v4;
  tagged.vlans = {7};
  return {TcpFrame(v4),
          TcpFrame(v6),
          UdpFrame(v4),
          UdpFrame(v6),
          TcpFrame(tagged),
          VxlanFrame({.zero_udp_checksum = true}, TcpFrame(v4)),
          GeneveFrame({.source = "2001:db8::3", .destination = "2001:db8::4"}, TcpFrame(v6), {1, 2, 3, 0}),
          GreFrame({}, TcpFrame(v4), Ethertype::kBridging)};
}

TEST_CASE("segments on a wire are the same bytes, whoever cut them and whatever the wire carries") {
  const bool carries_offloads = GENERATE(true, false);
  const bool carries_fragments = GENERATE(true, false);
  const bool segmentation = GENERATE(true, false);
  const bool checksums = GENERATE(true, false);
  if (carries_offloads && segmentation && checksums) return;  // crosses uncut: see model_offload_test.cc
  ModelPair pair({.a = {.hardware = {.send_checksums = checksums, .segmentation = segmentation}},
                  .wire = {.carries_offloads = carries_offloads, .carries_fragments = carries_fragments}});
  for (const Bytes& frame : BigFrames()) {
    pair.Send(Asking(pair, frame));
    CHECK((Arrivals(pair) == Expected(frame)));
  }
  CHECK(pair.SendDrops().total() == 0);
  CHECK(pair.a().tx(QueueId{0}).stats().packets == BigFrames().size());
}

TEST_CASE("a tag beside a packet goes into each of its segments") {
  ModelPair pair({.wire = kCable});
  PacketPtr packet = Asking(pair, TcpFrame({.payload_size = 1000}));
  packet->offload.insert_vlan = true;
  packet->vlan_tci = 7;
  pair.Send(std::move(packet));
  CHECK((Arrivals(pair) == Expected(TcpFrame({.vlans = {7}, .payload_size = 1000}))));
}

TEST_CASE("what is cut keeps its place between other packets") {
  ModelPair pair({.wire = kCable});
  const Bytes before = UdpFrame({.payload = "before"}), after = UdpFrame({.payload = "after"});
  const Bytes big = TcpFrame({.payload_size = 1000});
  Burst burst;
  burst.Push(pair.Packet(before));
  burst.Push(Asking(pair, big));
  burst.Push(pair.Packet(after));
  CHECK(pair.a().tx(QueueId{0}).Send(burst) == 3);
  std::vector<Bytes> expected = Expected(big);
  expected.insert(expected.begin(), before);
  expected.push_back(after);
  CHECK((Arrivals(pair) == expected));
}

TEST_CASE("segments that the wire has no room for wait, and nothing overtakes them") {
  PairOptions narrow = kCable;
  ModelPair pair({.wire = narrow, .a_queues = {.tx_ring = 4}});
  const Bytes big = TcpFrame({.payload_size = 4000}), after = UdpFrame({});
  Burst burst;
  burst.Push(Asking(pair, big));
  burst.Push(pair.Packet(after));
  TxQueue& tx = pair.a().tx(QueueId{0});
  CHECK(tx.Send(burst) == 1);
  CHECK(tx.Send(burst) == 0);
  std::vector<Bytes> arrived;
  for (int round = 0; round < 10; ++round) {
    for (Bytes& frame : Arrivals(pair)) arrived.push_back(std::move(frame));
    tx.Reclaim();
  }
  CHECK(tx.Send(burst) == 1);
  CHECK((arrived == Expected(big)));
  CHECK((Arrivals(pair) == std::vector<Bytes>{after}));
  CHECK(tx.stats().packets == 2);
}

TEST_CASE("a queue that is stopped half way through a packet counts it as stopped") {
  ModelPair pair({.wire = kCable, .a_queues = {.tx_ring = 4}});
  pair.Send(Asking(pair, TcpFrame({.payload_size = 4000})));
  CHECK(pair.a().Stop() == absl::OkStatus());
  CHECK(pair.a().drops()[DropReason::kStopped] > 0);
}

TEST_CASE("what cannot be cut, or would be too long when it is, is dropped under its reason") {
  ModelPair pair({.a = {.hardware = {.max_frame = 1514}}, .wire = kCable});
  pair.Send(Asking(pair, IcmpFrame({.payload_size = 3000})));
  CHECK(pair.SendDrops()[DropReason::kUnsupportedOffload] == 1);
  pair.Send(Asking(pair, TcpFrame({.payload_size = 3000}), 1461));
  CHECK(pair.SendDrops()[DropReason::kTooLong] == 1);
  pair.Send(Asking(pair, TcpFrame({.payload_size = 3000}), 1460));
  CHECK(Arrivals(pair).size() == 3);
}

TEST_CASE("a packet that runs out of buffers while it is cut is counted once") {
  ModelPair pair({.wire = kCable, .pool = {.packets = 8, .huge_pages = HugePages::kOff}});
  pair.Send(Asking(pair, TcpFrame({.payload_size = 1800}), 100));
  CHECK(pair.SendDrops()[DropReason::kNoBuffer] > 0);
  CHECK(pair.a().tx(QueueId{0}).stats().packets < 18);
  Arrivals(pair);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// Two model NICs that hold the ends of a pair wire themselves look at each packet once for both: what either tells of it
// must be what it would have found by itself.
#include <catch2/catch.hpp>
#include <utility>
#include <vector>

#include "nic/model/pair_way_internal.h"
#include "nic/offload/first_lines_internal.h"
#include "tests/nic/model_pair.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr PortId kHere{3}, kThere{7};

class ShortWay {
 public:
  explicit ShortWay(ModelPairOptions options = {}) : pair_(With(std::move(options))) {}

  // Frames of these lengths, numbered on in rss_hash.
  Burst Frames(const std::vector<uint32_t>& lengths) {
    Burst burst;
    REQUIRE(pair_.pool().Get(burst, lengths.size()) == lengths.size());
    for (size_t i = 0; i < lengths.size(); ++i) {
      burst[i].SetLength(lengths[i]);
      burst[i].rss_hash = made_++;
    }
    return burst;
  }
  size_t Send(Burst& burst) { return pair_.a().tx(QueueId{0}).Send(burst); }
  size_t Receive(Burst& burst) { return pair_.b().rx(QueueId{0}).Receive(burst); }

  QueueStats sent() { return pair_.a().tx(QueueId{0}).stats(); }
  QueueStats received() { return pair_.b().rx(QueueId{0}).stats(); }
  ModelPair& pair() { return pair_; }

 private:
  static ModelPairOptions With(ModelPairOptions options) {
    options.a_queues.port = kHere;
    options.b_queues.port = kThere;
    return options;
  }

  ModelPair pair_;
  uint32_t made_ = 0;
};

TEST_CASE("arrivals over the short way carry the receiver's port and nothing that the sender knew") {
  ShortWay way;
  Burst burst = way.Frames(std::vector<uint32_t>(7, 60));
  for (Packet* packet : burst) {
    packet->Arrive(kHere, QueueId{5});
    packet->l4_checksum = ChecksumVerdict::kBad;
    packet->set_mark(9);
  }
  CHECK(way.Send(burst) == 7);

  REQUIRE(way.Receive(burst) == 7);
  for (const Packet* packet : burst) {
    CHECK(packet->ingress_port == kThere);
    CHECK(packet->ingress_queue == QueueId{0});
    CHECK(packet->l4_checksum == ChecksumVerdict::kUnknown);
    CHECK(packet->mark() == 0);
  }
}

TEST_CASE("a packet for which the short way has no room stays as it was") {
  ShortWay way({.a_queues = {.tx_ring = 32}});
  Burst burst = way.Frames(std::vector<uint32_t>(40, 60));
  for (Packet* packet : burst) packet->Arrive(kHere, QueueId{5});

  CHECK(way.Send(burst) == 32);
  REQUIRE(burst.size() == 8);
  for (const Packet* packet : burst) {
    CHECK(packet->ingress_port == kHere);
    CHECK(packet->ingress_queue == QueueId{5});
  }
  CHECK(way.sent().packets == 32);
  CHECK(way.sent().bytes == 32 * 60);
}

TEST_CASE("a push that is longer than the burst has room for comes in parts, all counted") {
  ShortWay way;
  Burst burst = way.Frames(std::vector<uint32_t>(40, 100));
  CHECK(way.Send(burst) == 40);

  Burst first = way.Frames(std::vector<uint32_t>(Burst::kCapacity - 30, 60));
  CHECK(way.Receive(first) == 30);
  Burst second;
  CHECK(way.Receive(second) == 10);
  for (const Packet* packet : second) CHECK(packet->ingress_port == kThere);
  CHECK(second[9].rss_hash == 39);
  CHECK(way.received().packets == 40);
  CHECK(way.received().bytes == 4000);
}

TEST_CASE("a receiver whose frames are shorter than the sender's drops what is too long for it") {
  ShortWay way({.b = {.hardware = {.max_frame = 1514}}});
  Burst burst = way.Frames({60, 1514, 1515, 60});
  CHECK(way.Send(burst) == 4);

  Burst received;
  while (way.Receive(received) > 0) continue;  // what is known first, then what is not
  CHECK(received.size() == 3);
  CHECK(way.received().drops[DropReason::kTooLong] == 1);
  CHECK(way.received().bytes == 60 + 1514 + 60);
}

TEST_CASE("a rule that is installed holds for what went the short way before") {
  ShortWay way;
  Burst burst = way.Frames(std::vector<uint32_t>(8, 60));
  for (Packet* packet : burst) std::fill_n(packet->data(), 60, uint8_t{1});
  CHECK(way.Send(burst) == 8);
  const EthernetMatch theirs{.destination = MacAddress({1, 1, 1, 1, 1, 1})};
  const Rule rule{.match = {.outer = {.ethernet = theirs}}, .actions = {.drop = true}};
  REQUIRE(way.pair().b().InstallRule(rule).ok());

  CHECK(way.Receive(burst) == 0);
  CHECK(way.received().drops[DropReason::kRule] == 8);
}

// Lengths from too short to too long, some with requests that cross unfinished, and receivers with little room.
TEST_CASE("whatever goes which way, both ends count it, and it arrives in order (I1, I2)") {
  Random random(PrintedSeed());
  ShortWay way({.a = {.hardware = {.max_frame = 1000}}, .a_queues = {.tx_ring = 64}});
  uint32_t expected = 0;
  uint64_t bytes = 0, odd = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint32_t> lengths(1 + Below(random, 40));
    for (uint32_t& length : lengths) {
      length = Below(random, 60) == 0 ? 1001 : static_cast<uint32_t>(14 + Below(random, 987));
    }
    Burst burst = way.Frames(lengths);
    for (Packet* packet : burst) packet->offload.l4_checksum = Below(random, 50) == 0;
    while (!burst.empty()) {
      way.Send(burst);
      Burst received;
      if (Below(random, 3) == 0) received = way.Frames(std::vector<uint32_t>(Below(random, 60), 60));
      const size_t held = received.size();
      way.Receive(received);
      for (size_t i = held; i < received.size(); ++i) {
        odd += received[i].offload.any();
        bytes += received[i].length();
        CHECK(received[i].ingress_port == kThere);
        CHECK(received[i].rss_hash >= expected);
        expected = received[i].rss_hash;
      }
    }
  }
  Burst rest;
  while (way.Receive(rest) > 0) {
    for (const Packet* packet : rest) bytes += packet->length();
    rest.Clear();
  }
  CHECK(odd > 0);
  CHECK(way.sent().drops[DropReason::kTooLong] > 0);
  CHECK(way.sent().packets == way.received().packets);
  CHECK(way.sent().bytes == way.received().bytes);
  CHECK(way.received().bytes == bytes);
}

TEST_CASE("what was written for a receiver that has since become another is not taken as known") {
  const auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
  PairWay way;
  way.OpenSender(1, 32);
  REQUIRE(way.OpenReceiver("test") == absl::OkStatus());
  way.Tell(Terms(kHere, QueueId{0}, 1514));
  Burst burst;
  REQUIRE(pool->Get(burst, 6) == 6);
  for (Packet* packet : burst) packet->SetLength(60);
  CHECK(way.Receive(burst) == 0);  // on to the lanes of the sender
  CHECK(way.PushPlain(way.lane(0), burst, 1514).packets == 6);

  way.Tell(Terms(kThere, QueueId{0}, 1514));
  CHECK(way.ReceiveKnown(burst).packets == 0);
  CHECK(way.Receive(burst) == 6);
}

// One by one, as the words say.
TEST_CASE("the look at many first lines finds what a look at each does") {
  Random random(PrintedSeed());
  const auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
  for (int round = 0; round < 2000; ++round) {
    const auto max_frame = static_cast<uint32_t>(60 + Below(random, 65476));
    FirstLines lines(max_frame);
    uint32_t bytes = 0;
    bool outside = false, request = false, fragments = false;
    for (size_t i = Below(random, 10); i > 0; --i) {
      const PacketPtr packet = pool->GetOne();
      const uint32_t edges[] = {13, 14, 60, max_frame - 1, max_frame, max_frame + 1};
      packet->SetLength(Below(random, 8) == 0 ? edges[Below(random, 6)] : 60);
      packet->vlan_tci = static_cast<uint16_t>(random());
      packet->offload.mss = packet->offload.mss_override = static_cast<uint16_t>(random());
      packet->offload.insert_vlan = Below(random, 20) == 0;
      const bool more = Below(random, 20) == 0;
      if (more) packet->CountLinked(1);

      lines.Add(*packet);
      bytes += packet->length();
      outside |= packet->head_length() < 14 || packet->length() > max_frame;
      request |= packet->offload.any();
      fragments |= more;
    }
    REQUIRE(lines.bytes() == bytes);
    REQUIRE(lines.any_outside() == outside);
    REQUIRE(lines.any_request() == request);
    REQUIRE(lines.any_fragments() == fragments);
    REQUIRE(lines.any_odd() == (outside || request));
  }
}

}  // namespace
}  // namespace sluice::testing

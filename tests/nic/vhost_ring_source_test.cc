// SPDX-License-Identifier: Apache-2.0
// What a guest sends, taken from its ring: copied where it is short, borrowed where it is long.
#include <sys/eventfd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <thread>

#include "tests/nic/vhost_ring_rig.h"
#include "tests/support/allocation_counter.h"

namespace sluice::testing {
namespace {

Bytes Frame(size_t bytes, uint8_t first = 0) {
  Bytes frame(bytes);
  std::iota(frame.begin(), frame.end(), first);
  return frame;
}

Bytes BigTcp() { return TcpFrame({.payload_size = 60000}); }

// Of a TCP frame over IPv4 that is to be cut.
Bytes CutHeader(uint16_t size) {
  return {1, 1, 54, 0, static_cast<uint8_t>(size & 0xff), static_cast<uint8_t>(size >> 8), 34, 0, 16, 0};
}

RigOptions Kind(const DriverRingOptions& ring) { return {.ring = ring}; }
DriverRingOptions AnyKind(uint16_t size = 16) { return GENERATE_COPY(from_range(RingKinds(size))); }

}  // namespace

TEST_CASE("frames come out of a ring as they went in, however they are cut") {
  RingRig rig(Kind(AnyKind()));
  CAPTURE(TextOf(rig.driver().options()));
  rig.StartSource();
  const std::vector<std::vector<uint32_t>> cuts = {
      {}, {12}, {5}, {11, 1}, {12, 14}, {13, 20, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
  for (const size_t bytes : {14, 15, 16, 60, 64, 65, 128, 200, 257, 1514, 1900}) {
    for (const std::vector<uint32_t>& cut : cuts) {
      rig.Rewind();
      rig.Offer(Frame(bytes), cut);
      REQUIRE(rig.ReceiveAll() == std::vector<Bytes>{Frame(bytes)});
      REQUIRE(rig.TakeAllUsed() == 1);
    }
  }
}

TEST_CASE("headers of every length are told from the frame behind them") {
  const auto header_bytes = GENERATE(10u, 12u, 20u);
  const bool packed = GENERATE(false, true);
  RingRig rig({.ring = {.packed = packed, .size = 16}, .header_bytes = header_bytes});
  rig.StartSource();
  rig.Offer(Frame(60));
  rig.Offer(Frame(70), {header_bytes});
  CHECK(rig.ReceiveAll() == std::vector<Bytes>{Frame(60), Frame(70)});
}

TEST_CASE("a burst takes no more chains than it has room for") {
  RingRig rig(Kind(AnyKind(128)));
  rig.StartSource();
  for (int i = 0; i < 100; ++i) rig.Offer(Frame(64, static_cast<uint8_t>(i)));
  Burst burst;
  CHECK(rig.Receive(burst) == 64);
  CHECK(rig.Receive(burst) == 0);
  CHECK(rig.TakeAllUsed() == 64);
  burst.Clear();
  CHECK(rig.Receive(burst) == 36);
  CHECK(BytesOf(burst[0]) == Frame(64, 64));
}

TEST_CASE("a long frame is borrowed, and its chain given back when the last piece is home") {
  RingRig rig(Kind(AnyKind()));
  CAPTURE(TextOf(rig.driver().options()));
  rig.StartSource();
  const Bytes frame = BigTcp();
  rig.Offer(frame, {12, 4096, 30000}, CutHeader(1400));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 1);
  CHECK(burst[0].length() == frame.size());
  CHECK(burst[0].head_length() == 256);
  CHECK((burst[0].offload.segment && burst[0].offload.mss == 1400));
  CHECK(BytesOf(burst[0]) == frame);
  CHECK(burst[0].next()->data() == rig.At(RingRig::kLow + 12 + 256));
  CHECK(rig.source().lent() == 1);
  CHECK(rig.source().Reclaim() == 0);
  CHECK(rig.TakeAllUsed() == 0);
  burst.Clear();
  CHECK(rig.source().lent() == 0);
  CHECK(rig.source().Reclaim() == 1);
  CHECK(rig.TakeAllUsed() == 1);
}

TEST_CASE("chains behind a lent one wait for it, and go back in order") {
  RingRig rig(Kind(AnyKind(32)));
  rig.StartSource();
  rig.Offer(Frame(60));
  rig.Offer(Frame(5000), {12});
  rig.Offer(Frame(60));
  rig.Offer(Frame(5000), {12});
  Burst burst;
  REQUIRE(rig.Receive(burst) == 4);
  CHECK(rig.TakeAllUsed() == 1);
  Burst first;
  burst.MoveFront(2, first);
  burst.Clear();  // the second loan comes home first
  CHECK(rig.source().Reclaim() == 0);
  first.Clear();
  CHECK(rig.Receive(burst) == 0);
  CHECK(rig.TakeAllUsed() == 3);
}

TEST_CASE("what the guest writes to the headers after they were taken changes nothing") {
  RingRig rig(Kind({.packed = GENERATE(false, true), .size = 16}));
  rig.StartSource();
  const Bytes frame = BigTcp();
  rig.Offer(frame, {}, CutHeader(1400));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 1);
  rig.Write(RingRig::kLow, Bytes(12 + 256, 0xff));
  CHECK(BytesOf(burst[0]) == frame);
  CHECK(burst[0].offload.mss == 1400);
  CHECK(burst[0].next()->data() == rig.At(RingRig::kLow + 12 + 256));
}

TEST_CASE("what the guest writes to descriptors after they were taken changes nothing") {
  RingRig rig(Kind({.packed = GENERATE(false, true), .indirect = GENERATE(false, true), .size = 16}));
  rig.StartSource();
  rig.Offer(Frame(6000), {12, 3000});
  Burst burst;
  REQUIRE(rig.Receive(burst) == 1);
  std::fill_n(rig.driver().parts().descriptors, rig.driver().parts().descriptor_bytes, uint8_t{0xff});
  CHECK(BytesOf(burst[0]) == Frame(6000));
}

TEST_CASE("a buffer may run from one region into the next") {
  RingRig rig(Kind(AnyKind()));
  rig.StartSource();
  for (const size_t bytes : {100, 8000}) {
    rig.Rewind(RingRig::kHigh - 50);
    rig.Offer(Frame(bytes));
    CHECK(rig.ReceiveAll() == std::vector<Bytes>{Frame(bytes)});
  }
}

TEST_CASE("a checksum that is asked for becomes a request, and one that was seen good a verdict") {
  RingRig rig(Kind({.packed = GENERATE(false, true), .size = 16}));
  rig.StartSource();
  rig.Offer(TcpFrame({}), {}, {1, 0, 0, 0, 0, 0, 34, 0, 16, 0});
  rig.Offer(TcpFrame({}), {}, {2});
  rig.Offer(TcpFrame({}));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 3);
  CHECK(burst[0].offload.l4_checksum);
  CHECK(burst[0].l4_checksum == ChecksumVerdict::kPartial);
  CHECK(burst[1].l4_checksum == ChecksumVerdict::kGood);
  CHECK(!burst[2].offload.any());
  CHECK(burst[2].l4_checksum == ChecksumVerdict::kUnknown);
}

TEST_CASE("of a driver that agreed to ask for nothing no header counts") {
  RigOptions options = Kind({.packed = GENERATE(false, true), .size = 16});
  options.asks = false;
  RingRig rig(options);
  rig.StartSource();
  rig.Offer(TcpFrame({}), {}, {1, 0, 0, 0, 0, 0, 34, 0, 16, 0});
  rig.Offer(TcpFrame({}), {12}, {2});
  rig.Offer(BigTcp(), {}, CutHeader(1400));
  rig.Offer(TcpFrame({}), {5}, {0, 0xff});
  Burst burst;
  REQUIRE(rig.Receive(burst) == 4);
  CHECK(BytesOf(burst[2]) == BigTcp());
  for (const Packet* packet : burst) {
    CHECK(!packet->offload.any());
    CHECK(packet->l4_checksum == ChecksumVerdict::kUnknown);
  }
}

TEST_CASE("packets say where they came in") {
  RigOptions options = Kind({.packed = GENERATE(false, true), .size = 16});
  options.source.arrival = Packet::Arrival(PortId(7), QueueId(3));
  RingRig rig(options);
  rig.StartSource();
  rig.Offer(Frame(60));
  rig.Offer(Frame(5000));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 2);
  for (const Packet* packet : burst) {
    CHECK(packet->ingress_port == PortId(7));
    CHECK(packet->ingress_queue == QueueId(3));
  }
}

TEST_CASE("what cannot be a frame is dropped, counted, and its chain given back") {
  struct Row {
    Bytes frame;
    Bytes header;
    DropReason reason;
  };
  const std::vector<Row> rows = {
      {Frame(13), {}, DropReason::kTooShort},
      {Frame(1), {}, DropReason::kTooShort},
      {{}, {}, DropReason::kTooShort},
      {Frame(GuestSource::kLongestFrame + 1), {}, DropReason::kTooLong},
      {TcpFrame({}), {1, 0, 0, 0, 0, 0, 200, 0, 16, 0}, DropReason::kMalformed},
      {TcpFrame({}), {1, 3, 0, 0, 100, 0, 34, 0, 16, 0}, DropReason::kUnsupportedOffload},
      {BigTcp(), {1, 4, 0, 0, 100, 0, 34, 0, 16, 0}, DropReason::kMalformed},
  };
  RingRig rig(Kind(AnyKind()));
  rig.StartSource();
  for (const Row& row : rows) {
    CAPTURE(&row - rows.data());
    const uint64_t before = rig.drops()[row.reason];
    rig.Rewind();
    rig.Offer(row.frame, {12, 20}, row.header);
    CHECK(rig.ReceiveAll().empty());
    CHECK(rig.drops()[row.reason] == before + 1);
    CHECK(rig.TakeAllUsed() == 1);
  }
  CHECK(rig.pool().available() == 512);
  CHECK(rig.source().fault() == RingFault::kNone);
}

TEST_CASE("good frames around a dropped one are taken in order") {
  RingRig rig(Kind(AnyKind()));
  rig.StartSource();
  rig.Offer(Frame(60, 1));
  rig.Offer(Frame(3));
  rig.Offer(Frame(60, 2));
  CHECK(rig.ReceiveAll() == std::vector<Bytes>{Frame(60, 1), Frame(60, 2)});
  CHECK(rig.TakeAllUsed() == 3);
}

TEST_CASE("frames wait in the ring while the pool is dry") {
  RigOptions options = Kind(AnyKind());
  options.packets = 4;
  RingRig rig(options);
  rig.StartSource();
  for (int i = 0; i < 6; ++i) rig.Offer(Frame(60, static_cast<uint8_t>(i)));
  Burst burst;
  CHECK(rig.Receive(burst) == 4);
  CHECK(rig.Receive(burst) == 0);
  burst.Clear();
  CHECK(rig.Receive(burst) == 2);
  CHECK(BytesOf(burst[1]) == Frame(60, 5));
  CHECK(rig.drops().total() == 0);
}

TEST_CASE("a long frame for whose pieces the pool has no packets is dropped, and none is kept") {
  RigOptions options = Kind(AnyKind());
  options.packets = 4;
  RingRig rig(options);
  rig.StartSource();
  rig.Offer(Frame(8000), {12, 1000, 1000, 1000, 1000, 1000, 1000, 1000});
  CHECK(rig.ReceiveAll().empty());
  CHECK(rig.drops()[DropReason::kNoBuffer] == 1);
  CHECK(rig.pool().available() == 4);
  CHECK(rig.TakeAllUsed() == 1);
}

TEST_CASE(
    "a long frame of one piece is copied when the pool has no packet to name what is lent, where it fits") {
  RigOptions options = Kind(AnyKind());
  options.packets = 4;
  options.source.copy_up_to = 500;
  RingRig rig(options);
  rig.StartSource();
  // What comes of frames of these lengths, and how many chains are lent then.
  Burst burst;
  const auto pass = [&](const std::vector<size_t>& lengths) {
    for (const size_t bytes : lengths) rig.Offer(Frame(bytes), {12});
    rig.Receive(burst);
    const size_t lent = rig.source().lent();
    std::vector<size_t> came;
    for (const Packet* packet : burst) {
      CHECK(BytesOf(*packet) == Frame(packet->length()));
      came.push_back(packet->length());
    }
    burst.Clear();
    rig.source().Reclaim();
    CHECK(rig.TakeAllUsed() == lengths.size());
    CHECK(rig.pool().available() == 4);
    return std::pair(came, lent);
  };
  using Lengths = std::vector<size_t>;
  CHECK(pass({1400, 1401, 1402, 60}) == std::pair(Lengths{1400, 1401, 1402, 60}, size_t{0}));
  CHECK(pass({5000, 1401, 1402}) == std::pair(Lengths{5000, 1401, 1402}, size_t{1}));
  CHECK(rig.drops().total() == 0);
  CHECK(pass({1400, 5001, 5002}) == std::pair(Lengths{1400}, size_t{1}));
  CHECK(rig.drops()[DropReason::kNoBuffer] == 2);
}

TEST_CASE("of a frame that is lent and then dropped nothing counts as lent") {
  RigOptions options = Kind(AnyKind());
  options.source.copy_up_to = 500;
  RingRig rig(options);
  rig.StartSource();
  const Bytes malformed = {1, 0, 0, 0, 0, 0, 0xff, 0xff, 16, 0};
  rig.Offer(Frame(1400), {12}, malformed);
  rig.Offer(Frame(1400), {12, 700}, malformed);
  rig.Offer(Frame(1000), {12});
  Burst burst;
  const RingTraffic came = rig.source().Receive(burst);
  CHECK(rig.drops()[DropReason::kMalformed] == 2);
  CHECK(came.packets == 1);
  CHECK(came.bytes == 1000);
  CHECK(came.lent == 1000 - 256);
}

TEST_CASE("the headers of a frame are copied also where all of it is to be lent") {
  RigOptions options = Kind(AnyKind());
  options.source.copy_up_to = 0;
  RingRig rig(options);
  rig.StartSource();
  rig.Offer(Frame(256), {12});
  rig.Offer(Frame(257), {12});
  rig.Offer(Frame(257), {12, 100});
  Burst burst;
  REQUIRE(rig.Receive(burst) == 3);
  CHECK(burst[0].contiguous());
  for (const size_t i : {1u, 2u}) {
    CHECK(burst[i].head_length() == 256);
    CHECK(burst[i].next()->borrows());
    CHECK(BytesOf(burst[i]) == Frame(257));
  }
}

TEST_CASE("the taking of frames, short and lent, allocates nothing") {
  RingRig rig(Kind({.packed = GENERATE(false, true), .size = 16}));
  rig.StartSource();
  rig.Offer(Frame(60));
  rig.Offer(BigTcp(), {12, 20000}, CutHeader(1400));
  rig.Offer(Frame(9000), {12});
  Burst burst;
  const AllocationCounter counter;
  CHECK(rig.Receive(burst) == 3);
  burst.Clear();
  CHECK(rig.source().Reclaim() == 2);
  CHECK(counter.allocations() == 0);
}

TEST_CASE("loans come home on another thread") {
  RingRig rig(Kind({.packed = GENERATE(false, true), .size = 64}));
  rig.StartSource();
  for (int round = 0; round < 20; ++round) {
    rig.Rewind();
    for (int i = 0; i < 8; ++i) rig.Offer(Frame(9000), {12, 2000, 4000});
    Burst burst;
    REQUIRE(rig.Receive(burst) == 8);
    std::thread freer([&] { burst.Clear(); });
    for (size_t given = 0; given < 8;) given += rig.source().Reclaim();
    freer.join();
    REQUIRE(rig.TakeAllUsed() == 8);
  }
}

TEST_CASE("a loan that comes home wakes a source that sleeps, and only that") {
  RigOptions options = Kind({.packed = GENERATE(false, true), .size = 16});
  const auto wake = std::make_shared<const UniqueFd>(eventfd(0, EFD_NONBLOCK));
  options.source.wake = wake;
  RingRig rig(options);
  rig.StartSource();
  eventfd_t count = 0;
  for (const bool asleep : {false, true}) {
    rig.Rewind();
    rig.Offer(Frame(5000));
    Burst burst;
    REQUIRE(rig.Receive(burst) == 1);
    if (asleep) REQUIRE(rig.source().Arm());
    burst.Clear();
    CHECK((eventfd_read(wake->get(), &count) == 0) == asleep);
    CHECK(!rig.source().Arm());  // there is a chain to give back
    CHECK(rig.Receive(burst) == 0);
    CHECK(rig.source().Arm());
    CHECK(rig.Receive(burst) == 0);
  }
}

TEST_CASE("without an eventfd a source does not sleep while anything is lent") {
  RingRig rig(Kind({.packed = GENERATE(false, true), .size = 16}));
  rig.StartSource();
  rig.Offer(Frame(5000));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 1);
  CHECK(!rig.source().Arm());
  burst.Clear();
  CHECK(rig.source().Reclaim() == 1);
  CHECK(rig.source().Arm());
}

TEST_CASE("the guest is asked for kicks only while the source sleeps") {
  RingRig rig(Kind(AnyKind()));
  CAPTURE(TextOf(rig.driver().options()));
  rig.StartSource();
  rig.Offer(Frame(60));
  CHECK(!rig.driver().KickWanted());
  CHECK(!rig.source().Arm());  // there is one already
  CHECK(rig.ReceiveAll().size() == 1);
  REQUIRE(rig.source().Arm());
  rig.Offer(Frame(60));
  CHECK(rig.driver().KickWanted());
  CHECK(rig.ReceiveAll().size() == 1);
  rig.Offer(Frame(60));
  CHECK(!rig.driver().KickWanted());
}

TEST_CASE("a call is wanted when the guest asked for one, once") {
  RingRig rig(Kind(AnyKind()));
  CAPTURE(TextOf(rig.driver().options()));
  rig.StartSource();
  rig.Offer(Frame(60));
  rig.ReceiveAll();
  rig.source().TakeCall();  // the first one is for good measure
  REQUIRE(rig.TakeAllUsed() == 1);
  for (const bool asked : {true, false, true}) {
    if (asked) REQUIRE(rig.driver().AskForCall());
    if (!asked) rig.driver().RefuseCalls();
    rig.Offer(Frame(60));
    rig.ReceiveAll();
    CHECK(rig.source().TakeCall() == asked);
    CHECK(!rig.source().TakeCall());
    REQUIRE(rig.TakeAllUsed() == 1);
  }
}

TEST_CASE("a source that stops gives all back, and goes on where it stood") {
  RingRig rig(Kind(AnyKind()));
  rig.StartSource();
  rig.Offer(Frame(60));
  rig.Offer(Frame(5000));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 2);
  rig.Offer(Frame(70));
  const RingPosition stopped = rig.source().Stop();
  CHECK(stopped.available == stopped.used);
  CHECK(rig.TakeAllUsed() == 2);
  CHECK(rig.Receive(burst) == 0);
  rig.source().Start(rig.shape(), rig.place(), rig.After(stopped));
  CHECK(rig.ReceiveAll() == std::vector<Bytes>{Frame(70)});
  CHECK(BytesOf(burst[1]) == Frame(5000));
}

TEST_CASE("loans outlive the source that made them") {
  Burst burst;
  std::shared_ptr<const GuestMemory> memory;
  const auto pool = *PacketPool::Create({.packets = 16, .huge_pages = HugePages::kOff});
  RingRig rig;
  memory = rig.memory();
  const auto held = memory.use_count();
  {
    DropCounters drops;
    GuestSource source({.pool = pool.get(), .drops = &drops});
    source.Start(rig.shape(), rig.place(), rig.Base());
    rig.Offer(Frame(5000));
    REQUIRE(source.Receive(burst).packets == 1);
  }
  CHECK(memory.use_count() == held + 1);
  CHECK(BytesOf(burst[0]) == Frame(5000));
  burst.Clear();
  CHECK(memory.use_count() == held);
}

TEST_CASE("a split ring is taken up again from its used index, and nothing is lost") {
  RingRig rig;
  rig.StartSource();
  for (uint8_t i = 0; i < 5; ++i) rig.Offer(Frame(i == 2 ? 5000 : 60, i));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 5);  // two of them given back, then it dies
  DropCounters drops;
  GuestSource after({.pool = &rig.pool(), .drops = &drops});
  after.Start(rig.shape(), rig.place(), RingPosition::OfSplit(rig.place()));
  Burst again;
  CHECK(after.Receive(again).packets == 3);
  CHECK(BytesOf(again[0]) == Frame(5000, 2));
  burst.Clear();
  again.Clear();
}

TEST_CASE("memory is exchanged under loans") {
  RingRig rig(Kind({.packed = GENERATE(false, true), .size = 16}));
  rig.StartSource();
  rig.Offer(Frame(5000));
  Burst burst;
  REQUIRE(rig.Receive(burst) == 1);
  RingPlace place = rig.place();
  const auto regions = rig.memory()->regions();
  place.memory = std::make_shared<GuestMemory>(std::vector<GuestRegion>(regions.begin(), regions.end()));
  rig.source().Replace(place);
  rig.Offer(Frame(60));
  CHECK(rig.Receive(burst) == 1);
  CHECK(BytesOf(burst[0]) == Frame(5000));
  burst.Clear();
  CHECK(rig.source().Reclaim() == 2);
  CHECK(rig.TakeAllUsed() == 2);
}

}  // namespace sluice::testing

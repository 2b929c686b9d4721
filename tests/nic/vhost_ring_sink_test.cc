// SPDX-License-Identifier: Apache-2.0
// What a guest receives: packets, written into the buffers that it posted.
#include <catch2/catch.hpp>
#include <numeric>

#include "tests/nic/vhost_ring_rig.h"
#include "tests/support/allocation_counter.h"

namespace sluice::testing {
namespace {

Bytes Frame(size_t bytes, uint8_t first = 0) {
  Bytes frame(bytes);
  std::iota(frame.begin(), frame.end(), first);
  return frame;
}

// Header and frame as they should arrive.
Bytes Arrival(const Bytes& frame, size_t header_bytes = 12, uint8_t flags = 0) {
  Bytes arrival(header_bytes);
  arrival[0] = flags;
  if (header_bytes > 10) arrival[10] = 1;
  arrival.insert(arrival.end(), frame.begin(), frame.end());
  return arrival;
}

Bytes WithoutHeader(const Bytes& arrival) { return {arrival.begin() + 12, arrival.end()}; }

DriverRingOptions AnyKind(uint16_t size = 16) { return GENERATE_COPY(from_range(RingKinds(size))); }

// Sends one frame, in packets of at most `piece` bytes.
size_t SendOne(RingRig& rig, const Bytes& frame, size_t piece = 0) {
  Burst burst;
  burst.Push(MakePacket(rig.pool(), frame, piece));
  return rig.Send(burst);
}

}  // namespace

TEST_CASE("a packet arrives behind its header, into chains however they are cut") {
  const auto header_bytes = GENERATE(10u, 12u, 20u);
  RingRig rig({.ring = AnyKind(), .header_bytes = header_bytes});
  CAPTURE(TextOf(rig.driver().options()), header_bytes);
  rig.StartSink();
  const std::vector<std::vector<uint32_t>> chains = {
      {2048}, {header_bytes, 2000}, {5, 9, 2, 2000}, {1, 2047}};
  for (const size_t bytes : {14, 16, 60, 64, 65, 200, 1514}) {
    for (const std::vector<uint32_t>& chain : chains) {
      rig.Rewind();
      rig.Post(chain);
      REQUIRE(SendOne(rig, Frame(bytes)) == 1);
      REQUIRE(rig.TakeArrival() == Arrival(Frame(bytes), header_bytes));
    }
  }
}

TEST_CASE("a header is right whatever was in its place before") {
  RingRig rig({.ring = AnyKind()});
  rig.StartSink();
  const Bytes right = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
  for (const uint64_t header_in_line : {52, 0}) {  // the frame then starts a line, or not
    for (size_t wrong = 0; wrong <= right.size(); ++wrong) {
      Bytes before = right;
      if (wrong < right.size()) before[wrong] ^= 0x81;
      rig.Rewind(RingRig::kLow + header_in_line);
      rig.Post({2048});
      rig.Write(RingRig::kLow + header_in_line, before);
      CAPTURE(TextOf(rig.driver().options()), header_in_line, wrong);
      REQUIRE(SendOne(rig, Frame(60)) == 1);
      REQUIRE(rig.TakeArrival() == Arrival(Frame(60)));
    }
  }
}

TEST_CASE("packets arrive in order, as many as there are chains for, and the rest stays") {
  RingRig rig({.ring = AnyKind()});
  rig.StartSink();
  for (int i = 0; i < 5; ++i) rig.Post({2048});
  Burst burst;
  for (uint8_t i = 0; i < 8; ++i) burst.Push(rig.Make(Frame(60, i)));
  CHECK(rig.Send(burst) == 5);
  CHECK(burst.size() == 3);
  CHECK(rig.Send(burst) == 0);
  for (uint8_t i = 0; i < 5; ++i) CHECK(rig.TakeArrival() == Arrival(Frame(60, i)));
  for (int i = 0; i < 5; ++i) rig.Post({2048});
  CHECK(rig.Send(burst) == 3);
  for (uint8_t i = 5; i < 8; ++i) CHECK(rig.TakeArrival() == Arrival(Frame(60, i)));
  CHECK(rig.TakeArrival().empty());
  CHECK(rig.pool().available() == 512);
}

TEST_CASE("a packet of several pieces is put together") {
  RingRig rig({.ring = AnyKind()});
  rig.StartSink();
  rig.Post({3000, 2000});
  CHECK(SendOne(rig, Frame(4000), 900) == 1);
  CHECK(rig.TakeArrival() == Arrival(Frame(4000)));
}

TEST_CASE("with mergeable buffers a packet takes as many chains as it needs") {
  RingRig rig({.ring = AnyKind(64), .mergeable = true});
  CAPTURE(TextOf(rig.driver().options()));
  rig.StartSink();
  for (int i = 0; i < 50; ++i) rig.Post({1500});
  CHECK(SendOne(rig, Frame(60000), 1800) == 1);
  CHECK(SendOne(rig, Frame(1488)) == 1);
  CHECK(SendOne(rig, Frame(1489)) == 1);
  const Bytes arrival = rig.TakeArrival();
  CHECK(arrival[10] == (60012 + 1499) / 1500);
  CHECK(WithoutHeader(arrival) == Frame(60000));
  CHECK(rig.TakeArrival() == Arrival(Frame(1488)));
  CHECK(WithoutHeader(rig.TakeArrival()) == Frame(1489));
}

TEST_CASE("a packet waits until the guest has posted chains for all of it") {
  RingRig rig({.ring = AnyKind(), .mergeable = true});
  rig.StartSink();
  rig.Post({1000});
  rig.Post({1000});
  Burst burst;
  burst.Push(rig.Make(Frame(2500)));
  burst.Push(rig.Make(Frame(60)));
  CHECK(rig.Send(burst) == 0);
  rig.Post({1000});
  CHECK(rig.Send(burst) == 1);
  CHECK(WithoutHeader(rig.TakeArrival()) == Frame(2500));
  CHECK(burst.size() == 1);
}

TEST_CASE("a packet that no chain can hold is dropped, and takes none") {
  const bool mergeable = GENERATE(false, true);
  RingRig rig({.ring = {.packed = GENERATE(false, true), .size = 128}, .mergeable = mergeable});
  rig.StartSink();
  for (int i = 0; i < 70; ++i) rig.Post({100});
  Burst burst;
  burst.Push(rig.Make(Frame(mergeable ? 7000 : 89)));
  burst.Push(rig.Make(Frame(88)));
  CHECK(rig.Send(burst) == 2);
  CHECK(rig.drops()[DropReason::kTooLong] == 1);
  CHECK(rig.TakeArrival() == Arrival(Frame(88)));
  CHECK(rig.sent().packets == 1);
  CHECK(rig.pool().available() == 512);
}

TEST_CASE("what a packet asks for is in its header, and so is a verdict, where it is understood") {
  const bool takes_verdicts = GENERATE(false, true);
  RingRig rig({.ring = {.packed = GENERATE(false, true), .size = 16}, .takes_verdicts = takes_verdicts});
  rig.StartSink();
  for (int i = 0; i < 3; ++i) rig.Post({4096});
  Burst burst;
  burst.Push(rig.Make(TcpFrame({.payload_size = 3000})));
  burst[0].offload = {.l4_checksum = true, .segment = true, .mss = 1000};
  for (int i = 0; i < 2; ++i) {
    burst.Push(MakePacket(rig.pool(), Frame(60), i == 0 ? 0 : 20));
    burst[burst.size() - 1].l4_checksum = ChecksumVerdict::kGood;
  }
  CHECK(rig.Send(burst) == 3);
  const Bytes cut = rig.TakeArrival();
  CHECK(Bytes(cut.begin(), cut.begin() + 12) == Bytes{1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0, 1, 0});
  for (int i = 0; i < 2; ++i)
    CHECK(rig.TakeArrival() == Arrival(Frame(60), 12, takes_verdicts ? VirtioNetHeader::kDataValid : 0));
}

TEST_CASE("a packet's hash is reported in a long header") {
  RingRig rig({.ring = {.packed = GENERATE(false, true), .size = 16}, .header_bytes = 20});
  rig.StartSink();
  rig.Post({2048});
  rig.Post({1000, 1000});
  Burst burst;
  for (int i = 0; i < 2; ++i) {
    burst.Push(rig.Make(Frame(60)));
    burst[burst.size() - 1].rss_hash = 0x12345678;
    burst[burst.size() - 1].rss_type = RssType::kIpv6Udp;
  }
  CHECK(rig.Send(burst) == 2);
  for (int i = 0; i < 2; ++i) {
    const Bytes arrival = rig.TakeArrival();
    CHECK(Bytes(arrival.begin() + 12, arrival.begin() + 20) == Bytes{0x78, 0x56, 0x34, 0x12, 6, 0, 0, 0});
  }
}

TEST_CASE("what no header can say is dropped, and takes no chain") {
  RingRig rig({.ring = {.packed = GENERATE(false, true), .size = 16}});
  rig.StartSink();
  rig.Post({2048});
  Burst burst;
  burst.Push(rig.Make(TcpFrame({})));
  burst[0].offload = {.insert_vlan = true};
  burst.Push(rig.Make(Frame(60)));
  CHECK(rig.Send(burst) == 2);
  CHECK(rig.drops()[DropReason::kUnsupportedOffload] == 1);
  CHECK(rig.TakeArrival() == Arrival(Frame(60)));
}

TEST_CASE("a buffer to be filled may run from one region into the next") {
  RingRig rig({.ring = AnyKind()});
  rig.StartSink();
  rig.Rewind(RingRig::kHigh - 40);
  rig.Post({2048});
  CHECK(SendOne(rig, Frame(500)) == 1);
  CHECK(rig.TakeArrival() == Arrival(Frame(500)));
}

TEST_CASE("payload goes from guest to guest by one copy, and frees the chain that it came in") {
  RingRig from({.ring = {.packed = GENERATE(false, true), .size = 16}});
  RingRig to({.ring = AnyKind(32), .mergeable = true});
  from.StartSource();
  to.StartSink();
  const Bytes frame = TcpFrame({.payload_size = 60000});
  from.Offer(frame, {12, 4000, 30000}, {1, 1, 54, 0, 0x78, 5, 34, 0, 16, 0});
  for (int i = 0; i < 17; ++i) to.Post({4096});
  Burst burst;
  REQUIRE(from.Receive(burst) == 1);
  CHECK(to.Send(burst) == 1);
  CHECK(from.source().Reclaim() == 1);
  const Bytes arrival = to.TakeArrival();
  CHECK(Bytes(arrival.begin(), arrival.begin() + 10) == Bytes{1, 1, 54, 0, 0x78, 5, 34, 0, 16, 0});
  CHECK(Bytes(arrival.begin() + 12 + 54, arrival.end()) == Bytes(frame.begin() + 54, frame.end()));
}

TEST_CASE("a call is wanted for what arrives when the guest asked for one") {
  RingRig rig({.ring = AnyKind()});
  CAPTURE(TextOf(rig.driver().options()));
  rig.StartSink();
  rig.Post({2048});
  SendOne(rig, Frame(60));
  rig.sink().TakeCall();  // the first one is for good measure
  REQUIRE(!rig.TakeArrival().empty());
  for (const bool asked : {true, false, true}) {
    if (asked) REQUIRE(rig.driver().AskForCall());
    if (!asked) rig.driver().RefuseCalls();
    rig.Post({2048});
    SendOne(rig, Frame(60));
    CHECK(rig.sink().TakeCall() == asked);
    CHECK(!rig.sink().TakeCall());
    REQUIRE(!rig.TakeArrival().empty());
  }
}

TEST_CASE("a sink asks for no kicks") {
  RingRig rig({.ring = AnyKind()});
  rig.StartSink();
  rig.Post({2048});
  CHECK(!rig.driver().KickWanted());
}

TEST_CASE("the sending of packets allocates nothing") {
  RingRig rig({.ring = {.packed = GENERATE(false, true), .size = 16}, .mergeable = true});
  rig.StartSink();
  for (int i = 0; i < 6; ++i) rig.Post({2048});
  Burst burst;
  burst.Push(rig.Make(Frame(60)));
  burst.Push(MakePacket(rig.pool(), Frame(7000), 1000));
  const AllocationCounter counter;
  CHECK(rig.Send(burst) == 2);
  CHECK(counter.allocations() == 0);
}

TEST_CASE("a sink that stops goes on where it stood") {
  RingRig rig({.ring = AnyKind()});
  rig.StartSink();
  rig.Post({2048});
  rig.Post({2048});
  CHECK(SendOne(rig, Frame(60, 1)) == 1);
  const RingPosition stopped = rig.sink().Stop();
  CHECK(SendOne(rig, Frame(60)) == 0);
  rig.sink().Start(rig.shape(), rig.place(), rig.After(stopped));
  CHECK(SendOne(rig, Frame(60, 2)) == 1);
  CHECK(rig.TakeArrival() == Arrival(Frame(60, 1)));
  CHECK(rig.TakeArrival() == Arrival(Frame(60, 2)));
}

}  // namespace sluice::testing

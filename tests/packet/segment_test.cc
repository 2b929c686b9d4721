// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/segment.h"

#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "sluice/packet/budget.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"
#include "tests/packet/packet_queue.h"
#include "tests/packet/small_pool.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/copying_segmenter.h"
#include "tests/support/lender.h"
#include "tests/support/random_frames.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // CopyingSegment is the twin

// A pool, and the segmenter that takes its packets there.
class Bench {
 public:
  explicit Bench(SegmentOptions options = {}, PacketPoolOptions pool = {.packets = 4096})
      : pool_(SmallPool(pool)), segmenter_(WithPool(options)) {}

  PacketPool& pool() { return *pool_; }
  Segmenter& segmenter() { return segmenter_; }
  bool Full() const { return pool_->available() == pool_->options().packets; }

  // A parsed packet that asks to be cut.
  PacketPtr Big(const Bytes& frame, uint16_t mss, size_t piece = 0) {
    return Asking(MakePacket(*pool_, frame, piece), mss);
  }
  static PacketPtr Asking(PacketPtr packet, uint16_t mss) {
    REQUIRE(packet != nullptr);
    REQUIRE(Parse(*packet) == ParseVerdict::kOk);
    packet->offload = {.l4_checksum = true, .segment = true, .mss = mss};
    return packet;
  }

  // Cuts it, `most` segments at a time.
  std::vector<PacketPtr> Cut(PacketPtr packet, size_t most = Burst::kCapacity) {
    REQUIRE(segmenter_.Begin(packet) == std::nullopt);
    REQUIRE(packet == nullptr);
    std::vector<PacketPtr> segments;
    while (!segmenter_.done()) {
      Burst burst;
      const size_t others = pool_->Get(burst, Burst::kCapacity - most);
      segmenter_.Next(burst);
      for (size_t i = 0; i < others; ++i) burst.PopFront();
      while (!burst.empty()) segments.push_back(burst.PopFront());
    }
    return segments;
  }
  std::vector<Bytes> CutBytes(PacketPtr packet) {
    std::vector<Bytes> frames;
    for (const PacketPtr& segment : Cut(std::move(packet))) frames.push_back(BytesOf(*segment));
    return frames;
  }
  std::optional<DropReason> Refusal(const Bytes& frame, uint16_t mss = 100) {
    PacketPtr packet = Big(frame, mss);
    const std::optional<DropReason> reason = segmenter_.Begin(packet);
    REQUIRE(packet != nullptr);
    CHECK(BytesOf(*packet) == frame);
    CHECK(packet->offload.segment);
    return reason;
  }

 private:
  SegmentOptions WithPool(SegmentOptions options) {
    options.pool = pool_.get();
    return options;
  }

  std::unique_ptr<PacketPool> pool_;
  Segmenter segmenter_;
};

TcpHeader TcpOf(const Bytes& frame) { return *HeaderAt<TcpHeader>(frame.data(), 34); }

// Arithmetic.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("an MTU of 9000 leaves 8898 bytes for TCP with timestamps in VXLAN over IPv4") {
  CHECK(PayloadForMtu(9000, 50 + 52) == 8898);
  CHECK(SegmentCount(65160, PayloadForMtu(9000, 50 + 52)) == 8);
  CHECK(SegmentCount(65160, 1448) == 45);
}

TEST_CASE("the headers of a parsed packet are counted as an MTU counts them") {
  const FrameSpec inner = {.tcp_options = Bytes(12, 1)};
  FrameSpec tagged = inner;
  tagged.vlans = {5, 6};
  const auto headers = [](const Bytes& frame) {
    Layers layers;
    REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
    return HeadersWithinMtu(layers);
  };
  CHECK(headers(TcpFrame(inner)) == 52);
  CHECK(headers(TcpFrame(tagged)) == 52);
  CHECK(headers(VxlanFrame({}, TcpFrame(inner))) == 102);
  CHECK(headers(VxlanFrame({.vlans = {7}}, TcpFrame(tagged))) == 110);
  CHECK(headers(GeneveFrame({.source = "::1", .destination = "::2"}, TcpFrame(inner), Bytes(4))) == 126);
}

TEST_CASE("an MTU that the headers fill leaves nothing, and a huge one what a length field can say") {
  CHECK(PayloadForMtu(52, 52) == 0);
  CHECK(PayloadForMtu(20, 52) == 0);
  CHECK(PayloadForMtu(53, 52) == 1);
  CHECK(PayloadForMtu(1 << 20, 52) == 0xffff);
}

TEST_CASE("an override counts where it is larger, and never moves a boundary of datagrams") {
  CHECK(SegmentSize({.mss = 1448}, L4Type::kTcp) == 1448);
  CHECK(SegmentSize({.mss = 1448, .mss_override = 8898}, L4Type::kTcp) == 8898);
  CHECK(SegmentSize({.mss = 1448, .mss_override = 1000}, L4Type::kTcp) == 1448);
  CHECK(SegmentSize({.mss = 1400, .mss_override = 8898}, L4Type::kUdp) == 1400);
}

TEST_CASE("what divides evenly has no short last segment, and nothing is one segment") {
  CHECK(SegmentCount(0, 10) == 1);
  CHECK(SegmentCount(10, 10) == 1);
  CHECK(SegmentCount(11, 10) == 2);
}

// Headers.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("segments of TCP count up, and only the ends carry what belongs there") {
  Bench bench;
  const FrameSpec spec = {.ip_id = 0xffff,
                          .sequence = 0xfffffff0,
                          .tcp_flags = TcpHeader::kAck | TcpHeader::kFin | TcpHeader::kPsh | TcpHeader::kCwr,
                          .payload_size = 250};
  const std::vector<Bytes> frames = bench.CutBytes(bench.Big(TcpFrame(spec), 100));
  REQUIRE(frames.size() == 3);
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(HeaderAt<Ipv4Header>(frames[i].data(), 14)->id.get() == static_cast<uint16_t>(0xffff + i));
    CHECK(TcpOf(frames[i]).sequence.get() == 0xfffffff0 + 100 * i);
  }
  CHECK(TcpOf(frames[0]).flags == (TcpHeader::kAck | TcpHeader::kCwr));
  CHECK(TcpOf(frames[1]).flags == TcpHeader::kAck);
  CHECK(TcpOf(frames[2]).flags == (TcpHeader::kAck | TcpHeader::kFin | TcpHeader::kPsh));
  CHECK(frames[2].size() == 54 + 50);
}

TEST_CASE("ids stay the same where that is asked and DF is set, inside and outside of a tunnel") {
  Bench bench;
  for (const bool dont_fragment : {true, false}) {
    for (const FixedIds ids : {FixedIds{.outer = true}, FixedIds{.inner = true}}) {
      const FrameSpec inner = {.ip_id = 7,
                               .flags_offset = dont_fragment ? Ipv4Header::kDontFragment : uint16_t{0},
                               .payload_size = 250};
      FrameSpec outer = inner;
      outer.ip_id = 70;
      PacketPtr big = bench.Big(VxlanFrame(outer, TcpFrame(inner)), 100);
      big->offload.fixed_ids = ids;
      const std::vector<Bytes> frames = bench.CutBytes(std::move(big));
      REQUIRE(frames.size() == 3);
      const Bytes& last = frames[2];
      CHECK(HeaderAt<Ipv4Header>(last.data(), 14)->id.get() == (ids.outer && dont_fragment ? 70 : 72));
      CHECK(HeaderAt<Ipv4Header>(last.data(), 64)->id.get() == (ids.inner && dont_fragment ? 7 : 9));
    }
  }
}

TEST_CASE("an urgent pointer counts from each segment, until it is passed") {
  Bench bench;
  Bytes frame = TcpFrame({.tcp_flags = TcpHeader::kAck | TcpHeader::kUrg, .payload_size = 300});
  HeaderAt<TcpHeader>(frame.data(), 34)->urgent = uint16_t{150};
  const std::vector<Bytes> frames = bench.CutBytes(bench.Big(frame, 100));
  REQUIRE(frames.size() == 3);
  CHECK(TcpOf(frames[0]).urgent.get() == 150);
  CHECK(TcpOf(frames[1]).urgent.get() == 50);
  CHECK(TcpOf(frames[1]).flags == (TcpHeader::kAck | TcpHeader::kUrg));
  CHECK(TcpOf(frames[2]).flags == TcpHeader::kAck);
  CHECK(TcpOf(frames[2]).urgent.get() == 0);
}

TEST_CASE("each segment of UDP is a datagram of its own") {
  Bench bench;
  const std::vector<Bytes> frames = bench.CutBytes(bench.Big(UdpFrame({.payload_size = 250}), 100));
  REQUIRE(frames.size() == 3);
  CHECK(HeaderAt<UdpHeader>(frames[0].data(), 34)->length.get() == 108);
  CHECK(HeaderAt<UdpHeader>(frames[2].data(), 34)->length.get() == 58);
}

// The kernel's form of more than 64 KiB: see parse_internal.h.
TEST_CASE("a jumbo payload option goes when the frame is cut") {
  Bench bench;
  FrameSpec spec = {.source = "2001:db8::1", .destination = "2001:db8::2", .payload_size = 70000};
  const Bytes plain = TcpFrame(spec);
  spec.extensions = {{IpProtocol::kHopByHop, {0, 0, 0xc2, 4, 0, 0, 0, 0}}};
  Bytes jumbo = TcpFrame(spec);
  *HeaderAt<Be32>(jumbo.data(), 14 + 40 + 4) = static_cast<uint32_t>(jumbo.size() - 54);
  HeaderAt<Ipv6Header>(jumbo.data(), 14)->payload_length = uint16_t{0};
  Layers layers;
  Bytes start = plain;  // lengths below play no part
  HeaderAt<Ipv6Header>(start.data(), 14)->payload_length = uint16_t{0};
  REQUIRE(Parse(start, static_cast<uint32_t>(start.size()), layers) == ParseVerdict::kOk);
  CHECK(bench.CutBytes(bench.Big(jumbo, 8000)) == CopyingSegment(plain, layers, 8000));
}

// Against the twin.
// ---------------------------------------------------------------------------------------------------------

// What both make of it, checksums finished. Of segments with the checksum left, it is finished as a device would.
void FinishLeft(Bench& bench, PacketPtr& segment) {
  if (!segment->offload.l4_checksum) return;
  CHECK(segment->l4_checksum == ChecksumVerdict::kPartial);
  segment = MakePacket(bench.pool(), BytesOf(*segment));
  REQUIRE(Parse(*segment) == ParseVerdict::kOk);
  REQUIRE(FillL4Checksum(*segment, LayerSet::kInnermost));
}

void CheckAgainstTwin(Bench& bench, Random& random, CountingLender& lender) {
  Bytes frame = RandomFrame(random);
  const Bytes before = frame;
  Layers layers;
  REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
  const auto size = static_cast<uint16_t>(10 + Below(random, Below(random, 3) == 0 ? 60000 : 1500));
  const bool ask = Below(random, 2) == 0;
  const FixedIds ids = {.outer = Below(random, 2) == 0, .inner = Below(random, 2) == 0};
  const std::vector<Bytes> expected = CopyingSegment(frame, layers, size, ask, ids);

  const uint32_t headers = Select(layers, LayerSet::kInnermost).payload;
  PacketPtr big = Bench::Asking(RandomlyCut(random, bench.pool(), frame, headers, lender), size);
  big->offload.l4_checksum = ask;
  big->offload.fixed_ids = ids;
  std::vector<PacketPtr> segments = bench.Cut(std::move(big), 1 + Below(random, Burst::kCapacity));
  if (segments.size() != expected.size()) FAIL(segments.size() << " segments, not " << expected.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    FinishLeft(bench, segments[i]);
    INFO("segment " << i << " of " << segments.size() << ", size " << size << ", asked " << ask);
    if (BytesOf(*segments[i]) != expected[i]) CHECK(BytesOf(*segments[i]) == expected[i]);
  }
  if (frame != before) FAIL("borrowed bytes were written");
}

TEST_CASE("segments equal those of the twin, for any headers, pieces and sizes") {
  Random random(PrintedSeed());
  const bool finish = GENERATE(true, false);
  Bench bench({.finish_checksums = finish});
  CountingLender lender;
  for (int round = 0; round < 300; ++round) CheckAgainstTwin(bench, random, lender);
  CHECK(lender.returned > 0);
  CHECK(bench.Full());
}

TEST_CASE("every checksum of every segment verifies, and the layers are as a parser finds them") {
  Random random(PrintedSeed());
  Bench bench;
  CountingLender lender;
  for (int round = 0; round < 100; ++round) {
    Bytes frame = RandomFrame(random);
    Layers layers;
    REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
    const uint32_t headers = Select(layers, LayerSet::kInnermost).payload;
    PacketPtr big = Bench::Asking(RandomlyCut(random, bench.pool(), frame, headers, lender), 700);
    for (const PacketPtr& segment : bench.Cut(std::move(big))) {
      const Layers given = segment->layers();
      REQUIRE(Parse(*segment) == ParseVerdict::kOk);
      CHECK(std::memcmp(&given, &segment->layers(), sizeof(Layers)) == 0);
      for (const LayerSet set : {LayerSet::kOuter, LayerSet::kInner}) {
        CHECK(VerifyIpv4Checksum(*segment, set) != ChecksumVerdict::kBad);
        CHECK(VerifyL4Checksum(*segment, set) != ChecksumVerdict::kBad);
      }
    }
  }
}

// Limits and refusals.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("what is no larger than a segment comes out as one, with its flags") {
  Bench bench;
  const Bytes frame =
      TcpFrame({.tcp_flags = TcpHeader::kSyn | TcpHeader::kUrg | TcpHeader::kCwr, .payload = "data"});
  CHECK(bench.CutBytes(bench.Big(frame, 1460)) == std::vector<Bytes>{frame});
  const Bytes empty = TcpFrame({.payload = ""});
  CHECK(bench.CutBytes(bench.Big(empty, 1460)) == std::vector<Bytes>{empty});
}

TEST_CASE("padding of a short frame is no payload") {
  Bench bench;
  const Bytes frame = TcpFrame({.payload = "x"});
  CHECK(bench.CutBytes(bench.Big(Padded(frame), 1460)) == std::vector<Bytes>{frame});
}

TEST_CASE("what cannot be cut is refused, and left as it was") {
  Bench bench;
  constexpr auto kUnsupported = DropReason::kUnsupportedOffload;
  const FrameSpec big = {.payload_size = 300};
  FrameSpec authenticated = {.source = "::1", .destination = "::2", .payload_size = 300};
  authenticated.extensions = {{IpProtocol::kAuthentication,
                               {0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}};
  CHECK(bench.Refusal(IcmpFrame(big)) == kUnsupported);
  CHECK(bench.Refusal(UdpFrame({.flags_offset = Ipv4Header::kMoreFragments, .payload_size = 300})) ==
        kUnsupported);
  CHECK(bench.Refusal(TcpFrame({.tcp_flags = TcpHeader::kSyn, .payload_size = 300})) == kUnsupported);
  CHECK(bench.Refusal(TcpFrame({.tcp_flags = TcpHeader::kRst, .payload_size = 300})) == kUnsupported);
  CHECK(bench.Refusal(TcpFrame(authenticated)) == kUnsupported);
  CHECK(bench.Refusal(GreFrame({}, TcpFrame(big), Ethertype::kBridging, GreHeader::kSequence)) ==
        kUnsupported);
  CHECK(bench.Refusal(TcpFrame(big), 0) == kUnsupported);
  CHECK(bench.Refusal(Padded(TcpFrame(big), 400)) == DropReason::kMalformed);
  Bytes broken = VxlanFrame({}, TcpFrame(big));
  broken[64] = 0x4f;  // the inner IP header reaches past what is there
  HeaderAt<Be16>(broken.data(), 66)->set(30);
  CHECK(bench.Refusal(broken) == DropReason::kMalformed);
}

TEST_CASE("more segments than allowed are refused, and exactly as many are not") {
  Bench bench({.max_segments = 3});
  CHECK(bench.Refusal(TcpFrame({.payload_size = 301})) == DropReason::kUnsupportedOffload);
  CHECK(bench.CutBytes(bench.Big(TcpFrame({.payload_size = 300}), 100)).size() == 3);
}

TEST_CASE("headers that do not fit a buffer, and lengths that do not fit their fields, are refused") {
  Bench small({}, {.packets = 64, .buffer_size = 256, .headroom = 192});
  Bench other;
  PacketPtr big = other.Big(TcpFrame({.tcp_options = Bytes(12, 1), .payload_size = 300}), 100);
  CHECK(small.segmenter().Begin(big) == DropReason::kTooLong);

  Bytes frame = TcpFrame({.payload_size = 70000});
  HeaderAt<Ipv4Header>(frame.data(), 14)->total_length = uint16_t{0};
  CHECK(other.Refusal(frame, 65500) == DropReason::kTooLong);
  CHECK(other.CutBytes(other.Big(frame, 65495)).size() == 2);
}

TEST_CASE("segments keep what is known of the packet, but not that it was to be cut") {
  Bench bench;
  PacketPtr big = bench.Big(TcpFrame({.payload_size = 150}), 100);
  big->ingress_port = PortId(7);
  big->offload.insert_vlan = true;
  big->vlan_tci = 99;
  big->set_mark(5);
  big->set_coalesced(2, 100);
  for (const PacketPtr& segment : bench.Cut(std::move(big))) {
    CHECK((segment->ingress_port == PortId(7) && segment->vlan_tci == 99 && segment->mark() == 5));
    CHECK((segment->offload.insert_vlan && !segment->offload.segment && !segment->offload.l4_checksum));
    CHECK(segment->coalesced_segments() == 0);
  }
}

// Memory.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE(
    "headers of segments are put apart where a buffer has room for it, and lie behind the headroom anyway") {
  const bool roomy = GENERATE(true, false);
  Bench bench({}, {.packets = 256, .buffer_size = roomy ? 2048u : 256u, .headroom = 128});
  std::set<size_t> places;
  for (const PacketPtr& segment : bench.Cut(bench.Big(TcpFrame({.payload_size = 3200}), 100, 128))) {
    places.insert(segment->headroom());
    CHECK(segment->tailroom() == segment->buffer_size() - segment->headroom() - segment->head_length());
  }
  CHECK(*places.begin() >= 128);
  CHECK((places.size() > 1) == roomy);
}

TEST_CASE("payload stays where it is") {
  Bench bench;
  PacketPtr big = bench.Big(TcpFrame({.payload_size = 1000}), 300);
  const uint8_t* const payload = big->data() + 54;
  const std::vector<PacketPtr> segments = bench.Cut(std::move(big));
  REQUIRE(segments.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(segments[i]->next()->data() == payload + 300 * i);
}

TEST_CASE("a segment that is owned no longer holds the big packet") {
  Bench bench;
  std::vector<PacketPtr> segments = bench.Cut(bench.Big(TcpFrame({.payload_size = 150}), 100));
  const Bytes first = BytesOf(*segments[0]);
  REQUIRE(segments[0]->Own());
  segments.pop_back();
  CHECK(bench.pool().available() == 4096 - 2);
  CHECK(BytesOf(*segments[0]) == first);
}

TEST_CASE("a segment can be cut again, and each level lives as long as the next needs it") {
  Bench bench;
  const Bytes frame = VxlanFrame({}, TcpFrame({.payload_size = 9000}));
  Layers layers;
  REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
  std::vector<PacketPtr> large = bench.Cut(bench.Big(frame, 3000));
  std::vector<Bytes> small;
  for (PacketPtr& segment : large) {
    for (Bytes& bytes : bench.CutBytes(Bench::Asking(std::move(segment), 1000)))
      small.push_back(std::move(bytes));
  }
  std::vector<Bytes> expected = CopyingSegment(frame, layers, 1000);
  REQUIRE(small.size() == expected.size());
  for (size_t i = 0; i < small.size(); ++i) {  // identifications were counted at each level
    const size_t payload = layers.inner.payload;
    CHECK(Bytes(small[i].begin() + static_cast<std::ptrdiff_t>(payload), small[i].end()) ==
          Bytes(expected[i].begin() + static_cast<std::ptrdiff_t>(payload), expected[i].end()));
  }
  CHECK(bench.Full());
}

TEST_CASE("when the pool runs dry the rest is lost, counted, and nothing leaks") {
  for (uint32_t packets = 4; packets < 40; ++packets) {
    Bench bench({}, {.packets = packets, .buffer_size = 4096});
    PacketPtr big = bench.Big(TcpFrame({.payload_size = 3000}), 200);
    const std::vector<PacketPtr> segments = bench.Cut(std::move(big));
    CHECK(segments.size() + bench.segmenter().lost() == 15);
    CHECK(segments.size() == std::min<size_t>((packets - 1) / 2, 15));
    for (const PacketPtr& segment : segments) CHECK(Parse(*segment) == ParseVerdict::kOk);
  }
}

TEST_CASE("segments are charged to their owner, whose allowance limits them") {
  auto budget = BudgetBook::Create({}).value();
  REQUIRE(budget->SetAllowance(OwnerId(3), 8 * 2048).ok());
  Bench bench({.owner = OwnerId(3)}, {.packets = 256, .budget = budget.get()});
  {
    const std::vector<PacketPtr> segments = bench.Cut(bench.Big(TcpFrame({.payload_size = 1000}), 100));
    CHECK(segments.size() < 10);
    CHECK(segments.size() + bench.segmenter().lost() == 10);
    CHECK(budget->Use(OwnerId(3)).used == segments.size() * 2 * 2048);
  }
  CHECK(budget->Use(OwnerId(3)).used == 0);
  CHECK(bench.Full());
}

TEST_CASE("a packet that is given up half way frees all that it held") {
  auto pool = SmallPool();
  {
    Segmenter segmenter({.pool = pool.get()});
    PacketPtr big = Bench::Asking(MakePacket(*pool, TcpFrame({.payload_size = 1000})), 10);
    REQUIRE(segmenter.Begin(big) == std::nullopt);
    Burst burst;
    CHECK(segmenter.Next(burst) == Burst::kCapacity);
    CHECK_FALSE(segmenter.done());
  }
  CHECK(pool->available() == 256);
}

TEST_CASE("cutting allocates nothing") {
  Bench bench;
  PacketPtr big = bench.Big(TcpFrame({.payload_size = 9000}), 1000);
  Burst burst;
  const AllocationCounter counter;
  REQUIRE(bench.segmenter().Begin(big) == std::nullopt);
  CHECK(bench.segmenter().Next(burst) == 9);
  burst.Clear();
  CHECK(counter.allocations() == 0);
}

TEST_CASE("segments may be freed by several threads, and the last of them frees the big packet") {
  Bench bench;
  PacketQueue queues[2];
  std::vector<std::thread> threads;
  for (PacketQueue& queue : queues) {
    threads.emplace_back([&queue] {
      for (Burst burst = queue.Pop(); !burst.empty(); burst = queue.Pop()) burst.Clear();
    });
  }
  for (int round = 0; round < 200; ++round) {
    PacketPtr big = bench.Big(TcpFrame({.payload_size = 4000}), 100, 1500);
    REQUIRE(bench.segmenter().Begin(big) == std::nullopt);
    Burst all;
    while (!bench.segmenter().done()) bench.segmenter().Next(all);
    REQUIRE(all.size() == 40);
    Burst half;
    all.MoveFront(20, half);
    queues[0].Push(half);
    queues[1].Push(all);
  }
  for (PacketQueue& queue : queues) {
    Burst none;
    queue.Push(none);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(bench.Full());
}

}  // namespace
}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// Receive coalescing in the model, and what becomes of its packets when they are sent on.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "sluice/base/status.h"
#include "sluice/packet/budget.h"
#include "tests/nic/model_pair.h"
#include "tests/support/frame_train.h"
#include "tests/support/seed.h"
#include "tests/support/simple_coalescer.h"

namespace sluice::testing {
namespace {

constexpr PairOptions kCable = {.name = "cable", .carries_offloads = false, .carries_fragments = false};
constexpr OwnerId kGuest{7};
constexpr uint32_t kBuffer = 2048;
const CoalesceOptions kTcpOnly = {.udp = false};

ModelPairOptions Coalescing(const CoalesceOptions& options, uint16_t queues = 1,
                            const Clock* clock = nullptr) {
  return {.b = {.clock = clock, .coalesce = options}, .b_queues = {.rx_queues = queues}};
}

// In bursts, so that a receiver finds them all waiting.
void Send(ModelPair& pair, const std::vector<Bytes>& frames) {
  for (size_t sent = 0; sent < frames.size();) {
    Burst burst;
    while (sent < frames.size() && burst.room() > 0) burst.Push(pair.Packet(frames[sent++]));
    pair.a().tx(QueueId{0}).Send(burst);
    REQUIRE(burst.empty());
  }
}

// All that comes, from queue after queue.
std::vector<PacketPtr> ReceiveAll(ModelPair& pair) {
  std::vector<PacketPtr> packets;
  for (uint16_t queue = 0; queue < pair.b().rx_count(); ++queue) {
    for (Burst burst; !burst.empty() || pair.b().rx(QueueId{queue}).Receive(burst) > 0;)
      packets.push_back(burst.PopFront());
  }
  return packets;
}

std::vector<uint16_t> Segments(const std::vector<PacketPtr>& packets) {
  std::vector<uint16_t> segments;
  for (const PacketPtr& packet : packets) segments.push_back(packet->coalesced_segments());
  return segments;
}

TEST_CASE("frames of a flow are received as one packet, which is right and asks to be cut again") {
  const auto queues = GENERATE(uint16_t{1}, uint16_t{4});
  const bool verify = GENERATE(false, true);
  ModelPairOptions options = Coalescing(kTcpOnly, queues);
  options.b.verify_checksums = verify;
  ModelPair pair(options);
  const std::vector<Bytes> frames = FrameTrain(TcpFrame, {}, 5);
  Send(pair, frames);
  const std::vector<PacketPtr> packets = ReceiveAll(pair);
  REQUIRE(Segments(packets) == std::vector<uint16_t>{5});
  const Packet& joined = *packets[0];
  CHECK(BytesOf(joined) == JoinFrames(frames));
  CHECK(joined.coalesced_size() == 100);
  CHECK(joined.l4_checksum == ChecksumVerdict::kGood);
  CHECK((joined.offload.segment && joined.offload.mss == 100));
  CHECK_FALSE((joined.offload.l4_checksum || joined.offload.l3_checksum || joined.offload.outer_checksum));
  CHECK((joined.rss_type == RssType::kIpv4Tcp) == (queues > 1));
  const QueueStats stats = pair.b().rx(joined.ingress_queue).stats();
  CHECK(stats.packets == 1);
  CHECK(stats.bytes == joined.length());
}

TEST_CASE("what cannot be joined comes as it was sent, and asks for nothing") {
  ModelPair pair(Coalescing(kTcpOnly));
  const std::vector<Bytes> frames = {TcpFrame({}), UdpFrame({.ip_id = 1}), UdpFrame({.ip_id = 2}),
                                     Padded(ArpFrame({})), Cut(TcpFrame({}), 20)};
  Send(pair, frames);
  std::vector<Bytes> received;
  for (const PacketPtr& packet : ReceiveAll(pair)) {
    CHECK_FALSE(packet->offload.any());
    CHECK(packet->coalesced_segments() == 0);
    received.push_back(BytesOf(*packet));
  }
  std::sort(received.begin(), received.end());
  std::vector<Bytes> sent = frames;
  std::sort(sent.begin(), sent.end());
  CHECK((received == sent));
}

TEST_CASE("datagrams are joined where that is asked") {
  const bool udp = GENERATE(false, true);
  ModelPair pair(Coalescing({.udp = udp}));
  Send(pair, FrameTrain(UdpFrame, {}, 3));
  CHECK(Segments(ReceiveAll(pair)) == (udp ? std::vector<uint16_t>{3} : std::vector<uint16_t>{0, 0, 0}));
}

TEST_CASE("nothing is joined unless it is asked") {
  ModelPair pair;
  Send(pair, FrameTrain(TcpFrame, {}, 3));
  CHECK(Segments(ReceiveAll(pair)) == std::vector<uint16_t>{0, 0, 0});
}

TEST_CASE(
    "segments whose checksum is bad are dropped where that is asked, and the others joined around them") {
  ModelPairOptions options = Coalescing(kTcpOnly);
  options.b.verify_checksums = options.b.drop_bad_checksums = true;
  ModelPair pair(options);
  std::vector<Bytes> frames = FrameTrain(TcpFrame, {}, 5);
  frames[2].back() ^= 1;
  Send(pair, frames);
  CHECK(Segments(ReceiveAll(pair)) == std::vector<uint16_t>{2, 2});
  CHECK(pair.b().drops()[DropReason::kBadChecksum] == 1);
}

// What is held, and when it comes.
// ---------------------------------------------------------------------------------------------------------

// A burst of 64 that fills what Receive takes from the wire at once: 10 segments of a flow that wait for more, and 54 of
// another that are complete.
constexpr uint16_t kWaiting = 10;
constexpr uint16_t kComplete = 54;

std::vector<Bytes> FullBurst(uint16_t round) {
  const auto at = [round](uint16_t i, uint16_t n) { return static_cast<size_t>(round * n + i); };
  std::vector<Bytes> frames;
  for (uint16_t i = 0; round == 0 && i < kWaiting; ++i)
    frames.push_back(TcpFrame(SegmentOf({.source_port = 1}, i, 20)));
  while (frames.size() < Burst::kCapacity) {
    const auto i = static_cast<uint16_t>(frames.size());
    FrameSpec spec = SegmentOf({.source_port = 2}, at(i, 64), 20);
    if (frames.size() + 1 == Burst::kCapacity) spec.tcp_flags |= TcpHeader::kPsh;
    frames.push_back(TcpFrame(spec));
  }
  return frames;
}

// A receiver behind a wire on which there is always more.
class Busy {
 public:
  explicit Busy(absl::Duration max_age) : pair_(Options(max_age, clock_)) { Feed(), Feed(); }

  void Feed() { Send(pair_, FullBurst(round_++)); }
  // Segments of what one Receive brings.
  std::vector<uint16_t> Receive() {
    Burst burst;
    queue().Receive(burst);
    std::vector<uint16_t> segments;
    for (const Packet* packet : burst) segments.push_back(packet->coalesced_segments());
    return segments;
  }
  RxQueue& queue() { return pair_.b().rx(QueueId{0}); }
  ModelPair& pair() { return pair_; }
  ManualClock& clock() { return clock_; }

 private:
  static ModelPairOptions Options(absl::Duration max_age, const Clock& clock) {
    return Coalescing({.max_segments = 1024, .max_age = max_age}, 1, &clock);
  }

  ManualClock clock_;
  ModelPair pair_;
  uint16_t round_ = 0;
};

TEST_CASE("while more is waiting a flow may wait for more, until it has its age") {
  Busy busy(absl::Microseconds(50));
  CHECK(busy.Receive() == std::vector<uint16_t>{kComplete});
  busy.clock().Advance(absl::Microseconds(49));
  CHECK(busy.Receive() == std::vector<uint16_t>{64});
  busy.Feed();
  busy.clock().Advance(absl::Microseconds(1));
  CHECK(busy.Receive() == std::vector<uint16_t>{64, kWaiting});
}

TEST_CASE("without an age nothing waits longer than a call") {
  Busy busy(absl::ZeroDuration());
  CHECK(busy.Receive() == std::vector<uint16_t>{kComplete, kWaiting});
}

TEST_CASE("when nothing more is waiting all comes out, whatever its age") {
  Busy busy(absl::Seconds(1));
  busy.Receive();
  busy.Receive();
  CHECK(busy.Receive() == std::vector<uint16_t>{kWaiting});
  CHECK(busy.Receive().empty());
}

TEST_CASE("a queue that holds packets does not go to sleep") {
  Busy busy(absl::Seconds(1));
  busy.Receive();
  CHECK(busy.Receive() == std::vector<uint16_t>{64});  // the last on the wire
  CHECK_FALSE(busy.queue().Arm());
  CHECK(busy.Receive() == std::vector<uint16_t>{kWaiting});
  CHECK(busy.queue().Arm());
}

TEST_CASE("Stop counts the frames that are held, and those on the wire") {
  Busy busy(absl::Seconds(1));
  busy.Receive();
  CHECK(busy.pair().b().Stop() == absl::OkStatus());
  CHECK(busy.pair().b().drops()[DropReason::kStopped] == kWaiting + 64);
  CHECK(busy.pair().b().rx(QueueId{0}).stats().drops[DropReason::kStopped] == kWaiting);
}

TEST_CASE("a burst without much room loses nothing and keeps the order") {
  ModelPair pair(Coalescing({.flows = 4}));
  std::vector<Bytes> frames;
  for (uint16_t i = 0; i < 100; ++i)
    frames.push_back(TcpFrame({.source_port = static_cast<uint16_t>(i % 20)}));
  Send(pair, frames);
  Burst all;
  std::map<uint16_t, int> seen;
  for (size_t i = 0; i < frames.size(); ++i) {
    Burst burst;
    pair.pool().Get(burst, Burst::kCapacity - 1);
    REQUIRE(pair.b().rx(QueueId{0}).Receive(burst) == 1);
    ++seen[HeaderAt<TcpHeader>(burst[Burst::kCapacity - 1].data(), 34)->source_port.get()];
  }
  CHECK(seen.size() == 20);
  CHECK(std::all_of(seen.begin(), seen.end(), [](const auto& flow) { return flow.second == 5; }));
  CHECK(ReceiveAll(pair).empty());
}

// With an owner who pays.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("what is joined is charged by its buffers, and an allowance that is short ends the waiting") {
  auto book = BudgetBook::Create({.bytes = 1 << 24}).value();
  REQUIRE(book->SetAllowance(kGuest, 4 * kBuffer) == absl::OkStatus());
  ModelPairOptions options = Coalescing({.max_age = absl::Seconds(1)});
  options.b_queues.owner = kGuest;
  options.pool.budget = book.get();
  ModelPair pair(options);
  Send(pair, FrameTrain(TcpFrame, {}, 10));
  std::vector<uint16_t> segments;
  for (Burst burst; pair.b().rx(QueueId{0}).Receive(burst) > 0; burst.Clear()) {
    REQUIRE(burst.size() == 1);
    segments.push_back(burst[0].coalesced_segments());
    CHECK(book->Use(kGuest).used == uint64_t{segments.back()} * kBuffer);
  }
  CHECK(segments == std::vector<uint16_t>{4, 4, 2});
  CHECK(book->Use(kGuest).used == 0);
}

// Sent on.
// ---------------------------------------------------------------------------------------------------------

struct Kind {
  const char* name;
  FrameMaker make;
  FrameSpec spec;
};

std::vector<Kind> Kinds() {
  const FrameSpec v6 = {.source = "2001:db8::1", .destination = "2001:db8::2"};
  const FrameMaker vxlan = [](const FrameSpec& inner) {
    return VxlanFrame({.ip_id = inner.ip_id, .zero_udp_checksum = true}, TcpFrame(inner), 42);
  };
  const FrameMaker geneve = [](const FrameSpec& inner) {
    return GeneveFrame({.source = "fd00::1", .destination = "fd00::2"}, TcpFrame(inner),
                       {0, 1, 0, 1, 1, 2, 3, 4});
  };
  const FrameMaker still = [](FrameSpec spec) {
    spec.ip_id = 0, spec.flags_offset = Ipv4Header::kDontFragment;
    return TcpFrame(spec);
  };
  const FrameMaker still_inside = [still](const FrameSpec& inner) {
    return VxlanFrame({.ip_id = inner.ip_id}, still(inner), 42);
  };
  return {{"TCP, ids that stay", still, {}},
          {"VXLAN, ids that stay inside", still_inside, {}},
          {"TCP over IPv4", TcpFrame, {.ip_id = 65533, .sequence = 0xffffff00u}},
          {"TCP over IPv6", TcpFrame, v6},
          {"TCP with tags", TcpFrame, {.vlans = {7, 8}}},
          {"UDP", UdpFrame, {}},
          {"UDP without checksum", UdpFrame, {.zero_udp_checksum = true}},
          {"UDP over IPv6", UdpFrame, v6},
          {"VXLAN", vxlan, {}},
          {"Geneve over IPv6", geneve, v6}};
}

// Receives at `from` and sends at `to`; returns whether all was joined.
bool Forward(ModelPair& from, ModelPair& to) {
  std::vector<PacketPtr> packets = ReceiveAll(from);
  const bool joined = packets.size() == 1 && packets[0]->coalesced_segments() > 1;
  for (PacketPtr& packet : packets) to.Send(std::move(packet));
  return joined;
}

std::vector<Bytes> Arrivals(ModelPair& pair) {
  std::vector<Bytes> frames;
  for (const PacketPtr& packet : ReceiveAll(pair)) {
    CHECK_FALSE(packet->offload.any());
    frames.push_back(BytesOf(*packet));
  }
  return frames;
}

TEST_CASE("what was joined goes out of a port that cannot segment as the frames that came in") {
  ModelPairOptions plain = {.wire = kCable};
  SECTION("over a cable") {}
  SECTION("by hardware that segments nothing") {
    plain = {.a = {.hardware = {.send_checksums = false, .segmentation = false}}};
  }
  SECTION("by hardware that can do nothing") {
    plain = {.a = {.hardware = ModelHardware::Poor()}, .a_queues = {.rx_ring = 64, .tx_ring = 64}};
  }
  ModelPair in(Coalescing({}));
  ModelPair out(plain);
  for (const Kind& kind : Kinds()) {
    INFO(kind.name);
    std::vector<Bytes> frames = FrameTrain(kind.make, kind.spec, 6, 333);
    FrameSpec last = SegmentOf(kind.spec, 6, 333);
    last.bytes.resize(10);
    last.tcp_flags |= TcpHeader::kPsh;
    frames.push_back(kind.make(last));
    Send(in, frames);
    CHECK(Forward(in, out));
    CHECK((Arrivals(out) == frames));
  }
  CHECK(out.SendDrops().total() == 0);
}

TEST_CASE("over a wire in memory what was joined crosses whole, and the next port cuts it") {
  const bool fragments = GENERATE(true, false);
  ModelPair in(Coalescing({}));
  ModelPair between({.b = {.verify_checksums = true}, .wire = {.carries_fragments = fragments}});
  ModelPair out({.wire = kCable});
  for (const Kind& kind : Kinds()) {
    INFO(kind.name);
    const std::vector<Bytes> frames = FrameTrain(kind.make, kind.spec, 12, 500);
    Send(in, frames);
    CHECK(Forward(in, between));
    CHECK(Forward(between, out) == fragments);
    std::vector<Bytes> arrived = Arrivals(out);
    CHECK((arrived == frames));
  }
}

// Whatever comes.
// ---------------------------------------------------------------------------------------------------------

// A sender of flows whose segments follow one another, mostly.
class Flows {
 public:
  explicit Flows(Random& random) : random_(random) {}

  Bytes Next() {
    const size_t flow = Below(random_, sent.size());
    FrameSpec spec = SegmentOf({.source_port = static_cast<uint16_t>(flow)}, number_[flow]++, 20 + flow);
    if (Below(random_, 10) == 0) spec.tcp_flags |= TcpHeader::kPsh;
    if (Below(random_, 10) == 0) spec.bytes.resize(1 + Below(random_, 20));
    if (Below(random_, 20) == 0) spec.ttl = 9;
    sent[flow].push_back(TcpFrame(spec));
    return sent[flow].back();
  }

  std::vector<std::vector<Bytes>> sent{12};

 private:
  Random& random_;
  std::array<size_t, 12> number_{};
};

size_t FlowOf(const Bytes& frame) { return HeaderAt<TcpHeader>(frame.data(), 34)->source_port.get(); }

TEST_CASE("every flow's frames come, as they were and in order, however they are polled") {
  Random random(PrintedSeed());
  for (int round = 0; round < 12; ++round) {
    ManualClock clock;
    const auto queues = static_cast<uint16_t>(1 + Below(random, 4));
    ModelPair pair(Coalescing({.flows = static_cast<uint32_t>(1 + Below(random, 16)),
                               .max_segments = static_cast<uint16_t>(2 + Below(random, 30))},
                              queues, &clock));
    Flows flows(random);
    std::vector<std::vector<Bytes>> received(flows.sent.size());
    const auto take = [&](const Packet& packet) {
      const Coalesced one = {BytesOf(packet), packet.coalesced_segments(), packet.coalesced_size(),
                             packet.coalesced_ids()};
      for (Bytes& frame : one.Undone()) received[FlowOf(frame)].push_back(std::move(frame));
    };
    for (int step = 0; step < 40; ++step) {
      std::vector<Bytes> frames(Below(random, 90));
      for (Bytes& frame : frames) frame = flows.Next();
      Send(pair, frames);
      Burst burst;
      pair.b().rx(QueueId{static_cast<uint16_t>(Below(random, queues))}).Receive(burst);
      for (const Packet* packet : burst) take(*packet);
      clock.Advance(absl::Microseconds(Below(random, 30)));
    }
    for (const PacketPtr& packet : ReceiveAll(pair)) take(*packet);
    for (const PacketPtr& packet : ReceiveAll(pair)) take(*packet);
    CHECK((received == flows.sent));
    CHECK(pair.b().drops().total() == 0);
  }
}

}  // namespace
}  // namespace sluice::testing

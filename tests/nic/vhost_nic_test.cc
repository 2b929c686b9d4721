// SPDX-License-Identifier: Apache-2.0
// What a vhost-user port does beyond the promises of every Nic (vhost_nic.h).
#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "sluice/control/open_port.h"
#include "tests/nic/vhost_pair.h"
#include "tests/support/allocation_counter.h"

namespace sluice {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::kVirtioUserFeatures;
using testing::kVirtioUserProtocol;
using testing::MakePacket;
using testing::TcpFrame;
using testing::UdpFrame;
using testing::VhostPair;
namespace feature = testing::feature;

constexpr uint64_t kTracked = BitOf(VhostProtocolFeature::kInflightShmfd);
constexpr uint64_t kSplit = kVirtioUserFeatures & ~feature::kPacked;

Bytes Flow(uint16_t number) { return UdpFrame({.source_port = number}); }

QueueOptions Queues(uint16_t count) { return {.rx_queues = count, .tx_queues = count}; }

// Numbers of the rings at which some of `flows` flows, sent by queue 0 of the port, came to the guest.
std::set<uint16_t> RingsReached(VhostPair& pair, uint16_t flows) {
  for (uint16_t i = 0; i < flows; ++i) pair.FromPort(Flow(i));
  std::set<uint16_t> reached;
  for (uint16_t ring = 0; ring < pair.guest().rx_count(); ++ring) {
    if (VhostPair::CountWaiting(pair.guest(), ring) > 0) reached.insert(ring);
  }
  return reached;
}

bool Told(const std::vector<NicEvent>& events, NicEvent::Kind kind, const std::string& words) {
  return std::any_of(events.begin(), events.end(), [&](const NicEvent& event) {
    return event.kind == kind && event.detail.find(words) != std::string::npos;
  });
}

// A TCP frame of `payload` bytes that asks to be cut.
PacketPtr ToBeCut(PacketPool& pool, size_t payload, uint16_t mss) {
  PacketPtr packet = MakePacket(pool, TcpFrame({.payload_size = payload}));
  packet->offload = {.l4_checksum = true, .l3_checksum = true, .segment = true, .mss = mss};
  return packet;
}

}  // namespace

TEST_CASE("options out of range are refused by name") {
  for (const VhostNicOptions& wrong :
       {VhostNicOptions{}, VhostNicOptions{.path = "x", .mtu = 10}, VhostNicOptions{.path = "x", .pairs = 0},
        VhostNicOptions{.path = "x", .pairs = 65},
        VhostNicOptions{.path = "x", .checksums = Want::kOff, .tso = Want::kRequire}}) {
    const absl::StatusOr<std::unique_ptr<VhostNic>> refused = OpenVhostNic(wrong);
    CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_FALSE(ProblemOf(refused.status())->capability.empty());
  }
}

TEST_CASE("a vhost-user port is opened by its text") {
  const absl::StatusOr<std::unique_ptr<Nic>> port =
      OpenPort("vhost:/tmp/guest.sock,role=client,packed=prefer,copy-up-to=1600");
  REQUIRE(port.ok());
  CHECK((*port)->name() == "vhost /tmp/guest.sock");
  for (const char* wrong : {"role=master", "copy-up-to=all"}) {
    CHECK(OpenPort(absl::StrCat("vhost:/tmp/guest.sock,", wrong)).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("a guest with fewer queue pairs than the port has queues is served by all of them") {
  VhostPair pair({.port_queues = Queues(4), .guest_queues = Queues(1)});
  for (uint16_t queue = 0; queue < 4; ++queue) pair.FromPort(Flow(queue), queue);
  CHECK(VhostPair::CountWaiting(pair.guest(), 0) == 4);
  pair.FromGuest(Flow(9));
  CHECK(pair.ReceiveOne(0) != nullptr);
}

TEST_CASE("flows spread over the rings of a guest with more queue pairs than the port has queues") {
  VhostPair pair({.guest_queues = Queues(4)});
  CHECK(RingsReached(pair, 64) == std::set<uint16_t>{0, 1, 2, 3});
  for (uint16_t queue = 0; queue < 4; ++queue) pair.FromGuest(Flow(queue), queue);
  CHECK(VhostPair::CountWaiting(pair.port(), 0) == 4);
}

TEST_CASE("a flow keeps to one ring, and its order") {
  VhostPair pair({.guest_queues = Queues(4)});
  for (uint16_t i = 0; i < 20; ++i) pair.FromPort(UdpFrame({.ip_id = i}));
  uint16_t next = 0;
  for (uint16_t ring = 0; ring < 4; ++ring) {
    for (Burst burst; pair.guest().rx(QueueId{ring}).Receive(burst) > 0; burst.Clear()) {
      for (const Packet* packet : burst) CHECK(packet->data()[19] == next++);
    }
  }
  CHECK(next == 20);
}

TEST_CASE("each queue of the port polls its share of the guest's rings") {
  VhostPair pair({.port_queues = Queues(2), .guest_queues = Queues(4)});
  for (uint16_t queue = 0; queue < 4; ++queue) pair.FromGuest(Flow(queue), queue);
  CHECK(VhostPair::CountWaiting(pair.port(), 0) == 2);
  CHECK(VhostPair::CountWaiting(pair.port(), 1) == 2);
}

TEST_CASE("a ring that the guest disables gets nothing, and what it sends is discarded and counted") {
  VhostPair pair({.guest_queues = Queues(2)});
  pair.guest().EnableRing(2, false);
  pair.guest().EnableRing(3, false);
  pair.Settle();
  CHECK(pair.port().report().pairs_enabled == 1);
  CHECK(RingsReached(pair, 64) == std::set<uint16_t>{0});
  pair.FromGuest(Flow(1), 1);
  CHECK(pair.ReceiveOne() == nullptr);
  CHECK(pair.port().drops()[DropReason::kLinkDown] == 1);

  pair.guest().EnableRing(2, true);
  pair.guest().EnableRing(3, true);
  pair.Settle();
  CHECK(RingsReached(pair, 64) == std::set<uint16_t>{0, 1});
  pair.FromGuest(Flow(1), 1);
  CHECK(pair.ReceiveOne() != nullptr);
}

TEST_CASE("long payload is lent by the guest until the packet is freed") {
  VhostPair pair({.port = {.copy_up_to = 500}, .guest = {.features = kSplit}});
  const Bytes frame = UdpFrame({.payload_size = 1400});
  pair.FromGuest(frame);
  PacketPtr lent = pair.ReceiveOne();
  REQUIRE(lent != nullptr);
  CHECK_FALSE(lent->borrows());  // the headers
  REQUIRE(lent->next() != nullptr);
  CHECK(lent->next()->borrows());
  CHECK(BytesOf(*lent) == frame);
  CHECK(pair.guest().tx(QueueId{0}).Reclaim() == 0);

  lent.reset();
  CHECK(pair.ReceiveOne() == nullptr);  // which gives it back
  CHECK(pair.guest().tx(QueueId{0}).Reclaim() == 1);
}

TEST_CASE("of what the guest lends only the headers count as copied") {
  constexpr uint64_t kHeadBytes = 256;
  VhostPair pair({.port = {.copy_up_to = 500}, .guest = {.features = kSplit}});
  pair.FromGuest(UdpFrame({.payload_size = 1400}));
  CHECK(pair.ReceiveOne() != nullptr);
  CHECK(pair.port().rx(QueueId{0}).stats().copied == kHeadBytes);
  const Bytes brief = UdpFrame({.payload_size = 100});
  pair.FromGuest(brief);
  CHECK(pair.ReceiveOne() != nullptr);
  CHECK(pair.port().rx(QueueId{0}).stats().copied == kHeadBytes + brief.size());
  pair.FromPort(brief);
  CHECK(pair.port().tx(QueueId{0}).stats().copied == brief.size());
}

TEST_CASE("payload that is lent crosses to another guest, and memory that goes waits for it") {
  VhostPair from({.port = {.copy_up_to = 500}});
  VhostPair to;
  const Bytes frame = UdpFrame({.payload_size = 1400});
  from.FromGuest(frame);
  PacketPtr lent = from.ReceiveOne();
  REQUIRE(lent != nullptr);
  from.guest().Vanish();
  REQUIRE(from.Until([&] { return from.port().link() == LinkState::kDown; }));
  to.FromPort(std::move(lent));
  const PacketPtr arrived = to.GuestReceivesOne();
  REQUIRE(arrived != nullptr);
  CHECK(BytesOf(*arrived) == frame);
}

TEST_CASE("a big frame goes uncut to a guest that takes it, and cut to any other") {
  constexpr uint16_t kMss = 1000;
  constexpr size_t kSegments = 20;
  const bool takes = GENERATE(true, false);
  VhostPair pair({.guest = {.features = takes ? kSplit : kSplit & ~feature::kGuestTso}});
  pair.FromPort(ToBeCut(pair.port_pool(), kSegments * kMss, kMss));
  CHECK(VhostPair::CountWaiting(pair.guest(), 0) == (takes ? 1 : kSegments));
  CHECK(pair.port().tx(QueueId{0}).stats().packets == 1);
}

// RFC 3168, 6.1.2: CWR is of the first segment only, and who cuts has to know.
TEST_CASE("a guest that does not know of congestion marks gets frames with CWR cut, and others uncut") {
  const bool marked = GENERATE(true, false);
  VhostPair pair({.guest = {.features = kSplit & ~feature::kGuestEcn}});
  PacketPtr packet = ToBeCut(pair.port_pool(), 3000, 1000);
  if (marked) packet->data()[14 + 20 + 13] |= TcpHeader::kCwr;
  pair.FromPort(std::move(packet));
  CHECK(VhostPair::CountWaiting(pair.guest(), 0) == (marked ? 3 : 1));
}

TEST_CASE("segments for which the guest has no buffers yet follow when it has") {
  VhostPair pair({.guest = {.features = kSplit & ~feature::kGuestTso}, .guest_queues = {.rx_ring = 8}});
  pair.FromPort(ToBeCut(pair.port_pool(), 20'000, 1000));
  size_t came = 0;
  CHECK(pair.Until([&] {
    came += VhostPair::CountWaiting(pair.guest(), 0);
    pair.port().tx(QueueId{0}).Reclaim();
    return came == 20;
  }));
  CHECK(pair.port().tx(QueueId{0}).stats().packets == 1);
}

TEST_CASE(
    "a frame whose segments the guest makes no room for is dropped in the end, and those behind it go") {
  ManualClock clock;
  VhostPair pair({.port = {.clock = &clock},
                  .guest = {.features = kSplit & ~feature::kGuestTso},
                  .guest_queues = {.rx_ring = 8}});
  TxQueue& queue = pair.port().tx(QueueId{0});
  const auto drops = [&] { return queue.stats().drops[DropReason::kTransmitRingFull]; };
  for (const uint64_t round : {1u, 2u}) {
    pair.FromPort(ToBeCut(pair.port_pool(), 20'000, 1000));
    queue.Reclaim();
    clock.Advance(absl::Microseconds(99'999));
    queue.Reclaim();
    CHECK(drops() == round - 1);
    CHECK(queue.due() != absl::InfiniteDuration());
    clock.Advance(absl::Microseconds(1));
    queue.Reclaim();
    CHECK(drops() == round);
    CHECK(queue.due() == absl::InfiniteDuration());
    CHECK(pair.port_pool().available() == pair.port_pool().options().packets);
    CHECK(VhostPair::CountWaiting(pair.guest(), 0) == 8);
  }
  pair.FromPort(UdpFrame({}));
  CHECK(pair.GuestReceivesOne() != nullptr);
}

TEST_CASE("the guest's address is announced when the front-end asks for it") {
  VhostPair pair;
  pair.guest().Announce();
  pair.Settle();
  const PacketPtr packet = pair.ReceiveOne();
  REQUIRE(packet != nullptr);
  const Bytes frame = BytesOf(*packet);
  const MacAddress mac = pair.guest().mac();
  CHECK(frame.size() == 60);
  CHECK(std::all_of(frame.begin(), frame.begin() + 6, [](uint8_t byte) { return byte == 0xff; }));
  CHECK(std::equal(mac.bytes().begin(), mac.bytes().end(), frame.begin() + 6));
  CHECK(pair.port().rx(QueueId{0}).stats().packets == 1);
}

TEST_CASE("rings go on where they were when they are stopped and started one by one") {
  const uint64_t tracked = GENERATE(uint64_t{0}, kTracked);
  VhostPair pair({.port = {.packed = Want::kPrefer},
                  .guest = {.features = GENERATE(kSplit, kVirtioUserFeatures),
                            .protocol_features = kVirtioUserProtocol | tracked},
                  .guest_queues = Queues(2)});
  for (int round = 0; round < 5; ++round) {
    for (const uint16_t ring : std::initializer_list<uint16_t>{0, 1, 2, 3}) {
      pair.guest().StopRing(ring);
      pair.Settle();
      REQUIRE(pair.guest().stopped_at(ring).has_value());
      pair.guest().StartRing(ring);
      pair.Settle();
    }
    pair.FromGuest(Flow(1), 1);
    CHECK(pair.ReceiveOne() != nullptr);
    CHECK_FALSE(RingsReached(pair, 16).empty());
  }
}

TEST_CASE("a guest that comes back goes on with the rings that it had") {
  VhostPair pair({.guest = {.features = kSplit}});
  pair.FromGuest(Flow(1));
  pair.guest().Vanish();
  REQUIRE(pair.Until([&] { return pair.port().link() == LinkState::kDown; }));
  CHECK(Told(pair.events(), NicEvent::Kind::kLinkDown, ""));
  Burst lost;
  lost.Push(MakePacket(pair.port_pool(), Flow(2)));
  CHECK(pair.port().tx(QueueId{0}).Send(lost) == 1);
  CHECK(pair.port().drops()[DropReason::kLinkDown] == 1);

  pair.guest().Return();
  REQUIRE(pair.Until([&] { return pair.BothUp(); }));
  CHECK(pair.ReceiveOne() != nullptr);  // what it had sent before
  pair.FromPort(Flow(3));
  CHECK(pair.GuestReceivesOne() != nullptr);
  CHECK(pair.port().report().connections == 2);
}

TEST_CASE("a message that is wrong ends the connection, and is told with its reason") {
  VhostPair pair;
  VhostPair other;
  pair.guest().front().Tell(VhostRequest::kSetVringNum, Bytes{1, 2, 3});
  REQUIRE(pair.Until([&] { return pair.port().report().bad_messages == 1; }));
  CHECK(Told(pair.events(), NicEvent::Kind::kLinkDown, "SET_VRING_NUM"));
  CHECK_FALSE(pair.port().report().last_error.empty());
  CHECK(pair.Until([&] { return pair.BothUp(); }));  // the front-end comes again

  other.Serve();
  CHECK(other.port().report().bad_messages == 0);
  other.FromGuest(Flow(1));
  CHECK(other.ReceiveOne() != nullptr);
}

TEST_CASE("a guest without what is required is not served, and is told why") {
  VhostPair pair({.port = {.packed = Want::kRequire}, .guest = {.features = kSplit}, .waits = false});
  REQUIRE(pair.Until([&] { return pair.port().report().bad_messages > 0; }));
  CHECK(pair.port().link() == LinkState::kDown);
  CHECK(Told(pair.events(), NicEvent::Kind::kLinkDown, "RING_PACKED"));
}

TEST_CASE("what is in flight is noted for a front-end that asks for it, and rings go on by the notes") {
  VhostPair pair({.port = {.copy_up_to = 500, .packed = Want::kPrefer},
                  .guest = {.features = GENERATE(kSplit, kVirtioUserFeatures),
                            .protocol_features = kVirtioUserProtocol | kTracked}});
  CHECK(pair.port().report().protocol_features.find("INFLIGHT_SHMFD") != std::string::npos);
  for (int round = 0; round < 5; ++round) {
    pair.FromGuest(UdpFrame({.payload_size = 1400}));
    PacketPtr lent = pair.ReceiveOne();
    REQUIRE(lent != nullptr);
    pair.FromGuest(Flow(1));
    pair.guest().Vanish();
    REQUIRE(pair.Until([&] { return pair.port().link() == LinkState::kDown; }));
    pair.guest().Return();
    REQUIRE(pair.Until([&] { return pair.BothUp(); }));
    CHECK(pair.ReceiveOne() != nullptr);
    CHECK(pair.ReceiveOne() == nullptr);
    pair.FromPort(Flow(2));
    CHECK(pair.GuestReceivesOne() != nullptr);
    CHECK(pair.guest().Outstanding(1) == 0);
  }
}

TEST_CASE("memory comes and goes under traffic, and nothing is lost") {
  VhostPair pair;
  size_t sent = 0, received = 0;
  const auto exchange = [&] {
    for (uint16_t i = 0; i < 16; ++i) pair.FromGuest(UdpFrame({.payload_size = 1400})), ++sent;
    pair.Serve();
    received += VhostPair::CountWaiting(pair.port(), 0);
  };
  for (int round = 0; round < 5; ++round) {
    pair.guest().AddMemory(1 << 20);
    exchange();
    pair.Settle();
    exchange();
    pair.guest().RemoveMemory(1);
    exchange();
    REQUIRE(pair.Until([&] {
      pair.guest().tx(QueueId{0}).Reclaim();
      VhostPair::CountWaiting(pair.port(), 0);
      return pair.guest().regions().files().size() == 1;
    }));
    pair.Settle();
  }
  exchange();
  CHECK(received == sent);
  CHECK(pair.port().report().memory_regions == 1);
}

TEST_CASE("every page that the port writes while the guest moves is in its log") {
  VhostPair pair({.guest = {.features = GENERATE(kSplit, kVirtioUserFeatures)}});
  const testing::SharedMemory memory = pair.guest().regions().files()[0]->memory();
  pair.guest().StartLog();
  pair.Settle();
  CHECK(pair.port().report().dirty_logging);
  const Bytes before(memory.here, memory.here + memory.bytes);
  for (uint16_t i = 0; i < 20; ++i) pair.FromPort(UdpFrame({.payload_size = 1400}));
  size_t changed = 0;
  for (size_t page = 0; page < memory.bytes; page += testing::kGuestPage) {
    if (std::equal(before.begin() + static_cast<ptrdiff_t>(page),
                   before.begin() + static_cast<ptrdiff_t>(page + testing::kGuestPage), memory.here + page))
      continue;
    ++changed;
    CHECK(pair.guest().IsLogged(memory.guest + page));
  }
  CHECK(changed >= 20 / 2);
  CHECK(VhostPair::CountWaiting(pair.guest(), 0) == 20);
  pair.guest().StopLog();
  pair.Settle();
  CHECK_FALSE(pair.port().report().dirty_logging);
}

TEST_CASE("the report says what there is at the other end") {
  VhostPair pair({.guest = {.features = kSplit, .regions = 3}, .guest_queues = Queues(2)});
  const VhostReport report = pair.port().report();
  CHECK(report.connected);
  CHECK(report.features.find("MRG_RXBUF") != std::string::npos);
  CHECK(report.features.find("RING_PACKED") == std::string::npos);
  CHECK(report.protocol_features.find("MQ") != std::string::npos);
  CHECK(report.pairs_enabled == 2);
  CHECK(report.rings.size() == 4);
  CHECK(report.memory_regions == 3);
  CHECK(report.connections == 1);
}

TEST_CASE("a guest that takes hashes is told each packet's, in frames of one chain and of several") {
  VhostPair pair({.guest = {.features = GENERATE(kSplit, kVirtioUserFeatures) | feature::kHashReport,
                            .layout = {.rx_buffer = 512}}});
  for (const size_t payload : {size_t{100}, size_t{1400}}) {
    for (const RssType type : {RssType::kIpv4Udp, RssType::kIpv6Tcp, RssType::kNone}) {
      PacketPtr packet = MakePacket(pair.port_pool(), UdpFrame({.payload_size = payload}));
      packet->rss_hash = 0x12345678;
      packet->rss_type = type;
      pair.FromPort(std::move(packet));
      const PacketPtr told = pair.GuestReceivesOne();
      REQUIRE(told != nullptr);
      CHECK(told->rss_type == type);
      CHECK(told->rss_hash == (type == RssType::kNone ? 0 : 0x12345678));
    }
  }
  pair.FromGuest(Flow(1));
  CHECK(pair.ReceiveOne() != nullptr);
}

TEST_CASE("a port tells the features of its guest while that is there") {
  VhostPair pair({.guest = {.features = kSplit}});
  CHECK(pair.port().feature_names() == pair.port().report().features);
  CHECK(pair.port().feature_names().find("MRG_RXBUF") != std::string::npos);
  CHECK(pair.guest().Stop() == absl::OkStatus());
  CHECK(pair.Until([&] { return pair.port().link() == LinkState::kDown; }));
  CHECK(pair.port().feature_names().empty());
}

TEST_CASE("modes say what the guest has taken") {
  VhostPair pair({.guest = {.features = kSplit & ~feature::kGuestTso}});
  for (const ModeInForce& mode : pair.port().modes()) {
    if (mode.name == "checksums") CHECK(mode.active);
    if (mode.name == "tso") CHECK_FALSE(mode.active);
    CHECK((mode.active || mode.wanted == Want::kOff || !mode.reason.empty()));
  }
}

TEST_CASE("the data path of a vhost-user port allocates nothing") {
  VhostPair pair({.port = {.copy_up_to = 500}});
  pair.FromPort(Flow(1));  // which looks what the guest is
  for (int i = 0; i < 40; ++i) {
    pair.FromGuest(UdpFrame({.payload_size = i % 2 == 0 ? size_t{20} : size_t{1400}}));
    PacketPtr packet = MakePacket(pair.port_pool(), Flow(1));
    const testing::AllocationCounter counter;
    Burst burst;
    pair.port().rx(QueueId{0}).Receive(burst);
    burst.Push(std::move(packet));
    pair.port().tx(QueueId{0}).Send(burst);
    CHECK(counter.allocations() == 0);
    burst.Clear();
    VhostPair::CountWaiting(pair.guest(), 0);
  }
}

TEST_CASE("queues are polled while rings come and go", "[threads]") {
  VhostPair pair({.port_queues = Queues(2), .guest_queues = Queues(2)});
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> passed = 0;
  std::vector<std::thread> pollers;
  for (uint16_t queue = 0; queue < 2; ++queue) {
    pollers.emplace_back([&, queue] {
      while (!stop) {
        Burst burst;
        pair.port().rx(QueueId{queue}).Receive(burst);
        pair.port().tx(QueueId{queue}).Send(burst);
        ++passed;
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    const auto ring = static_cast<uint16_t>(round % 4);
    pair.FromGuest(Flow(1), static_cast<uint16_t>(round % 2));
    pair.guest().StopRing(ring);
    pair.Settle();
    pair.guest().StartRing(ring);
    pair.Settle();
    if (round % 10 == 9) {
      pair.guest().Vanish();
      pair.Until([&] { return pair.port().link() == LinkState::kDown; });
      pair.guest().Return();
      pair.Until([&] { return pair.BothUp(); });
    }
    for (uint16_t queue = 0; queue < 2; ++queue) VhostPair::CountWaiting(pair.guest(), queue);
  }
  CHECK(pair.Until([&] { return passed > 0; }));
  stop = true;
  for (std::thread& poller : pollers) poller.join();
  CHECK(pair.port().report().bad_messages == 0);
}

}  // namespace sluice

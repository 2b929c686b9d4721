// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/conformance.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "sluice/base/status.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"
#include "tests/support/copying_segmenter.h"
#include "tests/support/footprint.h"
#include "tests/support/frames.h"
#include "tests/support/nic_bench.h"

namespace sluice::testing {
namespace {

constexpr QueueId kFirst{0};

bool Readable(int fd) {
  pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 0) == 1;
}

uint32_t LongestFrame(const Subject& subject, NicBench& bench) {
  const uint32_t fits = subject.pool.buffer_size - subject.pool.headroom;
  const uint32_t most = subject.max_frame != 0 ? subject.max_frame : bench.a().capabilities().max_frame;
  return std::min(fits, most);
}

// Refused for `code`, and in a way that helps.
void CheckRefusal(const absl::Status& status, absl::StatusCode code) {
  CHECK(status.code() == code);
  const std::optional<Problem> problem = ProblemOf(status);
  REQUIRE(problem.has_value());
  CHECK_FALSE(problem->device.empty());
  CHECK_FALSE(problem->stage.empty());
  CHECK_FALSE(problem->remedy.empty());
}

// Lifecycle.
// ---------------------------------------------------------------------------------------------------------

void CheckIdentity(const Subject& subject) {
  NicBench bench(subject);
  const Capabilities& able = bench.a().capabilities();
  CHECK_FALSE(bench.a().name().empty());
  CHECK(able.max_rx_queues >= 1);
  CHECK(able.max_tx_queues >= 1);
  CHECK(able.max_ring_size >= subject.ring);
  CHECK(able.max_frame >= kNumberedLength);
  CHECK(able.sleeps == subject.sleeps);
  CHECK_FALSE(bench.a().running());
  CHECK(bench.a().rx_count() == 0);
  CHECK(bench.a().tx_count() == 0);
}

void CheckWrongOptions(const Subject& subject) {
  NicBench bench(subject);
  Nic& nic = bench.a();
  const auto refused = [&](auto change) {
    QueueOptions options = bench.OptionsA();
    change(options);
    CheckRefusal(nic.Start(options), absl::StatusCode::kInvalidArgument);
    CHECK_FALSE(nic.running());
  };
  const Footprint before = Footprint::Now();
  refused([](QueueOptions& options) { options.pool = nullptr; });
  refused([](QueueOptions& options) { options.rx_queues = 0; });
  refused([](QueueOptions& options) { options.tx_queues = 0; });
  refused([](QueueOptions& options) { options.rx_ring = 0; });
  refused([](QueueOptions& options) { options.tx_ring = 0; });
  refused([](QueueOptions& options) { options.rx_ring = 100; });
  refused([](QueueOptions& options) { options.tx_ring = 100; });
  refused([&](QueueOptions& options) { options.rx_ring = 2 * nic.capabilities().max_ring_size; });
  refused([&](QueueOptions& options) { options.tx_ring = 2 * nic.capabilities().max_ring_size; });
  refused([&](QueueOptions& options) {
    options.rx_queues = static_cast<uint16_t>(nic.capabilities().max_rx_queues + 1);
  });
  refused([&](QueueOptions& options) {
    options.tx_queues = static_cast<uint16_t>(nic.capabilities().max_tx_queues + 1);
  });
  CHECK(Footprint::Now().descriptors == before.descriptors);
  CHECK(bench.pool_a().available() == bench.pool_a().options().packets);
  bench.Start();
}

void CheckStartTwice(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  CheckRefusal(bench.a().Start(bench.OptionsA()), absl::StatusCode::kFailedPrecondition);
  CHECK(bench.a().running());
  bench.Stop();
  CHECK(bench.a().Stop() == absl::OkStatus());
  CHECK_FALSE(bench.a().running());
  bench.Start();
}

void CheckAllQueues(const Subject& subject) {
  NicBench bench(subject);
  QueueOptions options = bench.OptionsA();
  options.rx_queues = std::min<uint16_t>(bench.a().capabilities().max_rx_queues, 4);
  options.tx_queues = std::min<uint16_t>(bench.a().capabilities().max_tx_queues, 4);
  bench.Start(options, bench.OptionsB());
  REQUIRE(bench.a().rx_count() == options.rx_queues);
  REQUIRE(bench.a().tx_count() == options.tx_queues);
  for (uint16_t i = 0; i < options.rx_queues; ++i) CHECK(bench.a().rx(QueueId{i}).id() == QueueId{i});
  for (uint16_t i = 0; i < options.tx_queues; ++i) CHECK(bench.a().tx(QueueId{i}).id() == QueueId{i});
}

void RestartOnce(NicBench& bench, const QueueOptions& options) {
  REQUIRE(bench.a().Start(options) == absl::OkStatus());
  Burst burst = bench.Frames(0, 3);
  bench.a().tx(kFirst).Send(burst);
  bench.a().rx(kFirst).Receive(burst);
  REQUIRE(bench.a().Stop() == absl::OkStatus());
}

void CheckRestarts(const Subject& subject) {
  NicBench bench(subject);
  const QueueOptions options = bench.OptionsA();
  // What is made once, or fills malloc's caches, is no leak.
  for (int i = 0; i < 16; ++i) RestartOnce(bench, options);
  const StderrCapture errors;
  const Footprint before = Footprint::Now();
  for (int i = 0; i < subject.restarts; ++i) RestartOnce(bench, options);
  const Footprint after = Footprint::Now();

  CHECK(after.descriptors == before.descriptors);
  // The heap's own: malloc trims and grows, and a sanitizer's keeps what was freed.
  CHECK(after.mappings <= before.mappings + 8);
  // What malloc keeps in a thread's cache counts as in use: a little that does not grow with the rounds.
  CHECK(after.heap <= before.heap + 4096 + static_cast<size_t>(16 * subject.restarts));
  CHECK(after.affinity == before.affinity);
  CHECK(after.signal_mask == before.signal_mask);
  CHECK(errors.text() == "");
}

// Traffic.
// ---------------------------------------------------------------------------------------------------------

void CheckBurstSizes(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  uint32_t next = 0;
  for (size_t size = 1; size <= Burst::kCapacity; ++size) {
    bench.SendAll(next, size);
    CHECK(bench.Collect(size) == Consecutive(next, size));
    next += static_cast<uint32_t>(size);
  }
}

void CheckEdgesOfBursts(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  Burst empty;
  CHECK(bench.a().tx(kFirst).Send(empty) == 0);
  Burst full = bench.Frames(0, Burst::kCapacity);
  CHECK(bench.a().rx(kFirst).Receive(full) == 0);
  CHECK(full.size() == Burst::kCapacity);
  CHECK(bench.a().rx(kFirst).Receive(empty) == empty.size());
}

void CheckLengths(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  const uint32_t longest = LongestFrame(subject, bench);
  uint32_t number = 0;
  for (const uint32_t length : {kNumberedLength, 61u, 64u, 127u, 128u, 600u, longest - 1, longest}) {
    bench.SendAll(number, 1, std::min(length, longest));
    CHECK(bench.Collect(1) == Numbers{number});
    ++number;
  }
}

void CheckManyInOrder(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  for (uint32_t round = 0; round < 20; ++round) {
    bench.SendAll(round * 100, 100);
    CHECK(bench.Collect(100) == Consecutive(round * 100, 100));
  }
}

void CheckOtherWay(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  CHECK(SendFromPeer(bench, 5, 30) == Consecutive(5, 30));
}

void CheckArrivalsTellWhere(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  bench.SendAll(1, 1);
  Burst arrived;
  uint32_t number = 0;
  REQUIRE(bench.Until([&] {
    arrived.Clear();
    return bench.b().rx(kFirst).Receive(arrived) > 0 && IsNumbered(arrived[0], number);
  }));
  CHECK(arrived[0].ingress_port == bench.OptionsB().port);
  CHECK(arrived[0].ingress_queue == kFirst);
  CHECK(arrived[0].mark() == 0);
}

void CheckPartialSends(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  TxQueue& tx = bench.a().tx(kFirst);
  const size_t most = 4 * static_cast<size_t>(subject.ring) / Burst::kCapacity + 4;
  uint32_t next = 0;
  Burst burst;
  for (size_t i = 0; burst.empty() && i < most; ++i) {
    burst = bench.Frames(next, Burst::kCapacity);
    next += static_cast<uint32_t>(tx.Send(burst));
  }
  REQUIRE_FALSE(burst.empty());
  uint32_t number = 0;
  for (size_t i = 0; i < burst.size(); ++i) {
    REQUIRE(IsNumbered(burst[i], number));
    CHECK(number == next + i);
  }
  CHECK(tx.stats().drops.total() == 0);
  CHECK(tx.stats().packets == next);
  CHECK(bench.Collect(next) == Consecutive(0, next));
}

// A packet in pieces, longer than `length` allows in one.
PacketPtr LongPacket(NicBench& bench, uint32_t length) {
  const PacketPoolOptions& pool = bench.pool_a().options();
  PacketPtr packet;
  for (uint32_t left = length; left > 0;) {
    PacketPtr piece = bench.pool_a().GetOne();
    REQUIRE(piece != nullptr);
    const uint32_t bytes = std::min(left, pool.buffer_size - pool.headroom);
    piece->SetLength(bytes);
    left -= bytes;
    if (packet == nullptr) {
      packet = std::move(piece);
    } else {
      packet->Append(std::move(piece));
    }
  }
  return packet;
}

void CheckWrongLengths(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  TxQueue& tx = bench.a().tx(kFirst);
  Burst burst = bench.Frames(0, 1);
  burst.Push(LongPacket(bench, bench.a().capabilities().max_frame + 1));
  burst.Push(bench.pool_a().GetOne());
  burst[2].SetLength(13);
  for (Burst good = bench.Frames(1, 1); !good.empty();) good.MoveFront(1, burst);

  CHECK(tx.Send(burst) == 4);
  CHECK(bench.Collect(2) == Numbers{0, 1});
  CHECK(tx.stats().packets == 2);
  CHECK(tx.stats().drops[DropReason::kTooLong] == 1);
  CHECK(tx.stats().drops[DropReason::kTooShort] == 1);
  CHECK(bench.a().drops()[DropReason::kTooLong] == 1);
}

void CheckStatistics(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  bench.SendAll(0, 10, 60);
  bench.SendAll(10, 5, 100);
  CHECK(bench.Collect(15).size() == 15);
  const QueueStats sent = bench.a().tx(kFirst).stats();
  const QueueStats received = bench.b().rx(kFirst).stats();
  CHECK(sent.packets == 15);
  CHECK(sent.bytes == 10 * 60 + 5 * 100);
  CHECK(received.packets >= 15);
  CHECK(received.bytes >= 10 * 60 + 5 * 100);

  bench.Stop();
  bench.Start();
  CHECK(bench.a().tx(kFirst).stats().packets == 15);
}

// Stops with packets everywhere on the way; the bench looks whether all come home.
void CheckStopUnderWay(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  Burst burst = bench.Frames(0, 50);
  bench.a().tx(kFirst).Send(burst);
  Burst received;
  bench.b().rx(kFirst).Receive(received);
  bench.Stop();
  CHECK(bench.a().rx_count() == 0);
}

// Offload requests.
// ---------------------------------------------------------------------------------------------------------

constexpr uint16_t kMss = 1000;
constexpr uint16_t kUncut = 65535;
constexpr uint16_t kTag = 7;
const FrameSpec kAsking = {.source_mac = "02:51:a1:ce:00:02", .payload_size = 1200};

std::vector<Bytes> Frames(const Bytes& bytes, uint16_t size) {
  Layers layers;
  REQUIRE(Parse(bytes, static_cast<uint32_t>(bytes.size()), layers) == ParseVerdict::kOk);
  return CopyingSegment(bytes, layers, size);
}

// What an arrival is on a cable: a tag beside it is in it, and what came unfinished over a wire in memory, or was joined
// on arrival, is finished and cut by the twin.
std::vector<Bytes> OnCable(const Packet& arrival) {
  Bytes bytes = BytesOf(arrival);
  if (arrival.vlan_stripped) {
    const Bytes tag = {0x81, 0x00, static_cast<uint8_t>(arrival.vlan_tci >> 8),
                       static_cast<uint8_t>(arrival.vlan_tci)};
    bytes.insert(bytes.begin() + 12, tag.begin(), tag.end());
  }
  if (arrival.offload.segment) return Frames(bytes, arrival.offload.mss);
  return arrival.offload.any() ? Frames(bytes, kUncut) : std::vector<Bytes>{bytes};
}

bool IsOurs(const Packet& packet) {
  const std::array<uint8_t, 6> source = {2, 0x51, 0xa1, 0xce, 0, 2};
  const Bytes bytes = BytesOf(packet);
  return bytes.size() > 12 && std::equal(source.begin(), source.end(), bytes.begin() + 6);
}

// The frames of kAsking that arrive at b, `count` of them at least.
std::vector<Bytes> CollectOnCable(NicBench& bench, size_t count) {
  std::vector<Bytes> frames;
  bench.Until([&] {
    for (uint16_t i = 0; i < bench.b().rx_count(); ++i) {
      Burst arrived;
      bench.b().rx(QueueId{i}).Receive(arrived);
      for (const Packet* packet : arrived) {
        if (!IsOurs(*packet)) continue;
        for (Bytes& frame : OnCable(*packet)) frames.push_back(std::move(frame));
      }
    }
    bench.a().tx(kFirst).Reclaim();
    return frames.size() >= count;
  });
  return frames;
}

// Sends `packet` from a; what is then on the cable is `frames`, of one packet.
void CheckSentAs(NicBench& bench, PacketPtr packet, const std::vector<Bytes>& frames) {
  REQUIRE(packet != nullptr);
  Burst burst;
  burst.Push(std::move(packet));
  CHECK(bench.a().tx(kFirst).Send(burst) == 1);
  CHECK((CollectOnCable(bench, frames.size()) == frames));
  CHECK(bench.a().tx(kFirst).stats().packets == 1);
  CHECK(bench.a().drops().total() == 0);
}

void CheckCuts(const Subject& subject, size_t piece) {
  NicBench bench(subject);
  bench.Start();
  FrameSpec spec = kAsking;
  spec.payload_size = 9500;
  const Bytes big = TcpFrame(spec);
  PacketPtr packet = MakePacket(bench.pool_a(), big, piece);
  packet->offload = {.l4_checksum = true, .segment = true, .mss = kMss};
  CheckSentAs(bench, std::move(packet), Frames(big, kMss));
}

void CheckSums(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  const Bytes whole = UdpFrame(kAsking);
  Bytes unfinished = whole;
  unfinished[sizeof(EthernetHeader) + sizeof(Ipv4Header) + offsetof(UdpHeader, checksum)] ^= 0x5a;
  PacketPtr packet = MakePacket(bench.pool_a(), unfinished);
  packet->offload.l4_checksum = true;
  CheckSentAs(bench, std::move(packet), {whole});
}

void CheckTags(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  PacketPtr packet = MakePacket(bench.pool_a(), UdpFrame(kAsking));
  packet->offload.insert_vlan = true;
  packet->vlan_tci = kTag;
  FrameSpec tagged = kAsking;
  tagged.vlans = {kTag};
  CheckSentAs(bench, std::move(packet), {UdpFrame(tagged)});
}

void CheckChain(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  const Bytes frame = UdpFrame(kAsking);
  CheckSentAs(bench, MakePacket(bench.pool_a(), frame, 333), {frame});
}

// The packets beside it are sent too, in order, and all come home.
void CheckCutsAmongOthers(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  FrameSpec spec = kAsking;
  std::vector<Bytes> expected;
  Burst burst;
  for (uint16_t i = 0; i < 12; ++i) {
    spec.ip_id = static_cast<uint16_t>(100 * i);
    spec.payload_size = i % 3 == 0 ? 7300 : 700;
    const Bytes frame = TcpFrame(spec);
    burst.Push(MakePacket(bench.pool_a(), frame));
    if (i % 3 == 0) burst[i].offload = {.l4_checksum = true, .segment = true, .mss = kMss};
    for (Bytes& one : Frames(frame, i % 3 == 0 ? kMss : kUncut)) expected.push_back(std::move(one));
  }
  std::vector<Bytes> arrived;
  REQUIRE(bench.Until([&] {
    bench.a().tx(kFirst).Send(burst);
    for (Bytes& frame : CollectOnCable(bench, 1)) arrived.push_back(std::move(frame));
    return arrived.size() >= expected.size();
  }));
  CHECK((arrived == expected));
  CHECK(bench.a().tx(kFirst).stats().packets == 12);
}

// Link.
// ---------------------------------------------------------------------------------------------------------

void SetLink(NicBench& bench, bool up) {
  if (bench.rig().set_link) {
    bench.rig().set_link(up);
  } else if (up) {
    REQUIRE(bench.b().Start(bench.OptionsB()) == absl::OkStatus());
  } else {
    REQUIRE(bench.b().Stop() == absl::OkStatus());
  }
  const LinkState want = up ? LinkState::kUp : LinkState::kDown;
  REQUIRE(bench.Until([&] { return bench.a().link() == want; }));
}

void CheckLinkDown(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  SetLink(bench, false);
  const uint64_t sent = bench.a().tx(kFirst).stats().packets;
  Burst burst = bench.Frames(0, 20);
  CHECK(bench.a().tx(kFirst).Send(burst) == 20);
  CHECK(bench.a().tx(kFirst).stats().drops[DropReason::kLinkDown] == 20);
  CHECK(bench.a().tx(kFirst).stats().packets == sent);
  Burst none;
  CHECK(bench.a().rx(kFirst).Receive(none) == 0);

  SetLink(bench, true);
  bench.SendAll(100, 20);
  CHECK(bench.Collect(20) == Consecutive(100, 20));
}

void CheckLinkEvents(const Subject& subject) {
  NicBench bench(subject);
  const auto tells = [&bench](NicEvent::Kind kind) {
    const std::vector<NicEvent> events = bench.TakeEvents();
    return std::any_of(events.begin(), events.end(),
                       [kind](const NicEvent& event) { return event.kind == kind; });
  };
  bench.Start();
  CHECK(bench.Until([&] { return tells(NicEvent::Kind::kLinkUp); }));
  CHECK_FALSE(Readable(bench.a().event_fd()));
  SetLink(bench, false);
  CHECK(tells(NicEvent::Kind::kLinkDown));
  SetLink(bench, true);
  CHECK(tells(NicEvent::Kind::kLinkUp));
}

// Waking.
// ---------------------------------------------------------------------------------------------------------

// Takes whatever waits at b, until it can go to sleep.
void ArmB(NicBench& bench) {
  RxQueue& rx = bench.b().rx(kFirst);
  REQUIRE(bench.Until([&] {
    bench.PollB();
    return rx.Arm();
  }));
}

void CheckWakesForArrivals(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  RxQueue& rx = bench.b().rx(kFirst);
  REQUIRE(rx.fd() >= 0);
  for (uint32_t round = 0; round < 20; ++round) {
    ArmB(bench);
    Burst burst = bench.Frames(round, 1);
    CHECK(bench.a().tx(kFirst).Send(burst) == 1);
    CHECK(bench.Until([&] { return Readable(rx.fd()); }));
    CHECK(bench.Collect(1) == Numbers{round});
  }
  CHECK(rx.stats().wakeups >= 20);
}

void CheckNeverSleepsOnWaiting(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  RxQueue& rx = bench.b().rx(kFirst);
  for (uint32_t round = 0; round < 20; ++round) {
    Burst burst = bench.Frames(round, 1);
    CHECK(bench.a().tx(kFirst).Send(burst) == 1);
    // Wherever the frame is now: either Arm says no, or the descriptor tells of it.
    CHECK(bench.Until([&] { return !rx.Arm() || Readable(rx.fd()); }));
    CHECK(bench.Collect(1) == Numbers{round});
  }
}

void CheckArmTwice(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  ArmB(bench);
  CHECK(bench.b().rx(kFirst).Arm());
  bench.SendAll(7, 1);
  CHECK(bench.Until([&] { return Readable(bench.b().rx(kFirst).fd()); }));
  CHECK(bench.Collect(1) == Numbers{7});
}

void CheckDescriptorComesToRest(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  for (uint32_t round = 0; round < 20; ++round) {
    ArmB(bench);
    bench.SendAll(round, 1);
    CHECK(bench.Collect(1) == Numbers{round});
  }
  ArmB(bench);
  // Nothing is waiting: a descriptor that stayed readable would keep its sleeper spinning.
  CHECK(bench.Until([&] {
    ArmB(bench);
    return !Readable(bench.b().rx(kFirst).fd());
  }));
}

void CheckCannotSleep(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  CHECK_FALSE(bench.a().rx(kFirst).Arm());
  CHECK(bench.a().rx(kFirst).fd() == -1);
}

// Steering.
// ---------------------------------------------------------------------------------------------------------

void CheckRulesRefused(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  const absl::StatusOr<RuleId> id = bench.a().InstallRule({});
  CheckRefusal(id.status(), absl::StatusCode::kUnimplemented);
  CHECK_FALSE(ProblemOf(id.status())->capability.empty());
}

void CheckRssRefused(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  const absl::Status set = bench.a().SetRss(RssConfig::Spread(1));
  CheckRefusal(set, absl::StatusCode::kUnimplemented);
  CHECK_FALSE(ProblemOf(set)->capability.empty());
}

void CheckRuleIds(const Subject& subject) {
  NicBench bench(subject);
  CheckRefusal(bench.a().InstallRule({}).status(), absl::StatusCode::kFailedPrecondition);
  bench.Start();
  const absl::StatusOr<RuleId> first = bench.a().InstallRule({.actions = {.queue = kFirst}});
  REQUIRE(first.ok());
  CHECK(bench.a().RemoveRule(*first) == absl::OkStatus());
  CheckRefusal(bench.a().RemoveRule(*first), absl::StatusCode::kNotFound);
  CheckRefusal(bench.a().QueryRule(*first).status(), absl::StatusCode::kNotFound);
  const absl::StatusOr<RuleId> second = bench.a().InstallRule({.actions = {.queue = kFirst}});
  REQUIRE(second.ok());
  CHECK(*second != *first);
}

void CheckRuleSteers(const Subject& subject) {
  NicBench bench(subject);
  QueueOptions options = bench.OptionsB();
  options.rx_queues = 2;
  bench.Start(bench.OptionsA(), options);
  const bool counts = bench.b().capabilities().rule_counters;
  const Rule rule = {.match = {.outer = {.ethernet = EthernetMatch{.destination = bench.b().mac()}}},
                     .actions = {.queue = QueueId{1}, .count = counts}};
  const absl::StatusOr<RuleId> id = bench.b().InstallRule(rule);
  REQUIRE(id.ok());
  bench.SendAll(0, 10);
  CHECK(bench.Collect(10) == Consecutive(0, 10));
  CHECK(bench.b().rx(QueueId{1}).stats().packets == 10);
  if (!counts) return CheckRefusal(bench.b().QueryRule(*id).status(), absl::StatusCode::kFailedPrecondition);
  CHECK(bench.b().QueryRule(*id)->packets == 10);
  CHECK(bench.b().QueryRule(*id)->bytes == 10 * kNumberedLength);
}

void CheckRssOfWrongQueue(const Subject& subject) {
  NicBench bench(subject);
  bench.Start();
  const uint16_t there = bench.a().rx_count();
  const uint16_t too_many = static_cast<uint16_t>(there + 1);
  CheckRefusal(bench.a().SetRss(RssConfig::Spread(too_many)), absl::StatusCode::kInvalidArgument);
  CHECK(bench.a().SetRss(RssConfig::Spread(there)) == absl::OkStatus());
}

bool CanSteer(const Subject& subject) {
  const Rig rig = subject.open();
  return rig.b != nullptr && rig.b->capabilities().max_rules > 0 && rig.b->capabilities().max_rx_queues > 1;
}

Capabilities CapabilitiesOf(const Subject& subject) { return subject.open().a->capabilities(); }

}  // namespace

void CheckConformance(const Subject& subject) {
  CheckLifecycle(subject);
  CheckTraffic(subject);
  CheckRequests(subject);
  CheckLink(subject);
  CheckWaking(subject);
  CheckSteering(subject);
}

void CheckLifecycle(const Subject& subject) {
  SECTION("it says what it is and what it can do before it is started") { CheckIdentity(subject); }
  SECTION("wrong options are refused with a remedy and change nothing") { CheckWrongOptions(subject); }
  SECTION("a running Nic is not started again, and a stopped one not stopped") { CheckStartTwice(subject); }
  SECTION("it has as many queues as it was asked for") { CheckAllQueues(subject); }
  SECTION("starting and stopping it leaves nothing behind") { CheckRestarts(subject); }
}

void CheckTraffic(const Subject& subject) {
  SECTION("bursts of every size arrive whole and in order") { CheckBurstSizes(subject); }
  SECTION("an empty burst sends nothing, a full one receives nothing") { CheckEdgesOfBursts(subject); }
  SECTION("frames of every length cross undamaged") { CheckLengths(subject); }
  SECTION("many frames arrive in the order in which they were sent") { CheckManyInOrder(subject); }
  SECTION("arrivals say on which port and queue they came") { CheckArrivalsTellWhere(subject); }
  SECTION("what was sent and received is counted, over restarts too") { CheckStatistics(subject); }
  SECTION("packets under way when both are stopped come home") { CheckStopUnderWay(subject); }
  if (subject.receives_from_b) {
    SECTION("frames cross the other way too") { CheckOtherWay(subject); }
  }
  if (subject.back_pressure) {
    SECTION("what a full ring does not take stays in the burst, in order") { CheckPartialSends(subject); }
  }
  if (subject.counts_oversize) {
    SECTION("frames too long or too short are dropped by reason, and their neighbours sent") {
      CheckWrongLengths(subject);
    }
  }
}

void CheckRequests(const Subject& subject) {
  SECTION("a packet that asks to be cut leaves as frames") { CheckCuts(subject, 0); }
  SECTION("so does one in many pieces") { CheckCuts(subject, 700); }
  SECTION("what is cut keeps its place between other packets") { CheckCutsAmongOthers(subject); }
  SECTION("a checksum that is asked for is right") { CheckSums(subject); }
  SECTION("a tag that is asked for is in its place") { CheckTags(subject); }
  SECTION("a packet in pieces leaves as a frame") { CheckChain(subject); }
}

void CheckLink(const Subject& subject) {
  if (subject.link_follows) {
    SECTION("what is sent while the link is down is dropped and counted, and later sends go") {
      CheckLinkDown(subject);
    }
  }
  if (subject.link_follows && subject.link_events) {
    SECTION("the link's coming and going are events") { CheckLinkEvents(subject); }
  }
}

void CheckWaking(const Subject& subject) {
  if (!subject.sleeps) {
    SECTION("a Nic that cannot wake a sleeper says so") { CheckCannotSleep(subject); }
    return;
  }
  SECTION("an armed queue is woken by an arrival") { CheckWakesForArrivals(subject); }
  SECTION("a packet that arrives between the last poll and Arm is never slept through") {
    CheckNeverSleepsOnWaiting(subject);
  }
  SECTION("arming twice is harmless") { CheckArmTwice(subject); }
  SECTION("the descriptor comes to rest when nothing is waiting") { CheckDescriptorComesToRest(subject); }
}

void CheckSteering(const Subject& subject) {
  const Capabilities able = CapabilitiesOf(subject);
  if (able.max_rules == 0) {
    SECTION("rules are refused with the name of what is missing") { CheckRulesRefused(subject); }
  } else {
    SECTION("a rule's id is not used again") { CheckRuleIds(subject); }
  }
  if (CanSteer(subject)) {
    SECTION("a rule steers, and counts what it steered") { CheckRuleSteers(subject); }
  }
  if (able.rss_table_size == 0) {
    SECTION("RSS is refused with the name of what is missing") { CheckRssRefused(subject); }
  } else if (able.rss_update) {
    SECTION("an RSS table that names a queue which is not there is refused") {
      CheckRssOfWrongQueue(subject);
    }
  }
}

}  // namespace sluice::testing

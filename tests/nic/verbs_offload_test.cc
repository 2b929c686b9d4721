// SPDX-License-Identifier: Apache-2.0
// What packets ask for, and what is asked of arrivals, over cards that can do more or less: the frames are the same.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "sluice/base/status.h"
#include "sluice/packet/parse.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/copying_segmenter.h"
#include "tests/support/frames.h"
#include "tests/support/nic_bench.h"

namespace sluice::testing {
namespace {

constexpr QueueId kFirst{0};
constexpr uint16_t kMss = 400;

struct Profile {
  std::string name;
  SoftwareVerbsHardware hardware;
  VerbsNicOptions options;
};

std::vector<Profile> Profiles() {
  return {{"full", {}, {}},
          {"plain send calls", {}, {.extended_send = Want::kOff}},
          {"frames in descriptors", {}, {.max_inline = 256}},
          {"frames in descriptors, plain send calls", {}, {.max_inline = 256, .extended_send = Want::kOff}},
          {"no segmentation", {.max_segmented = 0}, {}},
          {"segmentation of little", {.max_segmented = 1000}, {}},
          {"segmentation off", {}, {.segmentation = Want::kOff}},
          {"no checksums on send", {.send_checksums = false}, {}},
          {"one piece", {.max_pieces = 1}, {}},
          {"no extended send calls", {.extended_send = false}, {}},
          {"no work queues", {.max_work_queues = 0}, {}},
          {"poor", SoftwareVerbsHardware::Poor(), {}}};
}

// A packet that asks for something, and the frames that it is on a cable.
struct Case {
  std::string name;
  Bytes bytes;
  OffloadRequest asks = {};
  uint16_t tag = 0;
  std::vector<Bytes> frames = {};
};

std::vector<Bytes> Cut(const Bytes& bytes, FixedIds ids = {}) {
  Layers layers;
  REQUIRE(Parse(bytes, static_cast<uint32_t>(bytes.size()), layers) == ParseVerdict::kOk);
  return CopyingSegment(bytes, layers, kMss, true, ids);
}

FrameSpec Spec(bool six, size_t payload) {
  return {.source = six ? "2001:db8::1" : "10.0.0.1",
          .destination = six ? "2001:db8::2" : "10.0.0.2",
          .ip_id = 65533,
          .sequence = 0xffffff00u,
          .tcp_flags = TcpHeader::kAck | TcpHeader::kPsh | TcpHeader::kFin,
          .tcp_options = {1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 9},
          .payload_size = payload};
}

// With a wrong checksum, which the next device is to fill in.
Bytes Unfinished(Bytes frame) {
  Layers layers;
  REQUIRE(Parse(frame, static_cast<uint32_t>(frame.size()), layers) == ParseVerdict::kOk);
  const LayerOffsets& at = Select(layers, LayerSet::kInnermost);
  frame[at.l4 + (at.l4_type == L4Type::kTcp ? 16u : 6u)] ^= 0x5a;
  return frame;
}

Bytes Tunnelled(const Bytes& inner) {
  return VxlanFrame({.destination_port = 4789, .zero_udp_checksum = true}, inner, 5);
}

void AddCasesOf(bool six, std::vector<Case>& cases) {
  constexpr OffloadRequest kSum = {.l4_checksum = true};
  constexpr OffloadRequest kSegments = {.l4_checksum = true, .segment = true, .mss = kMss};
  FrameSpec spec = Spec(six, 300);
  FrameSpec tagged = spec;
  tagged.vlans = {0x6007};
  cases.push_back({"nothing", TcpFrame(spec), {}, 0, {TcpFrame(spec)}});
  cases.push_back({"TCP checksum", Unfinished(TcpFrame(spec)), kSum, 0, {TcpFrame(spec)}});
  cases.push_back({"UDP checksum", Unfinished(UdpFrame(spec)), kSum, 0, {UdpFrame(spec)}});
  cases.push_back(
      {"checksum in a tunnel", Tunnelled(Unfinished(TcpFrame(spec))), kSum, 0, {Tunnelled(TcpFrame(spec))}});
  OffloadRequest tag = kSum;
  tag.insert_vlan = true;
  cases.push_back({"tag and checksum", Unfinished(UdpFrame(spec)), tag, 0x6007, {UdpFrame(tagged)}});
  for (const size_t payload : {size_t{9000}, size_t{2 * kMss}, size_t{kMss}, size_t{10}}) {
    const Bytes big = TcpFrame(Spec(six, payload));
    cases.push_back({"segments", big, kSegments, 0, Cut(big)});
    cases.push_back({"segments in a tunnel", Tunnelled(big), kSegments, 0, Cut(Tunnelled(big))});
    if (!six) {
      Bytes still = big;
      still[20] |= 0x40;  // DF
      OffloadRequest asks = kSegments;
      asks.fixed_ids.outer = true;
      cases.push_back({"segments whose identification stays", still, asks, 0, Cut(still, asks.fixed_ids)});
    }
    tagged = Spec(six, payload);
    tagged.vlans = {0x6007};
    tag = kSegments;
    tag.insert_vlan = true;
    cases.push_back({"segments with a tag", big, tag, 0x6007, Cut(TcpFrame(tagged))});
  }
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  AddCasesOf(false, cases);
  AddCasesOf(true, cases);
  return cases;
}

PacketPtr PacketFor(PacketPool& pool, const Case& one, size_t piece) {
  // Headers are in one piece where segments are asked for.
  PacketPtr packet = MakePacket(pool, one.bytes, piece);
  REQUIRE(packet != nullptr);
  packet->offload = one.asks;
  packet->vlan_tci = one.tag;
  return packet;
}

std::vector<Bytes> Arrived(NicBench& bench, size_t count) {
  std::vector<Bytes> frames;
  bench.Until([&] {
    Burst arrived;
    bench.b().rx(kFirst).Receive(arrived);
    for (const Packet* packet : arrived) frames.push_back(BytesOf(*packet));
    bench.a().tx(kFirst).Reclaim();
    return frames.size() >= count;
  });
  return frames;
}

TEST_CASE(
    "whatever a packet asks for, and whatever a card can do of it, the same frames leave a verbs port") {
  const Profile profile = GENERATE(from_range(Profiles()));
  const size_t piece = GENERATE(0, 700, 150);
  INFO(profile.name << ", pieces of " << piece);
  Subject subject = VerbsSubject({.hardware = profile.hardware}, profile.options);
  NicBench bench(subject);
  bench.Start();
  uint64_t sent = 0;
  for (const Case& one : Cases()) {
    INFO(one.name);
    Burst burst;
    burst.Push(PacketFor(bench.pool_a(), one, piece));
    CHECK(bench.a().tx(kFirst).Send(burst) == 1);
    CHECK((Arrived(bench, one.frames.size()) == one.frames));
    CHECK(bench.a().tx(kFirst).stats().packets == ++sent);
  }
  CHECK(bench.a().drops().total() == 0);
}

TEST_CASE("cards that cut by themselves are given the whole packet") {
  const bool extended = GENERATE(false, true);
  NicBench bench(VerbsSubject({}, {.extended_send = extended ? Want::kRequire : Want::kOff}));
  bench.Start();
  const Bytes big = TcpFrame(Spec(false, 9000));
  // Software cuts with buffers of the pool; it has none left.
  PacketPtr packet = MakePacket(bench.pool_a(), big);
  packet->offload = {.l4_checksum = true, .segment = true, .mss = kMss};
  std::vector<Burst> rest(bench.pool_a().available() / Burst::kCapacity + 1);
  for (Burst& burst : rest) bench.pool_a().Get(burst, Burst::kCapacity);
  REQUIRE(bench.pool_a().available() == 0);
  Burst burst;
  burst.Push(std::move(packet));
  CHECK(bench.a().tx(kFirst).Send(burst) == 1);
  CHECK((Arrived(bench, Cut(big).size()) == Cut(big)));
}

const ModeInForce& ModeOf(const std::vector<ModeInForce>& modes, const std::string& name) {
  return *std::find_if(modes.begin(), modes.end(), [&](const ModeInForce& one) { return one.name == name; });
}

TEST_CASE("tags are taken off arrivals, by the card or in software") {
  SoftwareVerbsHardware hardware;
  hardware.vlan_strip = GENERATE(true, false);
  hardware.max_work_queues = GENERATE(16, 0);
  NicBench bench(VerbsSubject({.hardware = hardware}, {.strip_vlan = true}));
  bench.Start();
  CHECK(ModeOf(bench.b().modes(), "vlan-strip").active == hardware.vlan_strip);
  Burst burst;
  burst.Push(MakePacket(bench.pool_a(), UdpFrame({.vlans = {0x6007}})));
  burst.Push(MakePacket(bench.pool_a(), UdpFrame({})));
  CHECK(bench.a().tx(kFirst).Send(burst) == 2);
  Burst arrived;
  REQUIRE(bench.Until([&] { return bench.b().rx(kFirst).Receive(arrived), arrived.size() == 2; }));
  CHECK(arrived[0].vlan_stripped);
  CHECK(arrived[0].vlan_tci == 0x6007);
  CHECK_FALSE(arrived[1].vlan_stripped);
  for (const Packet* packet : arrived) CHECK((BytesOf(*packet) == UdpFrame({})));
}

TEST_CASE("arrivals are stamped with the time of the clock, by the card or in software") {
  ManualClock clock;
  clock.Advance(absl::Seconds(77));
  SoftwareVerbsHardware hardware;
  hardware.timestamps = GENERATE(true, false);
  NicBench bench(VerbsSubject({.hardware = hardware, .clock = &clock}, {.stamp = true, .clock = &clock}));
  bench.Start();
  CHECK(bench.b().capabilities().timestamps == hardware.timestamps);
  for (int round = 0; round < 5; ++round) {
    clock.Advance(absl::Milliseconds(700));
    bench.SendAll(0, 1);
    Burst arrived;
    REQUIRE(bench.Until([&] { return bench.b().rx(kFirst).Receive(arrived) == 1; }));
    CHECK(arrived[0].timestamp() == clock.Now());
  }
}

TEST_CASE("frame check sequences are kept where a card has them, and refused where not") {
  NicBench bench(VerbsSubject({}, {.keep_fcs = true}));
  bench.Start();
  Burst burst;
  burst.Push(MakePacket(bench.pool_a(), Padded(UdpFrame({.payload = "fcs"}))));
  const Bytes frame = BytesOf(burst[0]);
  CHECK(bench.a().tx(kFirst).Send(burst) == 1);
  Burst arrived;
  REQUIRE(bench.Until([&] { return bench.b().rx(kFirst).Receive(arrived) == 1; }));
  CHECK(arrived[0].length() == frame.size() + 4);
  CHECK((testing::Cut(BytesOf(arrived[0]), frame.size()) == frame));

  SoftContext poor({.hardware = SoftwareVerbsHardware::Poor()}, MakeNullWire());
  const absl::Status refused =
      OpenVerbsNic({.device = "soft0", .context = poor.context(), .keep_fcs = true}).status();
  CHECK(refused.code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOf(refused)->capability == "frame check sequences");
}

TEST_CASE("what a verbs port requires of its card and does not find is refused by its name") {
  SoftContext poor({.hardware = SoftwareVerbsHardware::Poor()}, MakeNullWire());
  const auto capability = [&poor](VerbsNicOptions options) {
    options.context = poor.context();
    options.device = "soft0";
    return ProblemOf(OpenVerbsNic(options).status())->capability;
  };
  CHECK(capability({.segmentation = Want::kRequire}) == "segmentation");
  CHECK(capability({.extended_send = Want::kRequire}) == "extended send calls");
}

TEST_CASE("a transmit queue with a limit sends no faster, and as fast as it can without") {
  ManualClock clock;
  NicBench bench(VerbsSubject({.clock = &clock}));
  bench.Start();
  auto& nic = static_cast<VerbsNic&>(bench.a());
  REQUIRE(nic.LimitRate(kFirst, 8'000) == absl::OkStatus());  // a byte a microsecond
  Burst burst = bench.Frames(0, 60, 1000);
  CHECK(bench.a().tx(kFirst).Send(burst) == 60);
  size_t arrived = 0;
  const auto poll = [&] {
    for (int i = 0; i < 50; ++i) {
      Burst some;
      bench.a().tx(kFirst).Reclaim();
      arrived += bench.b().rx(kFirst).Receive(some);
    }
    return arrived;
  };
  const size_t at_once = poll();
  CHECK(at_once < 30);  // a burst's worth
  clock.Advance(absl::Milliseconds(10));
  CHECK(poll() >= at_once + 9);
  CHECK(arrived <= at_once + 11);
  REQUIRE(nic.LimitRate(kFirst, 0) == absl::OkStatus());
  CHECK(poll() == 60);
  CHECK(nic.LimitRate(QueueId{1}, 1).code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
#include "sluice/host/switch.h"

#include "absl/strings/str_cat.h"
#include "tests/host/switch_rig.h"
#include "tests/support/lender.h"

namespace sluice::testing {
namespace {

using Ports = std::vector<uint16_t>;

const char* const kA = "02:00:00:00:00:0a";
const char* const kB = "02:00:00:00:00:0b";
const char* const kAll = "ff:ff:ff:ff:ff:ff";

Bytes Frame(const std::string& from, const std::string& to) {
  return UdpFrame({.source_mac = from, .destination_mac = to});
}
MacAddress Mac(const std::string& text) { return MacAddress::Parse(text).value(); }

struct ThreePorts : SwitchRig {
  PortId p0 = Add(), p1 = Add(), p2 = Add();
};

TEST_CASE("a frame to an unknown address leaves at every other port, unchanged") {
  ThreePorts rig;
  const Egress out = rig.Send(rig.p0, Frame(kA, kB));
  CHECK(PortsOf(out) == Ports{1, 2});
  CHECK(out.at(1) == std::vector<Bytes>{Frame(kA, kB)});
  CHECK(out.at(2) == std::vector<Bytes>{Frame(kA, kB)});
  CHECK(rig.the_switch->stats().unknown == 1);
  CHECK(rig.the_switch->stats().copies == 1);
}

TEST_CASE("a frame to an address that was seen leaves at its port alone") {
  ThreePorts rig;
  rig.Send(rig.p1, Frame(kB, kAll));
  CHECK(PortsOf(rig.Send(rig.p0, Frame(kA, kB))) == Ports{1});
  CHECK(PortsOf(rig.Send(rig.p1, Frame(kB, kA))) == Ports{0});
  CHECK(rig.the_switch->stats().learned == 2);
}

TEST_CASE("in a burst of trains each frame leaves where its own destination is") {
  SwitchRig rig;
  const PortId from = rig.Add(), first = rig.Add(), second = rig.Add();
  const std::string a = "02:00:00:00:00:aa", b = "02:00:00:00:00:bb", all = "ff:ff:ff:ff:ff:ff";
  rig.Send(first, UdpFrame({.source_mac = a, .destination_mac = all}));
  rig.Send(second, UdpFrame({.source_mac = b, .destination_mac = all}));
  std::vector<Bytes> frames;
  Egress expected;
  for (const std::string& to : {a, a, b, all, all, b, a, b, b, a, a}) {
    frames.push_back(UdpFrame({.destination_mac = to}));
    if (to != b) expected[first.value()].push_back(frames.back());
    if (to != a) expected[second.value()].push_back(frames.back());
  }
  CHECK(rig.SendAll(from, frames) == expected);
}

TEST_CASE("of a train that nobody has the destination of each frame is copied and counted") {
  ThreePorts rig;
  const std::vector<Bytes> train(5, Frame(kA, kB));
  CHECK(rig.SendAll(rig.p0, train) == Egress{{1, train}, {2, train}});
  CHECK(rig.the_switch->stats().unknown == 5);
  CHECK(rig.the_switch->stats().copies == 5);

  CHECK(PortsOf(rig.SendAll(rig.p0, std::vector<Bytes>(5, Frame(kA, kAll)))) == Ports{1, 2});
  CHECK(rig.the_switch->stats().multicast == 5);

  CHECK(rig.SendAll(rig.p0, std::vector<Bytes>(5, Frame(kA, "01:80:c2:00:00:0e"))).empty());
  CHECK(rig.the_switch->stats().reserved == 5);
  CHECK(rig.drops(rig.p0, DropReason::kNoDestination) == 5);
  CHECK(rig.Balanced());
}

TEST_CASE("a frame that is cut off in a train of whole ones is dropped, and they are not") {
  ThreePorts rig;
  rig.Send(rig.p1, Frame(kB, kAll));
  Burst burst;
  for (int i = 0; i < 3; ++i) burst.Push(MakePacket(*rig.pool, Frame(kA, kB)));
  burst[1].SetLength(13);  // the rest still lies behind
  CHECK(rig.SendBurst(rig.p0, std::move(burst)) == Egress{{1, {Frame(kA, kB), Frame(kA, kB)}}});
  CHECK(rig.drops(rig.p0, DropReason::kTooShort) == 1);
}

TEST_CASE("broadcast and multicast leave at all ports but the one they came from") {
  ThreePorts rig;
  CHECK(PortsOf(rig.Send(rig.p1, Frame(kA, kAll))) == Ports{0, 2});
  CHECK(PortsOf(rig.Send(rig.p1, Frame(kA, "01:00:5e:00:00:fb"))) == Ports{0, 2});
  CHECK(rig.the_switch->stats().multicast == 2);
}

TEST_CASE("a frame to an address on its own port is dropped as same-segment") {
  ThreePorts rig;
  rig.Send(rig.p0, Frame(kB, kAll));
  CHECK(rig.Send(rig.p0, Frame(kA, kB)).empty());
  CHECK(rig.drops(rig.p0, DropReason::kSameSegment) == 1);
}

TEST_CASE(
    "link-local group addresses stay on their link and are counted, and the next one above is flooded") {
  ThreePorts rig;
  for (const char* reserved : {"01:80:c2:00:00:00", "01:80:c2:00:00:0e", "01:80:c2:00:00:0f"}) {
    CHECK(rig.Send(rig.p0, Frame(kA, reserved)).empty());
  }
  CHECK(rig.the_switch->stats().reserved == 3);
  CHECK(rig.drops(rig.p0, DropReason::kNoDestination) == 3);
  CHECK(PortsOf(rig.Send(rig.p0, Frame(kA, "01:80:c2:00:00:10"))) == Ports{1, 2});
}

TEST_CASE("an address that shows up on another port moves there and is counted") {
  ThreePorts rig;
  rig.Send(rig.p0, Frame(kA, kAll));
  rig.Send(rig.p2, Frame(kA, kAll));
  CHECK(PortsOf(rig.Send(rig.p1, Frame(kB, kA))) == Ports{2});
  CHECK(rig.the_switch->stats().moved == 1);
  CHECK(rig.stats(rig.p0).addresses == 0);
  CHECK(rig.stats(rig.p2).addresses == 1);
}

TEST_CASE("an address is forgotten when it was silent for longer than the ageing time, and not before") {
  ThreePorts rig;
  rig.Send(rig.p1, Frame(kB, kAll));
  rig.clock.Advance(absl::Seconds(300));
  CHECK(PortsOf(rig.Send(rig.p0, Frame(kA, kB))) == Ports{1});
  rig.clock.Advance(absl::Seconds(1));
  CHECK(PortsOf(rig.Send(rig.p0, Frame(kA, kB))) == Ports{1, 2});
}

TEST_CASE("each frame from an address makes it young again") {
  ThreePorts rig;
  for (int i = 0; i < 10; ++i) {
    rig.Send(rig.p1, Frame(kB, kAll));
    rig.clock.Advance(absl::Seconds(299));
  }
  CHECK(PortsOf(rig.Send(rig.p0, Frame(kA, kB))) == Ports{1});
  CHECK(rig.the_switch->stats().learned == 2);
}

TEST_CASE("a day of silence does not make an old address look young") {
  ThreePorts rig;
  rig.Send(rig.p1, Frame(kB, kAll));
  for (int second = 0; second < 70'000; ++second) {
    rig.clock.Advance(absl::Seconds(1));
    if (second % 100 == 0) rig.Send(rig.p0, Frame(kA, kAll));
  }
  CHECK(PortsOf(rig.Send(rig.p0, Frame(kA, kB))) == Ports{1, 2});
  CHECK(rig.the_switch->stats().expired == 1);
}

TEST_CASE("frames that no station sends are dropped as malformed or too short") {
  ThreePorts rig;
  CHECK(rig.Send(rig.p0, Frame("01:00:00:00:00:01", kB)).empty());
  CHECK(rig.Send(rig.p0, Frame("00:00:00:00:00:00", kB)).empty());
  CHECK(rig.drops(rig.p0, DropReason::kMalformed) == 2);
  CHECK(rig.Send(rig.p0, Cut(Frame(kA, kB), 13)).empty());
  CHECK(rig.drops(rig.p0, DropReason::kTooShort) == 1);
  CHECK(rig.the_switch->addresses().empty());
}

TEST_CASE("a port with allowed sources drops all others as spoofed and does not learn them") {
  SwitchRig rig;
  const PortId guest = rig.Add({.allowed_sources = {Mac(kB), Mac(kA)}});
  rig.Add();
  CHECK(PortsOf(rig.Send(guest, Frame(kA, kAll))) == Ports{1});
  CHECK(PortsOf(rig.Send(guest, Frame(kB, kAll))) == Ports{1});
  CHECK(rig.Send(guest, Frame("02:00:00:00:00:0c", kAll)).empty());
  CHECK(rig.drops(guest, DropReason::kSpoofed) == 1);
  CHECK(rig.the_switch->addresses().size() == 2);
}

TEST_CASE("with nobody else in the VLAN there is no destination") {
  SwitchRig rig;
  const PortId lonely = rig.Access(7);
  rig.Access(8);
  CHECK(rig.Send(lonely, Frame(kA, kAll)).empty());
  CHECK(rig.drops(lonely, DropReason::kNoDestination) == 1);
}

TEST_CASE("a flood source loses addresses of its own port only") {
  SwitchRig rig;
  const PortId victim = rig.Add({.max_addresses = 1000});
  const PortId offender = rig.Add({.max_addresses = 100});
  const auto numbered = [](int i) {
    return absl::StrCat("02:00:00:01:", absl::Hex(i / 256, absl::kZeroPad2), ":",
                        absl::Hex(i % 256, absl::kZeroPad2));
  };
  for (int i = 0; i < 1000; ++i) rig.Send(victim, Frame(numbered(i), kAll));
  for (int i = 1000; i < 9000; ++i) rig.Send(offender, Frame(numbered(i), kAll));
  CHECK(rig.stats(victim).addresses == 1000);
  CHECK(rig.stats(offender).addresses == 100);
  CHECK(rig.the_switch->stats().evicted == 7900);
  CHECK(rig.the_switch->stats().learn_full == 0);
}

TEST_CASE("an address in use outlives a flood of others from its own port") {
  SwitchRig rig;
  const PortId port = rig.Add({.max_addresses = 64});
  const PortId other = rig.Add();
  for (int i = 0; i < 6000; ++i) {
    if (i % 16 == 0) rig.clock.Advance(absl::Seconds(1));
    if (i % 4 == 0) rig.Send(port, Frame(kA, kAll));
    rig.Send(port, Frame(MacAddress({2, 9, 0, 0, uint8_t(i / 256), uint8_t(i % 256)}).ToString(), kAll));
  }
  CHECK(PortsOf(rig.Send(other, Frame(kB, kA))) == Ports{0});
  CHECK(rig.the_switch->stats().evicted > 5000);
}

TEST_CASE("a port that may learn nothing still forwards") {
  SwitchRig rig;
  const PortId mute = rig.Add({.max_addresses = 0});
  rig.Add();
  CHECK(PortsOf(rig.Send(mute, Frame(kA, kAll))) == Ports{1});
  CHECK(rig.the_switch->stats().learn_full == 1);
}

TEST_CASE("what a full egress does not take is held in order up to a burst, and dropped beyond") {
  const int train = GENERATE(1, 7);
  const bool known = GENERATE(true, false);
  CAPTURE(train, known);
  ThreePorts rig;
  if (known) rig.Send(rig.p1, Frame(kB, kAll));
  const uint64_t before = rig.the_switch->stats().sent;
  Switch::Turn turn(*rig.the_switch, WorkerId{0});
  for (int i = 0; i < 70;) {
    Burst burst;
    for (int end = i + train; i < end; ++i) {
      burst.Push(
          MakePacket(*rig.pool, UdpFrame({.source_mac = kA, .destination_mac = kB, .ip_id = uint16_t(i)})));
    }
    turn.Forward(rig.p0, burst);
    turn.Flush([](PortId, Burst&) {});
  }
  CHECK(turn.holding());
  CHECK(rig.the_switch->stats().sent == before);
  CHECK(rig.Balanced());
  for (const PortId port : known ? std::vector{rig.p1} : std::vector{rig.p1, rig.p2}) {
    CHECK(rig.stats(port).held == 64);
    CHECK(rig.drops(port, DropReason::kTransmitRingFull) == 6);
  }
  const Egress out = rig.Take(turn);
  CHECK_FALSE(turn.holding());
  for (const auto& [port, frames] : out) {
    REQUIRE(frames.size() == 64);
    for (int i = 0; i < 64; ++i) CHECK(frames[i][19] == i);  // low byte of the IPv4 id
  }
  CHECK(out.size() == (known ? 1 : 2));
}

// What is lent to the packets of a burst from p0 to p1, and a turn that holds them.
struct Holding : ThreePorts {
  explicit Holding(size_t payload)
      : frame(UdpFrame({.source_mac = kA, .destination_mac = kB, .payload_size = payload})) {
    Send(p1, Frame(kB, kAll));
  }
  void Forward(size_t packets) {
    Burst burst;
    for (size_t i = 0; i < packets; ++i) burst.Push(guest.Lend(*pool, frame, 64));
    turn.Forward(p0, burst);
    FlushInVain();
  }
  void FlushInVain() {
    turn.Flush([](PortId, Burst&) {});
  }

  CountingLender guest;
  Bytes frame;
  Switch::Turn turn{*the_switch, WorkerId{0}};
};

TEST_CASE(
    "what waits for an egress for long borrows no more, and what comes then does not at all, until nothing "
    "waits") {
  const size_t payload = GENERATE(size_t{1400}, size_t{60000});
  Holding rig(payload);
  rig.Forward(3);
  rig.clock.Advance(absl::Microseconds(9999));
  rig.FlushInVain();
  CHECK(rig.guest.returned == 0);
  rig.clock.Advance(absl::Microseconds(1));
  rig.FlushInVain();
  CHECK(rig.guest.returned == 3);
  rig.Forward(2);
  CHECK(rig.guest.returned == 5);
  CHECK(rig.stats(rig.p1).held == 5);

  const Bytes expected = rig.frame;
  rig.frame.assign(rig.frame.size(), 0);  // the guest may write there again
  CHECK(rig.Take(rig.turn).at(1) == std::vector<Bytes>(5, expected));
  CHECK(rig.Balanced());

  rig.frame = expected;
  rig.Forward(1);
  CHECK(rig.guest.returned == 5);
  CHECK(rig.Take(rig.turn).at(1).size() == 1);
  CHECK(rig.guest.returned == 6);
  CHECK(rig.pool->available() == rig.pool->options().packets);
}

TEST_CASE("what waits for long and finds no buffers is dropped, counted, and the others keep their order") {
  Holding rig(60000);
  Burst burst;
  for (const size_t payload : {100u, 60000u, 200u}) {
    burst.Push(
        MakePacket(*rig.pool, UdpFrame({.source_mac = kA, .destination_mac = kB, .payload_size = payload})));
    if (payload == 60000) burst.Push(rig.guest.Lend(*rig.pool, rig.frame, 64));
  }
  rig.turn.Forward(rig.p0, burst);
  rig.FlushInVain();
  std::vector<PacketPtr> hoard;
  while (rig.pool->available() >= rig.pool->options().packets / 2) hoard.push_back(rig.pool->GetOne());
  rig.clock.Advance(absl::Milliseconds(10));
  rig.FlushInVain();
  CHECK(rig.guest.returned == 1);
  CHECK(rig.drops(rig.p1, DropReason::kNoBuffer) == 1);
  CHECK(rig.stats(rig.p1).held == 3);
  CHECK(rig.Balanced());
  std::vector<size_t> lengths;
  const Egress egress = rig.Take(rig.turn);
  for (const Bytes& out : egress.at(1)) lengths.push_back(out.size());
  CHECK(lengths == std::vector<size_t>{142, 60042, 242});
}

TEST_CASE("a pool without packets costs copies, counted as no-buffer, and never the original") {
  ThreePorts rig;
  Burst hoard;
  PacketPtr packet = MakePacket(*rig.pool, Frame(kA, kAll));
  std::vector<PacketPtr> taken;
  while (PacketPtr one = rig.pool->GetOne()) taken.push_back(std::move(one));
  CHECK(PortsOf(rig.SendPacket(rig.p0, std::move(packet))) == Ports{2});
  CHECK(rig.drops(rig.p1, DropReason::kNoBuffer) == 1);
  CHECK(rig.Balanced());
}

TEST_CASE("a removed port keeps nothing: addresses, held packets, its number") {
  ThreePorts rig;
  rig.Send(rig.p1, Frame(kB, kAll));
  {
    Switch::Turn turn(*rig.the_switch, WorkerId{0});
    Burst burst;
    burst.Push(MakePacket(*rig.pool, Frame(kA, kB)));
    turn.Forward(rig.p0, burst);
    turn.Flush([](PortId, Burst&) {});
  }
  REQUIRE(rig.the_switch->RemovePort(rig.p1).ok());
  CHECK(rig.the_switch->stats().drops[DropReason::kPortRemoved] == 1);
  CHECK(rig.Balanced());
  CHECK(rig.Add() == rig.p1);
  CHECK(rig.stats(rig.p1).received == 0);
  CHECK(PortsOf(rig.Send(rig.p0, Frame(kA, kB))) == Ports{1, 2});
}

TEST_CASE("a burst from a port that is not there is dropped as port-removed") {
  ThreePorts rig;
  CHECK(rig.Send(PortId{9}, Frame(kA, kB)).empty());
  CHECK(rig.Send(PortId{60000}, Frame(kA, kB)).empty());
  CHECK(rig.the_switch->stats().drops[DropReason::kPortRemoved] == 2);
  CHECK(rig.Balanced());
}

TEST_CASE("wrong options are refused with what to do about them") {
  const std::unique_ptr<PacketPool> pool = SmallPool();
  CHECK(Switch::Create({}).status().code() == absl::StatusCode::kInvalidArgument);
  for (const SwitchOptions& wrong :
       {SwitchOptions{.pool = pool.get(), .workers = 0}, SwitchOptions{.pool = pool.get(), .max_ports = 4097},
        SwitchOptions{.pool = pool.get(), .max_addresses = 0},
        SwitchOptions{.pool = pool.get(), .ageing = absl::Milliseconds(10)}}) {
    CHECK(Switch::Create(wrong).status().code() == absl::StatusCode::kInvalidArgument);
  }
  SwitchRig rig({.max_ports = 2, .max_addresses = 1500});
  for (const SwitchPortOptions& wrong :
       {SwitchPortOptions{.vlan = 0}, SwitchPortOptions{.vlan = 4095},
        SwitchPortOptions{.allowed_vlans = {3}},
        SwitchPortOptions{.vlan_mode = VlanMode::kTrunk, .allowed_vlans = {0}},
        SwitchPortOptions{.allowed_sources = {Mac(kAll)}}}) {
    CHECK(rig.the_switch->AddPort(wrong).status().code() == absl::StatusCode::kInvalidArgument);
  }
  rig.Add({.name = "left"});
  CHECK(rig.the_switch->AddPort({.name = "left", .max_addresses = 1}).status().code() ==
        absl::StatusCode::kAlreadyExists);
  CHECK(rig.the_switch->AddPort({}).status().code() == absl::StatusCode::kResourceExhausted);
  rig.Add({.max_addresses = 1});
  CHECK(rig.the_switch->AddPort({.max_addresses = 0}).status().code() ==
        absl::StatusCode::kResourceExhausted);
  CHECK(rig.the_switch->RemovePort(PortId{7}).code() == absl::StatusCode::kNotFound);
  CHECK(rig.the_switch->UpdatePort(PortId{7}, {}).code() == absl::StatusCode::kNotFound);
}

TEST_CASE("state goes out and comes back the same, also as bytes, and ages go on") {
  SwitchRig before;
  const PortId guest = before.Add({.name = "guest", .vlan = 10, .allowed_sources = {Mac(kA)}});
  before.Trunk(0, {10, 20});
  before.Send(guest, Frame(kA, kAll));
  before.clock.Advance(absl::Seconds(200));
  const SwitchState state = before.the_switch->state();
  REQUIRE(state.addresses.size() == 1);
  CHECK(state.addresses[0].age == absl::Seconds(200));
  CHECK(LoadState<SwitchState>(SaveState(state)).value() == state);

  SwitchRig after;
  REQUIRE(after.the_switch->Restore(state).ok());
  CHECK(after.the_switch->state() == state);
  after.clock.Advance(absl::Seconds(101));
  CHECK(after.the_switch->addresses().empty());
}

TEST_CASE("state that makes no sense is refused whole") {
  const SwitchPort port{PortId{3}, {.vlan = 10}};
  const LearnedAddress learned{10, Mac(kA), PortId{3}, absl::ZeroDuration()};
  const auto with = [&](auto change) {
    SwitchState state{{port}, {learned}};
    change(state);
    SwitchRig rig;
    const absl::Status status = rig.the_switch->Restore(state);
    CHECK(rig.the_switch->ports().size() == (status.ok() ? 1u : 0u));
    return status.code();
  };
  CHECK(with([](SwitchState&) {}) == absl::StatusCode::kOk);
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  CHECK(with([](SwitchState& s) { s.ports[0].id = PortId{64}; }) == kInvalid);
  CHECK(with([](SwitchState& s) { s.ports.push_back(s.ports[0]); }) == kInvalid);
  CHECK(with([](SwitchState& s) { s.ports[0].options.vlan = 0; }) == kInvalid);
  CHECK(with([](SwitchState& s) { s.addresses[0].port = PortId{4}; }) == kInvalid);
  CHECK(with([](SwitchState& s) { s.addresses[0].vlan = 11; }) == kInvalid);
  CHECK(with([](SwitchState& s) { s.addresses[0].address = Mac(kAll); }) == kInvalid);
  CHECK(with([](SwitchState& s) { s.addresses[0].age = absl::Seconds(301); }) == kInvalid);
  CHECK(with([](SwitchState& s) { s.addresses[0].age = -absl::Seconds(1); }) == kInvalid);
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// Spreading of verbs ports over their queues: by which fields, and how the table is changed under traffic.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <optional>
#include <thread>

#include "absl/time/clock.h"
#include "sluice/base/status.h"
#include "sluice/packet/rss.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/frames.h"
#include "tests/support/nic_bench.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kQueues = 4;
constexpr QueueId kFirst{0};
const std::string kFar = "02:00:00:00:00:02";

// Two ports, of which b has four queues.
class Ports {
 public:
  explicit Ports(const VerbsNicOptions& options = {}, const SoftwareVerbsOptions& soft = {})
      : bench(VerbsSubject(soft, options)) {
    QueueOptions there = bench.OptionsB();
    there.rx_queues = kQueues;
    bench.Start(bench.OptionsA(), there);
  }

  Nic& b() { return bench.b(); }

  // Out of which queue of b a frame comes; nothing when out of none, or of several.
  std::optional<uint16_t> QueueOf(const Bytes& frame) {
    Burst burst;
    burst.Push(MakePacket(bench.pool_a(), frame));
    REQUIRE(bench.a().tx(kFirst).Send(burst) == 1);
    std::optional<uint16_t> queue;
    size_t copies = 0;
    for (uint16_t i = 0; i < kQueues; ++i) {
      Burst arrived;
      if (b().rx(QueueId{i}).Receive(arrived) == 0) continue;
      copies += arrived.size();
      queue = i;
    }
    return copies == 1 ? queue : std::nullopt;
  }

  RuleId Install(const std::string& text) {
    const absl::StatusOr<RuleId> id = b().InstallRule(*Rule::Parse(text));
    if (!id.ok()) FAIL(id.status().ToString());
    return *id;
  }

  NicBench bench;
};

// Where software sends a frame.
uint16_t Predicted(const RssConfig& config, const Bytes& frame, LayerSet which = LayerSet::kOuter) {
  auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
  const PacketPtr packet = MakePacket(*pool, frame);
  (void)Parse(*packet);
  return config.QueueFor(RssHash(config, *packet, which).hash).value();
}

FrameSpec Flow(uint16_t number, bool six = false) {
  return {.destination_mac = kFar,
          .source = six ? "2001:db8::1" : "10.0.0.1",
          .destination = (six ? "2001:db8::1:" : "10.0.0.") + std::to_string(number % 200 + 1),
          .source_port = static_cast<uint16_t>(1000 + number),
          .destination_port = 80};
}

std::vector<Bytes> OfAllKinds() {
  std::vector<Bytes> frames;
  for (uint16_t i = 0; i < 16; ++i) {
    for (const bool six : {false, true}) {
      frames.push_back(UdpFrame(Flow(i, six)));
      frames.push_back(TcpFrame(Flow(i, six)));
      frames.push_back(IcmpFrame(Flow(i, six)));
    }
    FrameSpec fragment = Flow(i);
    fragment.flags_offset = Ipv4Header::kMoreFragments;
    frames.push_back(UdpFrame(fragment));
  }
  frames.push_back(ArpFrame({.destination_mac = kFar}));
  return frames;
}

RssConfig Config(RssTypes types, uint16_t first_queue = 0) {
  std::vector<QueueId> table;
  for (uint16_t i = 0; i < 64; ++i)
    table.push_back(QueueId(static_cast<uint16_t>((first_queue + i) % kQueues)));
  return *RssConfig::Create({.table = table, .types = types});
}

TEST_CASE("a verbs port with several queues spreads as software would, from the start") {
  Ports ports({.take = GENERATE(VerbsTake::kAll, VerbsTake::kOwnAddress)});
  const RssConfig start = RssConfig::Spread(kQueues);
  for (const Bytes& frame : OfAllKinds()) CHECK(ports.QueueOf(frame) == Predicted(start, frame));
}

TEST_CASE("a verbs port spreads by the types that are asked for, and the rest by less") {
  Ports ports;
  const RssTypes types =
      GENERATE(RssTypes({RssType::kIpv4, RssType::kIpv6}), RssTypes({RssType::kIpv4Tcp, RssType::kIpv6}),
               RssTypes({RssType::kIpv6Udp}), RssTypes());
  const RssConfig config = Config(types, 1);
  REQUIRE(ports.b().SetRss(config) == absl::OkStatus());
  for (const Bytes& frame : OfAllKinds()) CHECK(ports.QueueOf(frame) == Predicted(config, frame));
}

TEST_CASE("key and table of a verbs port change as often as one likes") {
  Ports ports;
  for (uint16_t round = 0; round < 6; ++round) {
    const QueueId here(static_cast<uint16_t>(round % kQueues));
    const QueueId there(static_cast<uint16_t>((round + 1) % kQueues));
    RssOptions options{.table = {here, there}};
    options.key.assign(kLongRssKeySize, static_cast<uint8_t>(17 * round + 1));
    const RssConfig config = *RssConfig::Create(options);
    REQUIRE(ports.b().SetRss(config) == absl::OkStatus());
    for (uint16_t i = 0; i < 8; ++i) {
      CHECK(ports.QueueOf(TcpFrame(Flow(i))) == Predicted(config, TcpFrame(Flow(i))));
    }
    CHECK(ports.QueueOf(ArpFrame({.destination_mac = kFar})) == here.value());
  }
}

TEST_CASE("an RSS table that a verbs port cannot have leaves the old one in force") {
  Ports ports({}, {.hardware = {.max_spread_table = 16}});
  CHECK(ports.b().capabilities().rss_table_size == 16);
  CHECK(ports.b().SetRss(RssConfig::Spread(kQueues)).code() == absl::StatusCode::kInvalidArgument);
  const RssConfig start = *RssConfig::Create({.table = RssConfig::Spread(kQueues).table()});
  CHECK(ports.QueueOf(UdpFrame(Flow(3))) == Predicted(start, UdpFrame(Flow(3))));
}

// Numbered frames of many flows, sent and received on a thread of their own.
class Traffic {
 public:
  explicit Traffic(Ports& ports) : ports_(ports), thread_([this] { Run(); }) {}
  void End() {
    stop_ = true;
    thread_.join();
  }
  uint64_t sent() const { return sent_; }
  // Until more has been sent than now; whether it has.
  bool GoesOn() const {
    const uint64_t before = sent_;
    for (int i = 0; i < 100'000 && sent_ == before; ++i) absl::SleepFor(absl::Microseconds(100));
    return sent_ > before;
  }
  // How often each came.
  const std::vector<uint32_t>& seen() const { return seen_; }

 private:
  void Run() {
    for (int idle = 0; idle < 2000;) {
      const bool more = !stop_;
      if (more) SendSome();
      idle = ReceiveSome() || more ? 0 : idle + 1;
    }
  }
  void SendSome() {
    Burst burst;
    for (uint64_t i = 0; i < 16; ++i) {
      FrameSpec spec = Flow(static_cast<uint16_t>((sent_ + i) % 97));
      spec.bytes = Bytes(8);
      const uint64_t number = sent_ + i;
      std::memcpy(spec.bytes.data(), &number, sizeof(number));
      PacketPtr packet = MakePacket(ports_.bench.pool_a(), UdpFrame(spec));
      if (packet != nullptr) burst.Push(std::move(packet));
    }
    sent_ += ports_.bench.a().tx(kFirst).Send(burst);
  }
  bool ReceiveSome() {
    bool any = false;
    for (uint16_t i = 0; i < kQueues; ++i) {
      Burst arrived;
      any = ports_.b().rx(QueueId{i}).Receive(arrived) > 0 || any;
      for (const Packet* packet : arrived) {
        uint64_t number;
        std::memcpy(&number, packet->data() + packet->length() - sizeof(number), sizeof(number));
        if (number >= seen_.size()) seen_.resize(number + 1);
        ++seen_[number];
      }
    }
    return any;
  }

  Ports& ports_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> sent_{0};
  std::vector<uint32_t> seen_;
  std::thread thread_;
};

TEST_CASE("while the table of a verbs port changes, no frame is lost and none comes twice") {
  Ports ports;
  if (GENERATE(false, true)) ports.Install("pattern ipv4 / udp dst is 80 / end actions rss / end");
  Traffic traffic(ports);
  uint16_t round = 0;
  for (; round < 40 && traffic.GoesOn(); ++round) {
    if (ports.b().SetRss(Config(RssTypes::All(), round % kQueues)) != absl::OkStatus()) break;
  }
  traffic.End();
  CHECK(round == 40);
  CHECK(traffic.seen() == std::vector<uint32_t>(traffic.sent(), 1));
  CHECK(ports.bench.a().drops().total() == 0);
}

TEST_CASE("a rule that spreads follows the table, also where nothing else comes in") {
  Ports ports({.take = VerbsTake::kNothing});
  ports.Install("pattern ipv4 / udp dst is 80 / end actions rss / mark id 9 / end");
  for (uint16_t round = 0; round < 4; ++round) {
    const RssConfig config = Config(RssTypes::All(), round);
    REQUIRE(ports.b().SetRss(config) == absl::OkStatus());
    for (uint16_t i = 0; i < 8; ++i) {
      CHECK(ports.QueueOf(UdpFrame(Flow(i))) == Predicted(config, UdpFrame(Flow(i))));
    }
    CHECK_FALSE(ports.QueueOf(TcpFrame(Flow(1))).has_value());
  }
}

TEST_CASE("a rule for what is in a tunnel spreads by what is in the tunnel") {
  Ports ports;
  ports.Install("pattern ipv4 / udp dst is 4789 / vxlan / ipv4 / tcp / end actions rss / end");
  const RssConfig start = RssConfig::Spread(kQueues);
  for (uint16_t i = 0; i < 16; ++i) {
    const Bytes frame = VxlanFrame({.destination_mac = kFar, .destination_port = 4789}, TcpFrame(Flow(i)));
    CHECK(ports.QueueOf(frame) == Predicted(start, frame, LayerSet::kInnermost));
  }
}

TEST_CASE("a rule of a verbs port is changed in its place, and counts on") {
  Ports ports;
  const RuleId id = ports.Install("priority 3 pattern ipv4 / udp / end actions queue index 1 / count / end");
  ports.Install("priority 4 pattern ipv4 / udp / end actions queue index 3 / end");
  for (uint16_t round = 0; round < 6; ++round) {
    const QueueId queue(static_cast<uint16_t>(round % 3));
    REQUIRE(ports.b().UpdateRule(id, {.queue = queue, .count = true}) == absl::OkStatus());
    CHECK(ports.QueueOf(UdpFrame(Flow(round))) == queue.value());
    CHECK(ports.b().QueryRule(id)->packets == round + 1u);
  }
  REQUIRE(ports.b().UpdateRule(id, {.drop = true}) == absl::OkStatus());
  CHECK_FALSE(ports.QueueOf(UdpFrame(Flow(1))).has_value());
  CHECK(ports.b().QueryRule(id).status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(ports.b().UpdateRule(id, {.queue = QueueId{kQueues}}).code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a verbs port whose card has no work queues says that it does not spread") {
  Ports ports({}, {.hardware = {.max_work_queues = 0}});
  const absl::Status refused = ports.b().SetRss(RssConfig::Spread(kQueues));
  CHECK(refused.code() == absl::StatusCode::kUnimplemented);
  CHECK(ProblemOf(refused)->capability == "RSS");
  CHECK(ports.QueueOf(UdpFrame(Flow(1))) == 0);
}

}  // namespace
}  // namespace sluice::testing

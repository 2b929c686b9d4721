// SPDX-License-Identifier: Apache-2.0
// A vhost-user port with a copy engine: what is finished before rings, memory and front-ends go, and what a worker does meanwhile.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <thread>

#include "sluice/control/engine.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "tests/nic/model_engine.h"
#include "tests/nic/vhost_pair.h"

namespace sluice::testing {

namespace {

constexpr absl::Duration kLong = absl::Seconds(1);
constexpr uint64_t kSplit = kVirtioUserFeatures & ~feature::kPacked;

ModelCopyEngineOptions Takes(absl::Duration time) { return {.fastest = time, .slowest = time}; }

struct EnginePort {
  explicit EnginePort(const ModelCopyEngineOptions& engine = Takes(kLong), VhostPairOptions options = {})
      : engines(engine), pair(With(std::move(options))) {}

  VhostPairOptions With(VhostPairOptions options) {
    options.port.copies = engines.Options(500);
    return options;
  }
  void SendLong(int frames) {
    for (int i = 0; i < frames; ++i) pair.FromPort(UdpFrame({.payload_size = 1400}));
  }
  size_t GuestHas() { return VhostPair::CountWaiting(pair.guest(), 0); }
  TxQueue& tx() { return pair.port().tx(QueueId{0}); }

  ModelEngines engines;
  VhostPair pair;
};

}  // namespace

TEST_CASE("a port with a copy engine says when to look, and tells what was copied by whom") {
  EnginePort port(Takes(absl::Microseconds(5)));
  CHECK(port.tx().due() == absl::InfiniteDuration());
  port.SendLong(2);
  port.pair.FromPort(UdpFrame({}));
  CHECK(port.tx().due() == ModelEngines::kPatience);
  CHECK(port.GuestHas() == 0);
  port.engines.Pass(ModelEngines::kPatience);
  CHECK(port.tx().Reclaim() == 3);
  CHECK(port.tx().due() == absl::InfiniteDuration());
  CHECK(port.GuestHas() == 3);
  const VhostReport report = port.pair.port().report();
  CHECK(report.copy_engine == "model");
  CHECK(report.copies.by_engine == 2);
  CHECK(report.copies.small == 1);
  CHECK(report.copies.timeouts == 1);
}

TEST_CASE("a ring that stops, or is disabled, or whose memory changes, finishes its copies first") {
  EnginePort port(Takes(kLong), {.guest = {.features = GENERATE(kSplit, kVirtioUserFeatures)}});
  const std::function<void(VirtioUserNic&)> changes[] = {
      [](VirtioUserNic& guest) { guest.StopRing(0); },
      [](VirtioUserNic& guest) { guest.EnableRing(0, false); },
      [](VirtioUserNic& guest) { guest.AddMemory(1 << 20); },
      [](VirtioUserNic& guest) { guest.TellTable(); },
      [](VirtioUserNic& guest) { guest.StartLog(); },
  };
  const auto& change = changes[GENERATE(range(0, 5))];
  port.SendLong(5);
  REQUIRE(port.engines.pending() == 5);
  CHECK(port.GuestHas() == 0);
  change(port.pair.guest());
  port.pair.Settle();
  CHECK(port.engines.pending() == 0);
  CHECK(port.GuestHas() == 5);
  CHECK(port.tx().due() == absl::InfiniteDuration());
}

TEST_CASE("a front-end that dies with copies pending finds their frames when it returns") {
  EnginePort port(Takes(kLong), {.guest = {.features = kSplit}});
  port.SendLong(5);
  port.pair.guest().Vanish();
  REQUIRE(port.pair.Until([&] { return port.pair.port().link() == LinkState::kDown; }));
  CHECK(port.engines.pending() == 0);
  port.pair.guest().Return();
  REQUIRE(port.pair.Until([&] { return port.pair.BothUp(); }));
  CHECK(port.GuestHas() == 5);
}

TEST_CASE("memory is taken away while copies to it are pending, and all of them arrive") {
  EnginePort port;
  port.pair.guest().AddMemory(1 << 20);
  port.pair.Settle();
  size_t got = 0;
  for (int round = 0; round < 8; ++round) {
    port.SendLong(32);
    got += port.GuestHas();
  }
  port.pair.guest().RemoveMemory(1);
  CHECK(port.pair.Until([&] {
    port.engines.Pass(kLong);
    port.tx().Reclaim();
    got += port.GuestHas();
    return port.pair.guest().regions().files().size() == 1;
  }));
  CHECK(got == 8 * 32);
}

TEST_CASE("every page that an engine or the port writes while the guest moves is in its log") {
  EnginePort port;
  port.pair.guest().StartLog();
  port.pair.Settle();
  const SharedMemory memory = port.pair.guest().regions().files()[0]->memory();
  const Bytes before(memory.here, memory.here + memory.bytes);
  port.SendLong(20);
  for (size_t page = 0; page < memory.bytes; page += kGuestPage) {
    if (!std::equal(memory.here + page, memory.here + page + kGuestPage, &before[page]))
      CHECK(port.pair.guest().IsLogged(memory.guest + page));
  }
  CHECK(port.GuestHas() == 20);
  CHECK(port.pair.port().report().copies.not_allowed == 20);
}

TEST_CASE("a ring that a queue loses to another finishes its copies first") {
  EnginePort port(Takes(kLong), {.port_queues = {.rx_queues = 2, .tx_queues = 2},
                                 .guest_queues = {.rx_queues = 3, .tx_queues = 3}});
  port.pair.FromPort(UdpFrame({.payload_size = 1400}), 1);
  CHECK(port.pair.port().tx(QueueId{1}).due() < absl::InfiniteDuration());
  port.pair.guest().EnableRing(0, false);
  port.pair.Settle();
  port.pair.FromPort(UdpFrame({.payload_size = 1400}), 1);
  CHECK(VhostPair::CountWaiting(port.pair.guest(), 1) == 1);
}

TEST_CASE("a port whose engine cannot be had copies by processor, and says why") {
  VhostPair pair({.port = {.copies = {.engine = [](QueueId) -> absl::StatusOr<std::unique_ptr<CopyEngine>> {
                             return absl::UnavailableError("no work queue is free");
                           }}}});
  pair.FromPort(UdpFrame({.payload_size = 1400}));
  CHECK(VhostPair::CountWaiting(pair.guest(), 0) == 1);
  CHECK(pair.port().report().copy_engine == "no work queue is free");
  CHECK(pair.port().tx(QueueId{0}).due() == absl::InfiniteDuration());
}

TEST_CASE("a port without an engine has nothing that is due") {
  VhostPair pair;
  pair.FromPort(UdpFrame({.payload_size = 1400}));
  CHECK(pair.port().tx(QueueId{0}).due() == absl::InfiniteDuration());
  CHECK(VhostPair::CountWaiting(pair.guest(), 0) == 1);
  CHECK(pair.port().report().copy_engine.empty());
}

TEST_CASE("options of copies that are out of range are refused by name") {
  for (const DeferredCopyOptions& wrong : std::vector<DeferredCopyOptions>{
           {.at_least = 0}, {.patience = absl::ZeroDuration()}, {.patience = absl::Seconds(2)}}) {
    CHECK(OpenVhostNic({.path = "x", .copies = wrong}).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

namespace {

// A worker between a guest behind a port with a copy engine, and a NIC on a cable.
class WorkerRig {
 public:
  WorkerRig() {
    auto [here, there] = MakeWirePair();
    cable_ = ModelNic::Open({.name = "cable"}, std::move(there)).value();
    REQUIRE(cable_->Start({.pool = pool_.get()}) == absl::OkStatus());
    Add(ModelNic::Open({.name = "nic"}, std::move(here)).value(), "nic");
    Add(OpenVhostNic({.path = folder_.file("vhost"), .copies = engines_.Options(500)}).value(), "guest");
    REQUIRE(guest_.Start({.pool = pool_.get()}) == absl::OkStatus());
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    while (guest_.link() == LinkState::kDown && absl::Now() < deadline) {
      engine_->TakeEvents();
      guest_.TakeEvents();
    }
    REQUIRE(guest_.link() == LinkState::kUp);
  }
  ~WorkerRig() { CHECK(guest_.Stop() == absl::OkStatus()); }

  void Add(std::unique_ptr<Nic> nic, const std::string& name) {
    PortOptions options;
    options.switching.name = name;
    REQUIRE(engine_->AddPort(std::move(nic), options).ok());
  }
  Worker& worker() { return engine_->worker(WorkerId{0}); }
  ModelEngines& engines() { return engines_; }
  void SendByCable(const Bytes& frame) {
    Burst burst;
    burst.Push(MakePacket(*pool_, frame));
    REQUIRE(cable_->tx(QueueId{0}).Send(burst) == 1);
  }
  size_t GuestHas() { return VhostPair::CountWaiting(guest_, 0); }
  // As the loop of a host does.
  bool FallsAsleep() {
    for (int i = 0; i < 100; ++i) {
      if (worker().PrepareToSleep()) return true;
      worker().PollOnce();
    }
    return false;
  }

 private:
  const TempFolder folder_;
  ModelEngines engines_{Takes(absl::Microseconds(5))};
  const std::unique_ptr<PacketPool> pool_ =
      PacketPool::Create({.packets = 8192, .huge_pages = HugePages::kOff}).value();
  const std::unique_ptr<Engine> engine_ =
      Engine::Create({.pool = pool_.get(), .workers = 1, .worker = {.mode = WorkerMode::kInterrupt}}).value();
  std::unique_ptr<ModelNic> cable_;
  VirtioUserNic guest_{{.path = folder_.file("vhost")}};
};

}  // namespace

TEST_CASE("a worker stays awake while a copy is due, tells the guest within T, and sleeps then") {
  WorkerRig rig;
  REQUIRE(rig.FallsAsleep());
  rig.SendByCable(UdpFrame({.payload_size = 1400}));
  rig.worker().PollOnce();
  REQUIRE(rig.engines().pending() == 1);
  CHECK_FALSE(rig.FallsAsleep());
  CHECK(rig.GuestHas() == 0);
  rig.engines().Pass(ModelEngines::kPatience);
  rig.worker().PollOnce();
  CHECK(rig.GuestHas() == 1);
  CHECK(rig.FallsAsleep());
}

TEST_CASE("queues send by engines while rings come and go", "[threads]") {
  ModelEngines engines({.capacity = 16, .slowest = absl::Microseconds(3), .fail_chance = 0.1});
  VhostPair pair({.port = {.copies = engines.Options(500)},
                  .port_queues = {.rx_queues = 2, .tx_queues = 2},
                  .guest_queues = {.rx_queues = 2, .tx_queues = 2}});
  std::atomic<bool> stop = false;
  std::vector<std::thread> senders;
  for (uint16_t queue = 0; queue < 2; ++queue) {
    senders.emplace_back([&, queue] {
      while (!stop) {
        Burst burst;
        burst.Push(MakePacket(pair.port_pool(), UdpFrame({.payload_size = 1000})));
        pair.port().tx(QueueId{queue}).Send(burst);
        pair.port().tx(QueueId{queue}).Reclaim();
        engines.Pass(absl::Microseconds(1));
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    const auto ring = static_cast<uint16_t>(round % 4);
    pair.guest().StopRing(ring);
    pair.Settle();
    for (uint16_t queue = 0; queue < 2; ++queue) VhostPair::CountWaiting(pair.guest(), queue);
    pair.guest().StartRing(ring);
    pair.Settle();
  }
  CHECK(pair.Until([&] {
    return VhostPair::CountWaiting(pair.guest(), 0) + VhostPair::CountWaiting(pair.guest(), 1) > 0;
  }));
  stop = true;
  for (std::thread& sender : senders) sender.join();
  CHECK(pair.port().report().bad_messages == 0);
}

}  // namespace sluice::testing

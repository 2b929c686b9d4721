// SPDX-License-Identifier: Apache-2.0
// An engine between kernels: guests are network namespaces behind veth pairs.
#include <time.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "sluice/control/engine.h"
#include "sluice/control/open_port.h"
#include "tests/control/engine_rig.h"
#include "tests/support/netns.h"

namespace sluice::testing {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);

// Guests 10.0.0.1 and so on, the engine's ends of their cables in a namespace of its own, and its workers running.
class KernelRig {
 public:
  KernelRig(const std::string& kind, int guests) {
    for (int i = 0; i < guests; ++i) AddGuest(kind, i);
    workers_ = std::make_unique<RunningWorkers>(*engine_);
  }
  ~KernelRig() { workers_.reset(); }

  Namespace& guest(size_t i) { return guests_[i]; }
  Engine& engine() { return *engine_; }
  Namespace& where() { return where_; }
  void RemoveGuest(size_t i) { guests_[i].Remove(); }

  PortId AddPort(const std::string& name) {
    absl::StatusOr<std::unique_ptr<Nic>> nic = OpenPort(name);
    if (!nic.ok()) throw std::runtime_error(nic.status().ToString());
    const auto added = engine_->AddPort(*std::move(nic), {.rx_queues = 1, .tx_queues = 1});
    if (!added.ok()) throw std::runtime_error(added.status().ToString());
    return *added;
  }

  // What a host's control thread does, until `done` or for as long as there is patience.
  template <typename Done>
  bool SuperviseUntil(Done done) {
    for (const absl::Time end = absl::Now() + kPatience; absl::Now() < end;) {
      for (PortEvent& happened : engine_->TakeEvents()) {
        if (happened.event.kind == NicEvent::Kind::kRemoved) (void)engine_->RemovePort(happened.port);
        events.push_back(std::move(happened));
      }
      if (done()) return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  }
  bool Heard(PortId port, NicEvent::Kind kind) const { return HeardTimes(port, kind) > 0; }
  int64_t HeardTimes(PortId port, NicEvent::Kind kind) const {
    return std::count_if(events.begin(), events.end(), [&](const PortEvent& event) {
      return event.port == port && event.event.kind == kind;
    });
  }

  // Exact from here on.
  Balance StopAndBalance() {
    workers_.reset();
    return BalanceOf(engine_->snapshot());
  }
  void CheckAllHome() {
    engine_.reset();
    CHECK(pool_->available() == pool_->options().packets);
  }

  std::vector<PortEvent> events;

 private:
  void AddGuest(const std::string& kind, int i) {
    guests_.push_back(Namespace::Make("guest"));
    const std::string port = absl::StrCat("port", i);
    cables_.push_back(
        std::make_unique<VethPair>(guests_.back(), "eth0", where_, port,
                                   VethOptions{.address_a = absl::StrCat("10.0.0.", i + 1, "/24")}));
    AddPort(absl::StrCat(kind, ":", port));
  }

  Namespace where_ = Namespace::Make("host");
  NamespaceScope inside_{where_};
  std::deque<Namespace> guests_;  // cables point at them
  std::vector<std::unique_ptr<VethPair>> cables_;
  std::unique_ptr<PacketPool> pool_ =
      PacketPool::Create({.packets = 16384, .huge_pages = HugePages::kOff}).value();
  std::unique_ptr<Engine> engine_ = Engine::Create({.pool = pool_.get(), .workers = 2}).value();
  std::unique_ptr<RunningWorkers> workers_;
};

constexpr char kPing[] = "exec ping -q -c 400 -i 0.003 -W 2 ";

TEST_CASE("a guest whose namespace disappears under traffic takes its port along, and the others go on") {
  const std::string kind = GENERATE("xdp", "packet");
  INFO(kind);
  KernelRig rig(kind, 3);
  Process pinging = rig.guest(0).Start(absl::StrCat(kPing, "10.0.0.2"));
  const Process pinging_the_lost = rig.guest(1).Start(absl::StrCat(kPing, "10.0.0.3"));
  REQUIRE(rig.SuperviseUntil([&] { return rig.engine().snapshot().workers[0].stats.packets > 100; }));

  rig.RemoveGuest(2);
  CHECK(rig.SuperviseUntil([&] { return rig.engine().snapshot().ports.size() == 2; }));
  CHECK(rig.HeardTimes(PortId{2}, NicEvent::Kind::kRemoved) == 1);
  CHECK(rig.SuperviseUntil([&] { return pinging.Wait(absl::ZeroDuration()) != kTimedOut; }));
  INFO(pinging.Output());
  CHECK(pinging.Output().find(" 0% packet loss") != std::string::npos);

  CHECK(rig.StopAndBalance().difference() == 0);
  rig.CheckAllHome();
}

TEST_CASE("a TAP interface that is deleted under a running host takes its port along") {
  KernelRig rig("packet", 2);
  const PortId tap = rig.AddPort("tap:tap0");
  rig.where().MustRun("ip link set tap0 up");
  REQUIRE(rig.SuperviseUntil([&] { return rig.Heard(tap, NicEvent::Kind::kLinkUp); }));
  rig.where().MustRun("ip link del tap0");
  CHECK(rig.SuperviseUntil([&] { return rig.engine().snapshot().ports.size() == 2; }));
  CHECK(rig.HeardTimes(tap, NicEvent::Kind::kRemoved) == 1);
  CHECK(rig.guest(0).Run("ping -c 3 -i 0.05 -W 2 10.0.0.2").ok());

  CHECK(rig.StopAndBalance().difference() == 0);
  rig.CheckAllHome();
}

TEST_CASE("a guest that takes its link down leaves a packet socket's port down, its frames counted") {
  KernelRig rig("packet", 3);
  REQUIRE(rig.SuperviseUntil([&] { return rig.Heard(PortId{2}, NicEvent::Kind::kLinkUp); }));
  Process pinging = rig.guest(0).Start(absl::StrCat(kPing, "10.0.0.2"));

  rig.guest(2).MustRun("ip link set eth0 down");
  CHECK(rig.SuperviseUntil([&] { return rig.Heard(PortId{2}, NicEvent::Kind::kLinkDown); }));
  // Nobody has the address: the request for it goes to every port, the dead one too.
  rig.guest(1).Run("ping -c 2 -i 0.2 -W 1 10.0.0.9");
  CHECK(rig.engine().nic(PortId{2})->drops()[DropReason::kLinkDown] > 0);
  CHECK(rig.SuperviseUntil([&] { return pinging.Wait(absl::ZeroDuration()) != kTimedOut; }));
  INFO(pinging.Output());
  CHECK(pinging.Output().find(" 0% packet loss") != std::string::npos);

  CHECK(rig.StopAndBalance().difference() == 0);
  rig.CheckAllHome();
}

absl::Duration ProcessorTime() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

TEST_CASE("an adaptive host on AF_XDP ports idles near 0 % of a processor, and answers the next packet") {
  KernelRig rig("xdp", 2);
  CHECK(rig.guest(0).Run("ping -c 3 -i 0.05 -W 2 10.0.0.2").ok());
  absl::SleepFor(absl::Milliseconds(200));  // the kernel's late answers
  const absl::Duration before = ProcessorTime();
  absl::SleepFor(absl::Seconds(1));  // the thing under test is time spent idle
  CHECK(ProcessorTime() - before < absl::Milliseconds(20));
  CHECK(rig.guest(1).Run("ping -c 3 -i 0.05 -W 2 10.0.0.1").ok());
}

}  // namespace
}  // namespace sluice::testing

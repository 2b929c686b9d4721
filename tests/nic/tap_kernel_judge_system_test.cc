// SPDX-License-Identifier: Apache-2.0
// Two kernels that talk through a pair of model NICs on TAP wires: what the library passes on, they judge.
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/tap_wire.h"
#include "tests/support/netns.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Namespace;
using testing::Process;
using testing::TempFolder;

// left kernel ── tap0 ── ModelNic ═ pump ═ ModelNic ── tap0 ── right kernel
class Bridge {
 public:
  explicit Bridge(const ModelHardware& hardware)
      : left(Namespace::Make("left")),
        right(Namespace::Make("right")),
        pool_(*PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff})),
        left_nic_(NicOn(left, "10.0.0.1/24", hardware)),
        right_nic_(NicOn(right, "10.0.0.2/24", hardware)),
        pump_([this] { Pump(); }) {}
  ~Bridge() {
    stop_ = true;
    pump_.join();
  }

  std::string Counter(const std::string& name) const {
    const std::string command = "nstat -az " + name + " | awk '/" + name + "/ {printf \"%s \", $2}'";
    return left.MustRun(command) + right.MustRun(command);
  }
  DropCounts drops() const {
    DropCounts drops = left_nic_->drops();
    return drops += right_nic_->drops();
  }

  const Namespace left, right;

 private:
  std::unique_ptr<Nic> NicOn(const Namespace& where, const std::string& address,
                             const ModelHardware& hardware) {
    auto wire = MakeTapWire({.interface = "tap0", .netns = where.path()});
    auto nic = ModelNic::Open({.name = where.name(), .hardware = hardware}, *std::move(wire));
    if (!nic.ok() || !(*nic)->Start({.rx_ring = 64, .tx_ring = 64, .pool = pool_.get()}).ok())
      throw std::runtime_error("no model NIC on tap0");
    where.MustRun("ip addr add " + address + " dev tap0; ip link set tap0 up");
    while ((*nic)->link() == LinkState::kDown) (*nic)->TakeEvents();
    return *std::move(nic);
  }
  static void Move(Nic& from, Nic& to) {
    Burst burst;
    from.rx(QueueId(0)).Receive(burst);
    while (!burst.empty()) to.tx(QueueId(0)).Send(burst);
  }
  void Pump() {
    while (!stop_) {
      Move(*left_nic_, *right_nic_);
      Move(*right_nic_, *left_nic_);
    }
  }

  std::unique_ptr<PacketPool> pool_;
  std::unique_ptr<Nic> left_nic_, right_nic_;
  std::atomic<bool> stop_{false};
  std::thread pump_;
};

}  // namespace

TEST_CASE("kernels on TAP wires ping and copy a file through model NICs without one wrong checksum") {
  const bool poor = GENERATE(false, true);
  Bridge bridge(poor ? ModelHardware::Poor() : ModelHardware{});
  CHECK(bridge.left.Run("ping -c 3 -i 0.2 -s 1400 10.0.0.2").ok());

  TempFolder folder;
  const std::string file = folder.file("file");
  bridge.left.MustRun("head -c 4000000 /dev/urandom > " + file);
  const Process server =
      bridge.left.Start("python3 -u -m http.server --bind 10.0.0.1 8000 --directory " + folder.path());
  REQUIRE(server.WaitForOutput("Serving", absl::Seconds(20)));
  const std::string fetch =
      "python3 -c \"import urllib.request,sys; "
      "sys.stdout.buffer.write(urllib.request.urlopen('http://10.0.0.1:8000/file', timeout=60).read())\"";
  CHECK(bridge.right.MustRun(fetch + " | cmp - " + file + " && echo same") == "same\n");

  for (const char* counter : {"TcpInCsumErrors", "IcmpInCsumErrors", "UdpInCsumErrors", "IpInHdrErrors"}) {
    INFO(counter);
    CHECK(bridge.Counter(counter) == "0 0 ");
  }
  CHECK(bridge.drops().total() == 0);
}

}  // namespace sluice

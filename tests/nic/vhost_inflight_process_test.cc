// SPDX-License-Identifier: Apache-2.0
// A guest whose host is killed again and again, in the middle of its work, and started anew: with what is in flight noted, each
// chain comes back once, in split and packed rings.
#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>

#include "absl/time/clock.h"
#include "sluice/nic/vhost_nic.h"
#include "tests/nic/virtio_user_nic.h"
#include "tests/support/frames.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Below;
using testing::MakePacket;
using testing::PrintedSeed;
using testing::Process;
using testing::Random;
using testing::TempFolder;
using testing::UdpFrame;
using testing::VirtioUserNic;
namespace feature = testing::feature;

std::unique_ptr<PacketPool> MakePool() {
  return *PacketPool::Create({.packets = 2048, .huge_pages = HugePages::kOff});
}

// Sends back all that comes, short frames copied and long ones lent, until it is killed.
Process EchoHost(const std::string& path) {
  return Process::Fork([path] {
    const std::unique_ptr<PacketPool> pool = MakePool();
    const auto port = *OpenVhostNic({.path = path, .copy_up_to = 500, .packed = Want::kPrefer});
    if (!port->Start({.pool = pool.get()}).ok()) return 1;
    for (;;) {
      port->TakeEvents();
      Burst burst;
      port->rx(QueueId{0}).Receive(burst);
      port->tx(QueueId{0}).Send(burst);
    }
  });
}

// A guest that sends as much as it can, and takes what comes back.
class BusyGuest {
 public:
  BusyGuest(const std::string& path, uint64_t features)
      : pool_(MakePool()),
        nic_({.path = path,
              .features = features,
              .protocol_features =
                  testing::kVirtioUserProtocol | BitOf(VhostProtocolFeature::kInflightShmfd)}) {
    REQUIRE(nic_.Start({.rx_ring = 64, .tx_ring = 64, .pool = pool_.get()}).ok());
  }
  VirtioUserNic& nic() { return nic_; }

  // Serves it, without sending, until `done`; false when it takes long.
  template <typename Done>
  bool Until(Done done) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (!done()) {
      if (absl::Now() > deadline) return false;
      nic_.TakeEvents();
      Take();
    }
    return true;
  }
  bool Up() {
    return Until([&] { return nic_.link() == LinkState::kUp; });
  }
  // Sends some, and goes on until as many frames came back.
  bool Exchange(size_t frames) {
    const size_t wanted = came_ + frames;
    return Until([&] {
      Burst burst;
      for (size_t i = 0; i < 8; ++i) {
        PacketPtr packet =
            MakePacket(*pool_, UdpFrame({.payload_size = i % 2 == 0 ? size_t{20} : size_t{1400}}));
        if (packet != nullptr) burst.Push(std::move(packet));
      }
      nic_.tx(QueueId{0}).Send(burst);
      return came_ >= wanted;
    });
  }

 private:
  void Take() {
    for (Burst burst; nic_.rx(QueueId{0}).Receive(burst) > 0; burst.Clear()) came_ += burst.size();
  }

  const std::unique_ptr<PacketPool> pool_;
  VirtioUserNic nic_;
  size_t came_ = 0;
};

TEST_CASE("a host that is killed at its work and started again loses no chain of its guest, and doubles none",
          "[vhost]") {
  Random random(PrintedSeed());
  const uint64_t packed = GENERATE(uint64_t{0}, uint64_t{feature::kPacked});
  const TempFolder folder;
  BusyGuest guest(folder.file("vhost"), (testing::kVirtioUserFeatures & ~feature::kPacked) | packed);
  for (int round = 0; round < 8; ++round) {
    Process host = EchoHost(folder.file("vhost"));
    REQUIRE(guest.Up());
    CHECK(guest.Exchange(1 + Below(random, 500)));  // the driver throws for a chain that is not out
    host.Signal(SIGKILL);
    CHECK(host.Wait(absl::Seconds(10)) == 128 + SIGKILL);
    REQUIRE(guest.Until([&] { return guest.nic().link() == LinkState::kDown; }));
  }
  Process host = EchoHost(folder.file("vhost"));
  REQUIRE(guest.Up());
  CHECK(guest.Exchange(100));
  CHECK(guest.Until([&] { return guest.nic().Outstanding(1) == 0; }));
  CHECK(guest.nic().trouble().empty());
}

}  // namespace
}  // namespace sluice

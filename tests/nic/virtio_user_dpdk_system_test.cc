// SPDX-License-Identifier: Apache-2.0
// Our driver on the device of somebody else: what it says over the socket and lays into its rings is understood there. Judged
// by DPDK's vhost, which swaps the addresses of each frame and sends it back.
#include <catch2/catch.hpp>
#include <deque>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/nic/virtio_user_nic.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"
#include "tests/support/skip.h"

namespace sluice::testing {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr size_t kUnderWay = 8;  // frames: fewer than the smallest ring of receive buffers has room for

class SwappingDevice {
 public:
  explicit SwappingDevice(const std::string& more = "")
      : testpmd_(Process::Command(absl::StrCat(
            "exec dpdk-testpmd --no-huge --no-pci -m 128 --no-telemetry --lcores 0@0,1@1 --file-prefix=",
            "sluice", getpid(), " --vdev=net_vhost0,iface=", path(), more,
            " -- --forward-mode=macswap --total-num-mbufs=4096 --stats-period=100"))) {
    if (!testpmd_.WaitForOutput("Port statistics", kPatience)) throw std::runtime_error(testpmd_.Output());
  }
  const std::string& path() const { return folder_.path; }

 private:
  struct Path {
    ~Path() { unlink(path.c_str()); }
    const std::string path = absl::StrCat("/tmp/sluice-vhost-", getpid(), ".sock");
  };
  Path folder_;
  Process testpmd_;
};

void SkipWithoutDpdk() {
  if (!RunCommand("command -v dpdk-testpmd").ok())
    SkipTest("dpdk-testpmd is not installed: install dpdk-dev");
}

// A started driver with a pool.
class Driver {
 public:
  Driver(VirtioUserNicOptions options, uint16_t ring)
      : pool_(*PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff})),
        nic_(std::move(options)) {
    REQUIRE(nic_.Start({.rx_ring = ring, .tx_ring = ring, .pool = pool_.get()}) == absl::OkStatus());
  }
  ~Driver() {
    CHECK(nic_.Stop() == absl::OkStatus());
    CHECK(pool_->available() == pool_->options().packets);
  }

  bool Until(const std::function<bool()>& done) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (!done()) {
      if (absl::Now() > deadline) return done();
      nic_.TakeEvents();
    }
    return true;
  }
  // Sends each frame and takes it back, some at a time.
  void SendRound(const std::deque<Bytes>& frames) {
    std::deque<Bytes> expected;
    size_t next = 0, back = 0;
    REQUIRE(Until([&] {
      Burst burst;
      while (next < frames.size() && next - back < kUnderWay && burst.room() > 0) {
        expected.push_back(frames[next]);
        burst.Push(MakePacket(*pool_, frames[next++]));
      }
      while (!burst.empty()) nic_.tx(QueueId{0}).Send(burst);
      nic_.rx(QueueId{0}).Receive(burst);
      for (; !burst.empty(); burst.PopFront(), ++back) {
        REQUIRE((Swapped(BytesOf(burst[0])) == expected.front()));
        expected.pop_front();
      }
      return back == frames.size();
    }));
  }
  VirtioUserNic& nic() { return nic_; }

 private:
  static Bytes Swapped(Bytes frame) {
    std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
    return frame;
  }

  std::unique_ptr<PacketPool> pool_;
  VirtioUserNic nic_;
};

std::deque<Bytes> RandomFrames(Random& random, size_t count) {
  std::deque<Bytes> frames;
  for (size_t i = 0; i < count; ++i) {
    frames.push_back(UdpFrame({.payload_size = 18 + Below(random, 1450)}));
    frames.back()[50] = static_cast<uint8_t>(random());
  }
  return frames;
}

TEST_CASE("DPDK's device understands our driver in each kind of ring", "[vhost][dpdk]") {
  SkipWithoutDpdk();
  Random random(PrintedSeed());
  SwappingDevice device;
  using namespace feature;
  for (const uint64_t without :
       {uint64_t{0}, kPacked, kPacked | kInOrder, kEventIndex, kPacked | kEventIndex, kIndirect,
        kMrgRxbuf | kGuestTso | kGuestUso, kPacked | kMrgRxbuf | kIndirect}) {
    for (const bool apart : {false, true}) {
      CAPTURE(VhostFeatureNames(without), apart);
      Driver driver({.path = device.path(),
                     .features = kVirtioUserFeatures & ~without,
                     .layout = {.rx_buffer = 4096, .tx_piece = apart ? 300u : 4096u, .header_apart = apart},
                     .strict = false},  // its header of an unmerged frame says 0 buffers
                    256);
      REQUIRE(driver.Until([&] { return driver.nic().link() == LinkState::kUp; }));
      CHECK((driver.nic().features() & without) == 0);
      driver.SendRound(RandomFrames(random, 200));
    }
  }
}

TEST_CASE("DPDK's device goes on where it was when our driver comes back", "[vhost][dpdk]") {
  SkipWithoutDpdk();
  Random random(PrintedSeed());
  SwappingDevice device;
  const uint64_t without = GENERATE(uint64_t{0}, feature::kPacked);
  Driver driver({.path = device.path(), .features = kVirtioUserFeatures & ~without}, 256);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(driver.Until([&] { return driver.nic().link() == LinkState::kUp; }));
    driver.SendRound(RandomFrames(random, 100));
    driver.nic().Vanish();
    driver.nic().Return();
  }
}

}  // namespace
}  // namespace sluice::testing

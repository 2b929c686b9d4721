// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/dpdk_swapper.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/support/skip.h"

namespace sluice::testing {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr size_t kUnderWay = 8;  // frames: no ring has room for fewer
constexpr const char* kStarted = "Port statistics";

void SkipWithoutDpdk() {
  if (!RunCommand("command -v dpdk-testpmd").ok())
    SkipTest("dpdk-testpmd is not installed: install dpdk-dev");
}

// Its two threads share a processor, so that one is left.
Process Start(const std::string& vdev) {
  SkipWithoutDpdk();
  return Process::Command(absl::StrCat(
      "exec dpdk-testpmd --no-huge --no-pci -m 128 --no-telemetry --lcores 0@0,1@0 --file-prefix=sluice",
      getpid(), " --vdev=", vdev, " -- --forward-mode=macswap --total-num-mbufs=4096 --stats-period=100"));
}

Bytes Swapped(Bytes frame) {
  std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
  return frame;
}

}  // namespace

DpdkSwapper::DpdkSwapper(const std::string& vdev, const std::function<void()>& meanwhile)
    : testpmd_(Start(vdev)) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!testpmd_.WaitForOutput(kStarted, absl::Milliseconds(10))) {
    if (absl::Now() > deadline) throw std::runtime_error(testpmd_.Output());
    if (meanwhile) meanwhile();
  }
}

std::deque<Bytes> RandomFrames(Random& random, size_t count, size_t longest) {
  constexpr size_t kHeaders = 42;
  std::deque<Bytes> frames;
  for (size_t i = 0; i < count; ++i) {
    frames.push_back(UdpFrame({.payload_size = 18 + Below(random, longest - kHeaders - 17)}));
    frames.back()[kHeaders + Below(random, 18)] = static_cast<uint8_t>(random());
  }
  return frames;
}

SwapJudge::SwapJudge(std::unique_ptr<Nic> nic, uint16_t ring)
    : pool_(*PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff})), nic_(std::move(nic)) {
  REQUIRE(nic_->Start({.rx_ring = ring, .tx_ring = ring, .pool = pool_.get()}) == absl::OkStatus());
}

SwapJudge::~SwapJudge() {
  CHECK(nic_->Stop() == absl::OkStatus());
  CHECK(pool_->available() == pool_->options().packets);
}

bool SwapJudge::Until(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) return done();
    nic_->TakeEvents();
  }
  return true;
}

void SwapJudge::AwaitLink() {
  REQUIRE(Until([this] { return nic_->link() == LinkState::kUp; }));
}

void SwapJudge::Exchange(const std::deque<Bytes>& frames) {
  size_t sent = 0, back = 0, wrong = 0;
  Burst burst;  // to send, and what a full ring did not take
  CHECK(Until([&] {
    for (; sent < frames.size() && sent - back < kUnderWay; ++sent) {
      burst.Push(MakePacket(*pool_, frames[sent]));
    }
    nic_->tx(QueueId{0}).Send(burst);
    Burst arrived;
    nic_->rx(QueueId{0}).Receive(arrived);
    for (; !arrived.empty() && back < sent; arrived.PopFront(), ++back) {
      wrong += BytesOf(arrived[0]) != Swapped(frames[back]);
    }
    return back == frames.size();
  }));
  CHECK(back == frames.size());
  CHECK(wrong == 0);
}

}  // namespace sluice::testing

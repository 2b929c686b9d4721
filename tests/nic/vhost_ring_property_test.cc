// SPDX-License-Identifier: Apache-2.0
// What holds for any frames, chains, cuts, ring sizes and positions: frames cross in order and whole, every write is logged, no
// wake-up is lost.
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <catch2/catch.hpp>
#include <deque>
#include <thread>

#include "tests/nic/vhost_ring_rig.h"
#include "tests/support/random_frames.h"

namespace sluice::testing {
namespace {

constexpr uint32_t kPackets = 1024;

// Of any size, begun anywhere, so that indices wrap.
DriverRingOptions RandomRing(Random& random) {
  const bool packed = Below(random, 2) == 0;
  const auto size = static_cast<uint16_t>(8 + Below(random, 60));
  return {.packed = packed,
          .indirect = Below(random, 2) == 0,
          .event_index = Below(random, 2) == 0,
          .in_order = Below(random, 2) == 0,
          .size = packed ? size : std::bit_floor(size),
          .went_before = static_cast<uint16_t>(packed ? Below(random, 2 * size) : 65536 - Below(random, 40))};
}

RigOptions RandomOptions(Random& random) {
  const uint32_t headers[] = {10, 12, 20};
  RigOptions options = {.ring = RandomRing(random), .header_bytes = headers[Below(random, 3)]};
  options.mergeable = options.header_bytes > 10 && Below(random, 2) == 0;
  options.packets = kPackets;
  options.source.copy_up_to = static_cast<uint32_t>(Below(random, 3000));
  return options;
}

std::vector<uint32_t> RandomCuts(Random& random, size_t most) {
  std::vector<uint32_t> cuts(Below(random, most));
  for (uint32_t& cut : cuts)
    cut = static_cast<uint32_t>(1 + Below(random, Below(random, 2) == 0 ? 30 : 2000));
  return cuts;
}

Bytes SomeFrame(Random& random) { return RandomFrame(random, {.most_payload = 4000}); }

// A guest that sends, and a host that holds what it receives for a while.
class Sending {
 public:
  explicit Sending(Random& random) : random_(random), rig_(RandomOptions(random)) { rig_.StartSource(); }

  void Step() {
    if (Below(random_, 2) == 0) Offer();
    if (Below(random_, 2) == 0) Receive();
    if (Below(random_, 2) == 0) FreeSome();
    if (Below(random_, 4) == 0) Restart();
    rig_.TakeAllUsed();
  }
  void Finish() {
    Receive();
    held_.clear();
    rig_.source().Reclaim();
    rig_.TakeAllUsed();
    REQUIRE(expected_.empty());
    REQUIRE(rig_.driver().outstanding() == 0);
    REQUIRE(rig_.pool().available() == kPackets);
    REQUIRE(rig_.source().fault() == RingFault::kNone);
  }

 private:
  void Offer() {
    if (rig_.driver().outstanding() == 0) rig_.Rewind(RingRig::kHigh - Below(random_, 20000));
    const Bytes frame = SomeFrame(random_);
    if (rig_.driver().free_descriptors() < 8) return;
    rig_.Offer(frame, RandomCuts(random_, 7));
    expected_.push_back(frame);
  }
  void Receive() {
    Burst burst;
    while (rig_.Receive(burst) != 0) {
      while (!burst.empty()) {
        REQUIRE(!expected_.empty());
        REQUIRE(BytesOf(burst[0]) == expected_.front());
        expected_.pop_front();
        held_.push_back(burst.PopFront());
      }
    }
  }
  void FreeSome() {
    while (!held_.empty() && Below(random_, 3) != 0)
      held_.erase(held_.begin() + static_cast<ptrdiff_t>(Below(random_, held_.size())));
  }
  void Restart() {
    held_.clear();
    const RingPosition stopped = rig_.source().Stop();
    rig_.source().Start(rig_.shape(), rig_.place(), rig_.After(stopped));
  }

  Random& random_;
  RingRig rig_;
  std::deque<Bytes> expected_;
  std::vector<PacketPtr> held_;
};

// What of the rig's memory was written, against its log.
class LogJudge {
 public:
  explicit LogJudge(RingRig& rig) : rig_(rig) {}

  void Begin() {
    std::fill(rig_.log_bits().begin(), rig_.log_bits().end(), uint8_t{0});
    before_.clear();
    for (const GuestRegion& region : rig_.memory()->regions())
      before_.emplace_back(region.here, region.here + region.bytes);
  }
  // Pages that were written and not logged; and how many were logged.
  size_t Missing() const {
    size_t missing = 0, i = 0;
    for (const GuestRegion& region : rig_.memory()->regions()) {
      const Bytes& before = before_[i++];
      for (size_t at = 0; at < region.bytes; at += DirtyLog::kPage) {
        const bool same = std::equal(region.here + at, region.here + at + DirtyLog::kPage, &before[at]);
        missing += !same && !Logged(region.guest + at);
      }
    }
    return missing;
  }
  size_t LoggedPages() const {
    size_t pages = 0;
    for (const uint8_t bits : rig_.log_bits()) pages += static_cast<size_t>(std::popcount(bits));
    return pages;
  }

 private:
  bool Logged(uint64_t guest) const {
    const uint64_t page = guest / DirtyLog::kPage;
    return (rig_.log_bits()[page / 8] >> page % 8 & 1) != 0;
  }

  RingRig& rig_;
  std::vector<Bytes> before_;
};

// A driver on a thread of its own, which sends so many frames and kicks only when asked to.
void SendWithKicks(RingRig& rig, int frames, int kick, const std::atomic<bool>& over) {
  const DriverPiece piece = {.guest = RingRig::kLow, .bytes = 72};
  for (int sent = 0; sent < frames && !over;) {
    while (rig.driver().TakeUsed()) {
    }
    if (!rig.driver().Add({piece}, 0)) {
      std::this_thread::yield();
      continue;
    }
    ++sent;
    rig.driver().Publish();
    if (rig.driver().KickWanted()) eventfd_write(kick, 1);
  }
}

}  // namespace

TEST_CASE("whatever a guest sends comes out whole and in order, and every chain goes back") {
  Random random(PrintedSeed());
  for (int run = 0; run < 30; ++run) {
    Sending sending(random);
    for (int step = 0; step < 60; ++step) sending.Step();
    sending.Finish();
  }
}

TEST_CASE("whatever is sent to a guest arrives whole and in order, into any chains") {
  Random random(PrintedSeed());
  for (int run = 0; run < 30; ++run) {
    RingRig rig(RandomOptions(random));
    rig.StartSink();
    std::deque<Bytes> expected;
    Burst burst;
    for (int step = 0; step < 60; ++step) {
      if (rig.driver().outstanding() == 0) rig.Rewind(RingRig::kHigh - Below(random, 20000));
      const std::vector<uint32_t> cuts = RandomCuts(random, 4);
      if (rig.driver().free_descriptors() > 4) {
        std::vector<uint32_t> chain = cuts;
        chain.push_back(rig.shape().mergeable ? 1500 : 5000);
        rig.Post(chain);
      }
      if (burst.room() != 0 && Below(random, 2) == 0) {
        expected.push_back(SomeFrame(random));
        burst.Push(MakePacket(rig.pool(), expected.back(), 100 + Below(random, 1700)));
      }
      rig.Send(burst);
      for (Bytes arrival = rig.TakeArrival(); !arrival.empty(); arrival = rig.TakeArrival()) {
        arrival.erase(arrival.begin(), arrival.begin() + rig.shape().header_bytes);
        REQUIRE(arrival == expected.front());
        expected.pop_front();
      }
    }
    REQUIRE(expected.size() == burst.size());
    REQUIRE(rig.drops().total() == 0);
  }
}

TEST_CASE("every page that is written is in the log, by comparison of all memory") {
  Random random(PrintedSeed());
  for (int run = 0; run < 12; ++run) {
    RigOptions options = RandomOptions(random);
    options.log = true;
    RingRig sending(options), receiving(options);
    LogJudge from(sending), to(receiving);
    from.Begin(), to.Begin();
    sending.StartSource(), receiving.StartSink();
    REQUIRE(from.Missing() + to.Missing() == 0);
    size_t logged = 0;
    for (int step = 0; step < 8; ++step) {
      for (int i = 0; i < 4; ++i) sending.Offer(SomeFrame(random), {12});
      for (int i = 0; i < 4; ++i) receiving.Post({1000, 6000});
      from.Begin(), to.Begin();
      Burst burst;
      while (sending.Receive(burst) != 0) {
      }
      receiving.Send(burst);
      burst.Clear();
      sending.source().Reclaim();
      sending.source().Arm();
      REQUIRE(from.Missing() == 0);
      REQUIRE(to.Missing() == 0);
      REQUIRE(from.LoggedPages() <= 4);  // of the ring alone
      logged += to.LoggedPages();
      sending.TakeAllUsed(), receiving.TakeAllUsed();
    }
    REQUIRE(logged > 0);
  }
}

TEST_CASE("without a log nothing is logged") {
  RingRig rig({.ring = {.packed = GENERATE(false, true), .size = 16}});
  rig.StartSource();
  rig.Offer(Bytes(60));
  CHECK(rig.ReceiveAll().size() == 1);
  CHECK(LogJudge(rig).LoggedPages() == 0);
}

TEST_CASE("a source that sleeps between kicks misses no frame") {
  constexpr int kFrames = 3000;
  const RigOptions options = {.ring = GENERATE_COPY(from_range(RingKinds(16)))};
  CAPTURE(TextOf(options.ring));
  RingRig rig(options);
  std::fill_n(rig.At(RingRig::kLow), 72, uint8_t{0});
  rig.StartSource();
  const UniqueFd kick(eventfd(0, EFD_NONBLOCK));
  std::atomic<bool> over{false};
  std::thread driver([&] { SendWithKicks(rig, kFrames, kick.get(), over); });
  size_t received = 0;
  bool woken = true;
  while (received < kFrames && woken) {
    Burst burst;
    const size_t got = rig.Receive(burst);
    received += got;
    if (got != 0 || !rig.source().Arm()) continue;
    pollfd wait = {.fd = kick.get(), .events = POLLIN, .revents = 0};
    woken = poll(&wait, 1, 10'000) == 1;
    eventfd_t count;
    eventfd_read(kick.get(), &count);
  }
  over = true;
  driver.join();
  CHECK(woken);
  CHECK(received == kFrames);
}

}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// The ends of a shared-memory wire where they belong: in two processes, either of which may die at any moment.
#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdint>
#include <thread>

#include "sluice/nic/shm_wire.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"
#include "tests/support/wire_ends.h"

namespace sluice {
namespace {

using testing::Below;
using testing::PrintedSeed;
using testing::Process;
using testing::Random;
using testing::Range;
using testing::ShmEnd;
using testing::TempFolder;
using testing::UntilDown;
using testing::UntilUp;

// The life of a child: it connects and does one thing until it is killed.
Process Sender(const std::string& path) {
  return Process::Fork([path] {
    ShmEnd end(path, {.role = ShmRole::kClient});
    UntilUp(end);
    for (uint64_t next = 0;;) next += end.Send(next, 32, 60 + static_cast<uint32_t>(next % 1400));
    return 0;
  });
}

Process Receiver(const std::string& path) {
  return Process::Fork([path] {
    ShmEnd end(path, {.role = ShmRole::kClient});
    UntilUp(end);
    for (;;) end.Receive();
    return 0;
  });
}

TEST_CASE("frames cross between two processes both ways, whole and in order") {
  TempFolder folder;
  ShmEnd here(folder.file("wire"));
  Process echo = Process::Fork([&folder] {
    ShmEnd there(folder.file("wire"), {.role = ShmRole::kClient});
    UntilUp(there);
    while (there.up()) {
      Burst burst;
      there.wire().Receive(burst);
      while (!burst.empty() && there.up()) {
        there.wire().Transmit(0, burst);
        there.Service();
      }
      there.Service();
    }
    return 0;
  });
  UntilUp(here);
  std::vector<uint64_t> back;
  for (uint64_t sent = 0; back.size() < 5000;) {
    sent += here.Send(sent, std::min<uint64_t>(16, 5000 - sent), 60 + static_cast<uint32_t>(sent % 1800));
    for (const uint64_t number : here.Receive()) back.push_back(number);
  }
  CHECK(back == Range(0, 5000));
  here.wire().Close();
  CHECK(echo.Wait(absl::Seconds(10)) == 0);
}

TEST_CASE(
    "a receiver that is killed leaves no packet behind, what it had not taken is counted, and a new one is "
    "served") {
  Random random(PrintedSeed());
  TempFolder folder;
  ShmEnd here(folder.file("wire"));
  for (int round = 0; round < 8; ++round) {
    Process receiver = Receiver(folder.file("wire"));
    UntilUp(here);
    const uint64_t lost_before = here.Lost(DropReason::kLinkDown);
    uint64_t sent = 0;
    const uint64_t enough = 1 + Below(random, 20'000);
    while (sent < enough) sent += here.Send(sent, 16);
    receiver.Signal(SIGKILL);
    for (int i = 0; i < 100; ++i) sent += here.Send(sent, 16);

    UntilDown(here);
    here.wire().Reclaim(0);
    CHECK(here.out() == 0);
    const uint64_t lost = here.Lost(DropReason::kLinkDown) - lost_before;
    CHECK(lost <= 256);  // the ring
    CHECK(here.wire().drops().total() == here.Lost(DropReason::kLinkDown));
  }
}

TEST_CASE(
    "what a sender had published when it was killed arrives whole and in order, and then the link is down") {
  Random random(PrintedSeed());
  TempFolder folder;
  ShmEnd here(folder.file("wire"));
  for (int round = 0; round < 8; ++round) {
    Process sender = Sender(folder.file("wire"));
    UntilUp(here);
    std::vector<uint64_t> got;
    const auto take = [&] {
      for (const uint64_t number : here.Receive()) got.push_back(number);
    };
    const uint64_t enough = Below(random, 20'000);
    while (got.size() < enough) take();
    sender.Signal(SIGKILL);
    UntilDown(here);
    take();
    CHECK(got == Range(0, got.size()));
    CHECK(here.out() == 0);
    CHECK(here.wire().drops().total() == 0);
  }
}

TEST_CASE("whichever end closes while frames fly, each frame is delivered once or counted once") {
  Random random(PrintedSeed());
  TempFolder folder;
  ShmEnd a(folder.file("wire"));
  ShmEnd b(folder.file("wire"), {.role = ShmRole::kClient});
  uint64_t sent = 0;
  uint64_t received = 0;
  for (int round = 0; round < 60; ++round) {
    UntilUp(a, b);
    const bool sender_closes = round % 2 == 0;
    const uint64_t bursts = 1 + Below(random, 200);
    std::thread sender([&] {
      for (uint64_t i = 0; i < bursts; ++i) sent += a.Send(0, 16);
      if (sender_closes) a.wire().Close();
    });
    for (uint64_t polls = Below(random, 300); polls > 0; --polls) received += b.Receive().size();
    if (!sender_closes) b.wire().Close();
    sender.join();
    if (sender_closes) received += b.Receive().size();

    ShmEnd& closed = sender_closes ? a : b;
    UntilDown(sender_closes ? b : a);
    closed.Reopen();
    a.wire().Reclaim(0);
    CHECK(sent == received + a.wire().drops().total() + b.wire().drops().total());
    CHECK(a.out() + b.out() == 0);
  }
}

}  // namespace
}  // namespace sluice

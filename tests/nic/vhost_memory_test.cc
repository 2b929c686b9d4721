// SPDX-License-Identifier: Apache-2.0
// What a vhost-user port holds for a guest, by the number of its queue pairs. The guest is in a process of its own.
#include <malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "sluice/nic/vhost_nic.h"
#include "tests/nic/virtio_user_nic.h"
#include "tests/support/process.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kMostPairs = 64;
constexpr uint32_t kRing = 256;  // as QEMU has it

std::unique_ptr<PacketPool> MakePool() {
  auto pool = PacketPool::Create({.packets = 256, .huge_pages = HugePages::kOff});
  REQUIRE(pool.ok());
  return *std::move(pool);
}

// Never returns: it is ended with its process.
[[noreturn]] int Guest(const std::string& path, uint16_t pairs) {
  const auto pool = *PacketPool::Create({.packets = 2 * kRing * kMostPairs, .huge_pages = HugePages::kOff});
  VirtioUserNic guest({.path = path});
  (void)guest.Start(
      {.rx_queues = pairs, .tx_queues = pairs, .rx_ring = kRing, .tx_ring = kRing, .pool = pool.get()});
  while (true) {
    guest.TakeEvents();
    absl::SleepFor(absl::Milliseconds(1));
  }
}

// Private memory of this process that is there, not only promised.
size_t Resident() {
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name;) {
    size_t kilobytes = 0;
    if (name == "RssAnon:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

// Given out by malloc; 0 under sanitizers, which have one of their own.
size_t Heap() {
  const struct mallinfo2 now = mallinfo2();
  return now.uordblks + now.hblkhd;
}

struct Held {
  size_t heap = 0;
  size_t resident = 0;
};

// By a port that serves a guest with `pairs` pairs, all of them enabled and polled.
Held HeldFor(uint16_t pairs) {
  const TempFolder folder;
  const auto pool = MakePool();
  const Process guest = Process::Fork([&] { return Guest(folder.file("vhost"), pairs); });
  const Held before{Heap(), Resident()};
  const auto port = OpenVhostNic({.path = folder.file("vhost"), .pairs = pairs});
  REQUIRE(port.ok());
  REQUIRE((*port)->Start({.rx_queues = pairs, .tx_queues = pairs, .pool = pool.get()}) == absl::OkStatus());
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while ((*port)->report().pairs_enabled < pairs && absl::Now() < deadline) (*port)->TakeEvents();
  REQUIRE((*port)->report().pairs_enabled == pairs);
  for (uint16_t i = 0; i < pairs; ++i) {
    Burst burst;
    (*port)->rx(QueueId{i}).Receive(burst);
  }
  return {Heap() - before.heap, Resident() - before.resident};
}

}  // namespace

TEST_CASE("a queue pair of a guest costs the port less than 80 KiB") {
  const Held one = HeldFor(1);
  const Held all = HeldFor(kMostPairs);
  if (one.heap == 0) return;  // under sanitizers nobody counts
  const size_t heap = (all.heap - one.heap) / (kMostPairs - 1);
  const size_t resident = (all.resident - std::min(one.resident, all.resident)) / (kMostPairs - 1);
  WARN("a port with one pair holds " << one.heap << " bytes; each more costs " << heap << ", of which "
                                     << resident << " are touched");
  CHECK(heap < 80 * 1024);
}

}  // namespace sluice::testing

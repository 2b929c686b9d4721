// SPDX-License-Identifier: Apache-2.0
// Several workers and a control thread at once. Run under ThreadSanitizer to find what a plain run cannot.

#include <atomic>
#include <thread>

#include "tests/host/switch_rig.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

// A worker that sends bursts from its own port, and frees what comes out wherever it does.
class Sender {
 public:
  Sender(Switch& the_switch, PacketPool& pool, uint16_t worker, uint64_t seed)
      : switch_(the_switch), pool_(pool), worker_(worker), random_(seed) {}

  void Run(int rounds, uint64_t stations) {
    for (int round = 0; round < rounds; ++round) {
      Burst burst;
      pool_.Get(burst, 32);
      for (Packet* packet : burst) Fill(*packet, stations);
      Switch::Turn turn(switch_, WorkerId{worker_});
      turn.Forward(PortId(static_cast<uint16_t>(Below(random_, 4))), burst);
      turn.Flush([&](PortId, Burst& packets) {
        taken_ += packets.size();
        packets.Clear();
      });
    }
  }
  uint64_t taken() const { return taken_; }

 private:
  void Fill(Packet& packet, uint64_t stations) {
    packet.SetLength(64);
    for (const size_t at : {0, 6}) {
      const uint64_t station = Below(random_, stations);
      const uint8_t mac[] = {2, 0, 0, 0, uint8_t(station >> 8), uint8_t(station)};
      std::copy_n(mac, sizeof(mac), packet.data() + at);
    }
    std::fill_n(packet.data() + 12, 52, uint8_t{0});
  }

  Switch& switch_;
  PacketPool& pool_;
  const uint16_t worker_;
  Random random_;
  uint64_t taken_ = 0;
};

struct Crowd : SwitchRig {
  Crowd() : SwitchRig({.workers = 3}) {
    for (int i = 0; i < 4; ++i) Add({.max_addresses = 256});
    for (uint16_t worker = 0; worker < 3; ++worker)
      senders.emplace_back(*the_switch, *pool, worker, seed + worker);
  }
  void Run(int rounds, uint64_t stations) {
    for (Sender& sender : senders)
      threads.emplace_back([&, rounds, stations] { sender.Run(rounds, stations); });
  }
  void Join() {
    for (std::thread& thread : threads) thread.join();
  }
  uint64_t taken() const {
    uint64_t sum = 0;
    for (const Sender& sender : senders) sum += sender.taken();
    return sum;
  }

  const uint64_t seed = PrintedSeed();
  std::vector<Sender> senders;
  std::vector<std::thread> threads;
};

TEST_CASE("three workers with the same stations lose no packet and keep each address once") {
  Crowd crowd;
  crowd.Run(300, 512);
  crowd.Join();
  CHECK(crowd.Balanced());
  CHECK(crowd.the_switch->stats().sent == crowd.taken());
  const std::vector<LearnedAddress> addresses = crowd.the_switch->addresses();
  for (size_t i = 1; i < addresses.size(); ++i) CHECK(addresses[i - 1].address != addresses[i].address);
  CHECK(crowd.the_switch->stats().moved > 0);
}

TEST_CASE("bounds hold while three workers flood addresses") {
  Crowd crowd;
  crowd.Run(300, 65'536);
  crowd.Join();
  for (uint16_t port = 0; port < 4; ++port) CHECK(crowd.stats(PortId{port}).addresses <= 256);
  CHECK(crowd.the_switch->stats().evicted > 0);
  CHECK(crowd.Balanced());
}

TEST_CASE("ports come, change and go while three workers run, and every packet is accounted for") {
  Crowd crowd;
  crowd.Run(300, 512);
  for (int i = 0; i < 50; ++i) {
    const PortId added = crowd.Add({.max_addresses = 64});
    crowd.clock.Advance(absl::Seconds(1));
    CHECK(crowd.the_switch->UpdatePort(added, {.vlan = 2, .max_addresses = 32}).ok());
    CHECK(crowd.the_switch->UpdatePort(added, {.vlan = 1, .max_addresses = 32}).ok());
    CHECK(crowd.the_switch->RemovePort(added).ok());
    CHECK(crowd.the_switch->RemovePort(PortId{3}).ok());
    CHECK(crowd.Add({.max_addresses = 256}) == PortId{3});
  }
  crowd.Join();
  CHECK(crowd.Balanced());
  CHECK(crowd.the_switch->stats().sent == crowd.taken());
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// One step of the switch on 64-byte frames: receive from a model NIC, parse, learn, look up, send through another one.
//
//   Loop ── Receive ──▶ left ──▶ Switch ──▶ right ── Transmit ──▶ Loop
//     └── each frame gets the next pair of addresses: from a station on the left to one on the right ──┘

#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "benchmarks/measuring_end.h"
#include "benchmarks/paired.h"
#include "sluice/host/switch.h"
#include "sluice/nic/model_nic.h"

namespace sluice::bench {
namespace {

constexpr size_t kBurst = 32;
constexpr size_t kUnderWay = 512;  // frames that circulate

// Destination, source, and what follows them in each frame: 16 bytes, written at once.
using Start = std::array<uint8_t, 16>;

// Station `number` of one side, locally administered.
void WriteStation(uint8_t* to, uint8_t side, uint32_t number) {
  const uint8_t address[6] = {0x02,
                              side,
                              0,
                              static_cast<uint8_t>(number >> 16),
                              static_cast<uint8_t>(number >> 8),
                              static_cast<uint8_t>(number)};
  std::memcpy(to, address, sizeof address);
}

// The stations that talk, in an order that no prefetcher guesses.
std::vector<Start> Conversations(uint32_t stations_a_side) {
  std::vector<Start> pairs(stations_a_side);
  for (uint32_t i = 0; i < stations_a_side; ++i) {
    std::memcpy(pairs[i].data(), kTestFrame, pairs[i].size());
    WriteStation(pairs[i].data(), 1, i);
    WriteStation(pairs[i].data() + 6, 0, (i * 7919) % stations_a_side);
  }
  std::shuffle(pairs.begin(), pairs.end(), std::mt19937(1));
  return pairs;
}

// What left and right share: frames that wait to go in on the left again, oldest first.
class Loop {
 public:
  explicit Loop(std::vector<Start> conversations) : conversations_(std::move(conversations)) {}
  ~Loop() {
    while (size() > 0) PacketPool::Put(&slots_[first_++ % kSlots], 1);
  }

  size_t size() const { return end_ - first_; }
  // With the next pair of addresses. Written long before they are read, as a card would have: a load that finds half of
  // what it reads still in the store buffer waits.
  void Add(Packet* packet) {
    std::memcpy(packet->data(), &conversations_[next_], sizeof(Start));
    if (++next_ == conversations_.size()) next_ = 0;
    slots_[end_++ % kSlots] = packet;
  }
  Packet* TakeOldest() { return slots_[first_++ % kSlots]; }

 private:
  static constexpr size_t kSlots = 1024;

  const std::vector<Start> conversations_;
  size_t next_ = 0;
  size_t first_ = 0;
  size_t end_ = 0;
  std::array<Packet*, kSlots> slots_{};
};

// An end of the loop: gives frames when it is the source, takes them in any case.
class LoopWire final : public Wire {
 public:
  LoopWire(std::shared_ptr<Loop> loop, bool source) : loop_(std::move(loop)), source_(source) {}

  const WireTraits& traits() const override { return traits_; }
  absl::Status Open(const WireOptions&) override { return absl::OkStatus(); }
  void Close() override {}

  size_t Transmit(uint16_t, Burst& burst) override {
    const size_t n = burst.size();
    for (Packet* packet : burst) loop_->Add(packet);
    burst.DropFront(n);
    return n;
  }
  size_t Reclaim(uint16_t) override { return 0; }

  size_t Receive(Burst& burst) override {
    const size_t n = source_ ? std::min(kBurst, loop_->size()) : 0;
    Packet** const packets = burst.Extend(n);
    for (size_t i = 0; i < n; ++i) packets[i] = loop_->TakeOldest();
    return n;
  }
  bool Arm() override { return false; }
  int fd() const override { return -1; }
  LinkState link() const override { return LinkState::kUp; }
  DropCounts drops() const override { return {}; }

 private:
  const WireTraits traits_{.name = "loop", .sleeps = false};
  const std::shared_ptr<Loop> loop_;
  const bool source_;
};

// The switch with its two ports.
class Host {
 public:
  absl::Status Open(uint32_t stations) {
    absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({.packets = 4096});
    if (!pool.ok()) return pool.status();
    pool_ = *std::move(pool);
    absl::StatusOr<std::unique_ptr<Switch>> made =
        Switch::Create({.pool = pool_.get(), .max_addresses = 4 * stations + 1024});
    if (!made.ok()) return made.status();
    switch_ = *std::move(made);
    loop_ = std::make_shared<Loop>(Conversations(stations));
    for (const bool source : {true, false}) {
      if (absl::Status status = AddPort(source, stations); !status.ok()) return status;
    }
    return Prime(stations);
  }

  // Moves one burst from left to right; returns how many frames arrived there.
  size_t Step() {
    Burst burst;
    ports_[0]->rx(QueueId{0}).Receive(burst);
    size_t sent = 0;
    Switch::Turn turn(*switch_, WorkerId{0});
    turn.Forward(ids_[0], burst);
    turn.Flush([&](PortId to, Burst& packets) {
      sent += ports_[to == ids_[0] ? 0 : 1]->tx(QueueId{0}).Send(packets);
    });
    return sent;
  }

  bool Lossless() const { return switch_->stats().drops.total() == 0 && switch_->stats().unknown == 0; }

 private:
  absl::Status AddPort(bool source, uint32_t stations) {
    absl::StatusOr<std::unique_ptr<ModelNic>> nic =
        ModelNic::Open({}, std::make_unique<LoopWire>(loop_, source));
    if (!nic.ok()) return nic.status();
    if (absl::Status status = (*nic)->Start({.pool = pool_.get()}); !status.ok()) return status;
    const absl::StatusOr<PortId> id = switch_->AddPort({.max_addresses = stations + 64});
    if (!id.ok()) return id.status();
    ids_.push_back(*id);
    ports_.push_back(*std::move(nic));
    return absl::OkStatus();
  }

  // Lets the switch learn every station on the right, each by one frame to a multicast group, then fills the loop.
  absl::Status Prime(uint32_t stations) {
    for (uint32_t i = 0; i < stations; ++i) {
      Burst burst;
      if (pool_->Get(burst, 1) != 1) return absl::ResourceExhaustedError("the pool is too small");
      burst[0].SetLength(sizeof kTestFrame);
      std::memcpy(burst[0].data(), kTestFrame, sizeof kTestFrame);
      burst[0].data()[0] = 0x03;
      WriteStation(burst[0].data() + 6, 1, i);
      Switch::Turn turn(*switch_, WorkerId{0});
      turn.Forward(ids_[1], burst);
      turn.Flush([](PortId, Burst& packets) { packets.Clear(); });
    }
    while (loop_->size() < kUnderWay) {
      PacketPtr packet = pool_->GetOne();
      if (packet == nullptr) return absl::ResourceExhaustedError("the pool is too small");
      packet->SetLength(sizeof kTestFrame);
      std::memcpy(packet->data(), kTestFrame, sizeof kTestFrame);
      loop_->Add(packet.release());
    }
    return absl::OkStatus();
  }

  std::unique_ptr<PacketPool> pool_;
  std::shared_ptr<Loop> loop_;
  std::unique_ptr<Switch> switch_;
  std::vector<std::unique_ptr<Nic>> ports_;
  std::vector<PortId> ids_;
};

absl::StatusOr<Pair> Steps(uint32_t addresses) {
  auto host = std::make_shared<Host>();
  if (absl::Status status = host->Open(std::max(addresses / 2, 1u)); !status.ok()) return status;
  if (host->Step() != kBurst) return absl::InternalError("the switch does not forward what it should");
  Sampler cycles = CyclesPer([host](size_t n) {
    for (size_t done = 0; done < n;) done += host->Step();
  });
  return Pair{.ours = [host, cycles]() -> absl::StatusOr<double> {
    absl::StatusOr<double> cost = cycles();
    if (!host->Lossless()) return absl::DataLossError("the switch dropped or flooded a frame");
    return cost;
  }};
}

Case SwitchCase(const char* work, uint32_t addresses, double goal) {
  return {
      .work = work, .unit = "cycles/packet", .goal = goal, .open = [addresses] { return Steps(addresses); }};
}

const Registration few(SwitchCase("host/switch/1", 1, 60));
const Registration some(SwitchCase("host/switch/1k", 1000, 80));
const Registration many(SwitchCase("host/switch/64k", 64000, 150));

}  // namespace
}  // namespace sluice::bench

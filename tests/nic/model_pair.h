// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MODEL_PAIR_H_
#define SLUICE_TESTS_NIC_MODEL_PAIR_H_

// Two model NICs on a pair wire, started, with one pool, on which tests speak of frames:
//
//   ModelPair pair({.b = {.strip_vlan = true}});
//   pair.Send(UdpFrame({.vlans = {100}}));
//   CHECK(pair.ReceiveOne()->vlan_tci == 100);

#include <catch2/catch.hpp>
#include <memory>
#include <utility>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "tests/nic/recording_wire.h"
#include "tests/support/frames.h"

namespace sluice::testing {

struct ModelPairOptions {
  ModelNicOptions a{};
  ModelNicOptions b{};
  PairOptions wire{};
  QueueOptions a_queues{};  // the pool is put in here
  QueueOptions b_queues{};
  Recording* recording = nullptr;  // of what comes to b; outlives the pair
  PacketPoolOptions pool{.packets = 2048, .huge_pages = HugePages::kOff};
};

class ModelPair {
 public:
  explicit ModelPair(ModelPairOptions options = {}) : pool_(MakePool(options.pool)) {
    auto [here, there] = MakeWirePair(options.wire);
    a_ = OpenNic(options.a, std::move(here), options.a_queues);
    if (options.recording != nullptr)
      there = std::make_unique<RecordingWire>(std::move(there), *options.recording);
    b_ = OpenNic(options.b, std::move(there), options.b_queues);
  }
  ~ModelPair() {
    CHECK(a_->Stop() == absl::OkStatus());
    CHECK(b_->Stop() == absl::OkStatus());
    CHECK(pool_->available() == pool_->options().packets);
  }

  ModelNic& a() { return *a_; }
  ModelNic& b() { return *b_; }
  PacketPool& pool() { return *pool_; }

  PacketPtr Packet(const Bytes& frame, size_t piece = 0) { return MakePacket(*pool_, frame, piece); }

  // From a; it must be taken, to be sent or dropped.
  void Send(PacketPtr packet) {
    REQUIRE(packet != nullptr);
    Burst burst;
    burst.Push(std::move(packet));
    CHECK(a_->tx(QueueId{0}).Send(burst) == 1);
  }
  void Send(const Bytes& frame) { Send(Packet(frame)); }

  // At b; null when there is nothing.
  PacketPtr ReceiveOne(uint16_t queue = 0) {
    Burst burst;
    if (b_->rx(QueueId{queue}).Receive(burst) == 0) return nullptr;
    CHECK(burst.size() == 1);
    return burst.PopFront();
  }

  DropCounts SendDrops() { return a_->tx(QueueId{0}).stats().drops; }

 private:
  static std::unique_ptr<PacketPool> MakePool(const PacketPoolOptions& options) {
    absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create(options);
    REQUIRE(pool.ok());
    return *std::move(pool);
  }
  std::unique_ptr<ModelNic> OpenNic(const ModelNicOptions& options, std::unique_ptr<Wire> wire,
                                    QueueOptions queues) {
    absl::StatusOr<std::unique_ptr<ModelNic>> nic = ModelNic::Open(options, std::move(wire));
    REQUIRE(nic.ok());
    queues.pool = pool_.get();
    REQUIRE((*nic)->Start(queues) == absl::OkStatus());
    return *std::move(nic);
  }

  const std::unique_ptr<PacketPool> pool_;
  std::unique_ptr<ModelNic> a_;
  std::unique_ptr<ModelNic> b_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_MODEL_PAIR_H_

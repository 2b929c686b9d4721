// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_MLX5_PORTS_H_
#define SLUICE_TESTS_NIC_MLX5_PORTS_H_

// A running port of what stands in for an mlx5 card, with a neighbour.

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sluice/packet/budget.h"
#include "sluice/packet/packet_pool.h"
#include "tests/nic/mlx5_port.h"
#include "tests/support/frames.h"

namespace sluice::testing {

// A port of the card, and one of a plain software device that sends to it.
class Mlx5Ports {
 public:
  static constexpr uint32_t kRing = 64;
  static constexpr OwnerId kPayer{7};
  static constexpr uint64_t kAllowance = 2 * kRing * 2048;

  explicit Mlx5Ports(const VerbsNicOptions& options = {.direct_receive = Want::kRequire}, uint16_t queues = 1,
                     OwnerId owner = kNobody)
      : Mlx5Ports(options, queues, owner, MakeWirePair()) {}
  ~Mlx5Ports() {
    CHECK(near_->Stop() == absl::OkStatus());
    CHECK(far_->Stop() == absl::OkStatus());
    CHECK(pool_->available() == pool_->options().packets);
  }

  Mlx5Library& library() { return library_; }
  VerbsNicImpl& port() { return *near_; }
  VerbsNic& neighbour() { return *far_; }
  PacketPool& pool() { return *pool_; }
  uint64_t charged() const { return book_->Use(kPayer).used; }  // bytes

  // Every packet that the pool has.
  std::vector<Burst> DrainPool() {
    std::vector<Burst> all;
    do {
      all.emplace_back();
    } while (pool_->Get(all.back(), Burst::kCapacity) != 0);
    return all;
  }

  void Send(const std::vector<Bytes>& frames) {
    Burst burst;
    for (const Bytes& frame : frames) burst.Push(MakePacket(*pool_, frame));
    REQUIRE(far_->tx(kFirst).Send(burst) == frames.size());
    Settle();
  }
  // All frames get as far as the card.
  void Settle() {
    for (int i = 0; i < 4; ++i) {
      library_.Pump();
      far_->tx(kFirst).Reclaim();
    }
  }
  Burst Receive(QueueId queue = QueueId{0}) {
    Burst burst;
    near_->rx(queue).Receive(burst);
    library_.Pump();
    return burst;
  }
  // Of what is received for one frame.
  PacketPtr Through(const Bytes& frame, QueueId queue = QueueId{0}) {
    Send({frame});
    Burst burst = Receive(queue);
    REQUIRE(burst.size() == 1);
    PacketPtr packet = std::move(burst.PopFront());
    CHECK(Same(*packet, frame));
    return packet;
  }
  static bool Same(const Packet& packet, const Bytes& frame) {
    return packet.length() == frame.size() && std::memcmp(packet.data(), frame.data(), frame.size()) == 0;
  }
  uint64_t Drops(DropReason reason) const { return near_->drops()[reason]; }
  // Since the last call.
  bool ToldOfError() {
    const std::vector<NicEvent> events = near_->TakeEvents();
    return std::any_of(events.begin(), events.end(),
                       [](const NicEvent& event) { return event.kind == NicEvent::Kind::kQueueError; });
  }

 private:
  static constexpr QueueId kFirst{0};
  using Wires = std::pair<std::unique_ptr<Wire>, std::unique_ptr<Wire>>;
  Mlx5Ports(const VerbsNicOptions& options, uint16_t queues, OwnerId owner, Wires wires)
      : pool_(*PacketPool::Create({.packets = 2048, .huge_pages = HugePages::kOff, .budget = book_.get()})),
        card_(library_.path(), {}, std::move(wires.first)),
        soft_({.name = "soft1"}, std::move(wires.second)),
        near_(card_.OpenNic(options)),
        far_(OpenOn(soft_, {.device = "soft1"})) {
    REQUIRE(book_->SetAllowance(kPayer, kAllowance) == absl::OkStatus());
    REQUIRE(
        near_->Start(
            {.rx_queues = queues, .rx_ring = kRing, .tx_ring = kRing, .pool = pool_.get(), .owner = owner}) ==
        absl::OkStatus());
    REQUIRE(far_->Start({.rx_ring = kRing, .tx_ring = 256, .pool = pool_.get()}) == absl::OkStatus());
    library_.Pump();
  }

  Mlx5Library library_;
  const std::unique_ptr<BudgetBook> book_ = *BudgetBook::Create({});
  const std::unique_ptr<PacketPool> pool_;
  Mlx5Device card_;
  SoftContext soft_;
  std::unique_ptr<VerbsNicImpl> near_;
  std::unique_ptr<VerbsNic> far_;
};

// What a port says of a mode.
inline ModeInForce ModeOf(const Nic& nic, const std::string& name) {
  for (ModeInForce& one : nic.modes()) {
    if (one.name == name) return one;
  }
  FAIL(name);
  return {};
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_MLX5_PORTS_H_

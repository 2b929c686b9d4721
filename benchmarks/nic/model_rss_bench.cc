// SPDX-License-Identifier: Apache-2.0
// What it costs a model NIC to steer: frames of many flows go in a circle, from one transmit queue over a cable back to
// the Nic, are parsed, hashed and put on the rings of four receive queues, and are taken from there.

#include <cstring>
#include <memory>
#include <random>
#include <utility>

#include "benchmarks/paired.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "tests/support/frames.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kQueues = 4;
constexpr uint16_t kFlows = 64;  // a frame of each is under way

class Circle {
 public:
  absl::Status Open(bool ipv6) {
    absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({.packets = 1024});
    if (!pool.ok()) return pool.status();
    pool_ = *std::move(pool);
    absl::StatusOr<std::unique_ptr<ModelNic>> nic = ModelNic::Open({}, MakeLoopWire());
    if (!nic.ok()) return nic.status();
    nic_ = *std::move(nic);
    if (absl::Status started = nic_->Start({.rx_queues = kQueues, .pool = pool_.get()}); !started.ok()) {
      return started;
    }
    return Prime(ipv6);
  }

  // Each queue once; returns how many packets went round.
  size_t Turn() {
    size_t sent = 0;
    for (uint16_t i = 0; i < kQueues; ++i) {
      Burst burst;
      nic_->rx(QueueId{i}).Receive(burst);
      sent += nic_->tx(QueueId{0}).Send(burst);
    }
    return sent;
  }

 private:
  absl::Status Prime(bool ipv6) {
    std::mt19937 random(1);
    Burst burst;
    for (uint16_t i = 0; i < kFlows; ++i) {
      testing::FrameSpec spec = {.source_port = static_cast<uint16_t>(random()), .payload = "ack123"};
      if (ipv6) spec.source = "2001:db8::1", spec.destination = "2001:db8::2";
      PacketPtr packet = testing::MakePacket(*pool_, testing::TcpFrame(spec));
      if (packet == nullptr) return absl::ResourceExhaustedError("the pool is too small");
      burst.Push(std::move(packet));
    }
    return nic_->tx(QueueId{0}).Send(burst) == kFlows ? absl::OkStatus()
                                                      : absl::InternalError("the wire is too short");
  }

  std::unique_ptr<PacketPool> pool_;
  std::unique_ptr<ModelNic> nic_;
};

absl::StatusOr<Pair> Steered(bool ipv6) {
  auto circle = std::make_shared<Circle>();
  if (absl::Status opened = circle->Open(ipv6); !opened.ok()) return opened;
  return Pair{.ours = CyclesPer([circle](size_t n) {
                for (size_t done = 0; done < n;) done += circle->Turn();
              })};
}

const Registration rss4({.work = "nic/model/rss/tcp4", .unit = "cycles/packet", .goal = 0, .open = [] {
                           return Steered(false);
                         }});
const Registration rss6({.work = "nic/model/rss/tcp6", .unit = "cycles/packet", .goal = 0, .open = [] {
                           return Steered(true);
                         }});

}  // namespace
}  // namespace sluice::bench

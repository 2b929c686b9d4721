// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VHOST_PAIR_H_
#define SLUICE_TESTS_NIC_VHOST_PAIR_H_

// A vhost-user port and a guest without a machine, started and connected, with a pool each, on which tests speak of frames:
//
//   VhostPair pair({.guest = {.features = kVirtioUserFeatures & ~feature::kPacked}});
//   pair.FromGuest(UdpFrame({}));
//   CHECK(pair.ReceiveOne() != nullptr);
//
// One thread does everything.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "sluice/nic/vhost_nic.h"
#include "tests/nic/virtio_user_nic.h"
#include "tests/support/frames.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {

struct VhostPairOptions {
  VhostNicOptions port{};        // the path is put in here
  VirtioUserNicOptions guest{};  // likewise
  QueueOptions port_queues{};    // the pools are put in here
  QueueOptions guest_queues{};
  bool waits = true;  // until both links are up
};

class VhostPair {
 public:
  explicit VhostPair(VhostPairOptions options = {}) : port_pool_(MakePool()), guest_pool_(MakePool()) {
    options.port.path = options.guest.path = folder_.file("vhost");
    absl::StatusOr<std::unique_ptr<VhostNic>> port = OpenVhostNic(options.port);
    REQUIRE(port.ok());
    port_ = *std::move(port);
    options.port_queues.pool = port_pool_.get();
    REQUIRE(port_->Start(options.port_queues) == absl::OkStatus());
    guest_ = std::make_unique<VirtioUserNic>(options.guest);
    options.guest_queues.pool = guest_pool_.get();
    REQUIRE(guest_->Start(options.guest_queues) == absl::OkStatus());
    if (options.waits) REQUIRE(Until([this] { return BothUp(); }));
  }
  ~VhostPair() {
    CHECK(guest_->Stop() == absl::OkStatus());
    CHECK(port_->Stop() == absl::OkStatus());
    CHECK(port_pool_->available() == port_pool_->options().packets);
    CHECK(guest_pool_->available() == guest_pool_->options().packets);
  }

  VhostNic& port() { return *port_; }
  VirtioUserNic& guest() { return *guest_; }
  PacketPool& port_pool() { return *port_pool_; }
  std::string path() const { return folder_.file("vhost"); }
  bool BothUp() { return port_->link() == LinkState::kUp && guest_->link() == LinkState::kUp; }

  // Serves both until `done`; false when it takes long.
  template <typename Done>
  bool Until(Done done) {
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    do {
      Serve();
      if (done()) return true;
    } while (absl::Now() < deadline);
    return false;
  }
  // Once. What the port told is kept for events().
  void Serve() {
    for (NicEvent& event : port_->TakeEvents()) events_.push_back(std::move(event));
    guest_->TakeEvents();
  }
  // Until the guest has heard all answers.
  void Settle() {
    REQUIRE(Until([this] { return guest_->settled(); }));
    Serve();
  }
  std::vector<NicEvent>& events() { return events_; }

  // By a queue of either; taken, to be sent or dropped.
  void FromGuest(const Bytes& frame, uint16_t queue = 0) {
    Send(*guest_, MakePacket(*guest_pool_, frame), queue);
  }
  void FromPort(const Bytes& frame, uint16_t queue = 0) { FromPort(MakePacket(*port_pool_, frame), queue); }
  void FromPort(PacketPtr packet, uint16_t queue = 0) { Send(*port_, std::move(packet), queue); }

  // At the port, or the guest; null when there is nothing.
  PacketPtr ReceiveOne(uint16_t queue = 0) { return ReceiveOne(*port_, queue); }
  PacketPtr GuestReceivesOne(uint16_t queue = 0) { return ReceiveOne(*guest_, queue); }
  // Number of packets that wait at a queue of either, which are freed.
  static size_t CountWaiting(Nic& nic, uint16_t queue) {
    size_t count = 0;
    for (Burst burst; nic.rx(QueueId{queue}).Receive(burst) > 0; burst.Clear()) count += burst.size();
    return count;
  }

 private:
  static std::unique_ptr<PacketPool> MakePool() {
    absl::StatusOr<std::unique_ptr<PacketPool>> pool =
        PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff});
    REQUIRE(pool.ok());
    return *std::move(pool);
  }
  static void Send(Nic& nic, PacketPtr packet, uint16_t queue) {
    REQUIRE(packet != nullptr);
    Burst burst;
    burst.Push(std::move(packet));
    CHECK(nic.tx(QueueId{queue}).Send(burst) == 1);
  }
  static PacketPtr ReceiveOne(Nic& nic, uint16_t queue) {
    Burst burst;
    if (nic.rx(QueueId{queue}).Receive(burst) == 0) return nullptr;
    CHECK(burst.size() == 1);
    return burst.PopFront();
  }

  const TempFolder folder_;
  const std::unique_ptr<PacketPool> port_pool_;
  const std::unique_ptr<PacketPool> guest_pool_;
  std::unique_ptr<VhostNic> port_;
  std::unique_ptr<VirtioUserNic> guest_;
  std::vector<NicEvent> events_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VHOST_PAIR_H_

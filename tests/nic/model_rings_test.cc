// SPDX-License-Identifier: Apache-2.0
// Receive rings of the model: full, asleep, and short of memory allowance.
#include <poll.h>

#include <catch2/catch.hpp>

#include "sluice/packet/budget.h"
#include "tests/nic/model_pair.h"
#include "tests/support/allocation_counter.h"

namespace sluice::testing {
namespace {

constexpr OwnerId kGuest{7};
constexpr uint32_t kBuffer = 2048;

bool Readable(const RxQueue& queue) {
  pollfd entry = {.fd = queue.fd(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 0) == 1;
}

// Rules by VLAN: tag q+1 goes to queue q.
void SteerByVlan(ModelNic& nic, uint16_t queues) {
  for (uint16_t q = 0; q < queues; ++q) {
    REQUIRE(nic.InstallRule({.match = {.outer = {.vlan = VlanMatch{.vid = static_cast<uint16_t>(q + 1)}}},
                             .actions = {.queue = QueueId{q}}})
                .ok());
  }
}

ModelPairOptions TwoQueues(uint32_t ring, bool lossless = false) {
  ModelPairOptions options;
  options.b.lossless = lossless;
  options.b_queues = {.rx_queues = 2, .rx_ring = ring};
  return options;
}

void SendTo(ModelPair& pair, uint16_t queue, int count) {
  for (int i = 0; i < count; ++i) pair.Send(UdpFrame({.vlans = {static_cast<uint16_t>(queue + 1)}}));
}

size_t Drain(ModelPair& pair, uint16_t queue) {
  size_t drained = 0;
  Burst burst;
  while (const size_t received = pair.b().rx(QueueId{queue}).Receive(burst)) {
    drained += received;
    burst.Clear();
  }
  return drained;
}

TEST_CASE("a full receive ring drops for its own queue only, and counts") {
  ModelPair pair(TwoQueues(8));
  SteerByVlan(pair.b(), 2);
  SendTo(pair, 1, 12);
  SendTo(pair, 0, 5);
  CHECK(Drain(pair, 0) == 5);
  CHECK(Drain(pair, 1) == 8);
  CHECK(pair.b().rx(QueueId{1}).stats().drops[DropReason::kReceiveRingFull] == 4);
  CHECK(pair.b().rx(QueueId{0}).stats().drops.total() == 0);
}

TEST_CASE("a lossless card holds back behind a full ring, and goes on in order when there is room") {
  ModelPair pair(TwoQueues(8, true));
  SteerByVlan(pair.b(), 2);
  SendTo(pair, 1, 12);
  SendTo(pair, 0, 5);
  CHECK(Drain(pair, 0) == 0);
  CHECK(Drain(pair, 1) == 12);
  CHECK(Drain(pair, 0) == 5);
  CHECK(pair.b().drops().total() == 0);
}

TEST_CASE("Stop counts what lies on rings, on the way to one, and on the wire") {
  ModelPair pair(TwoQueues(8, true));
  SteerByVlan(pair.b(), 2);
  SendTo(pair, 1, 12);
  CHECK(Drain(pair, 0) == 0);
  SendTo(pair, 1, 3);
  CHECK(pair.b().Stop() == absl::OkStatus());
  CHECK(pair.b().drops()[DropReason::kStopped] == 15);
}

TEST_CASE("a sleeping queue is woken when another queue's poller steers a packet to it") {
  ModelPair pair(TwoQueues(64));
  SteerByVlan(pair.b(), 2);
  RxQueue& sleeper = pair.b().rx(QueueId{1});
  for (int round = 0; round < 5; ++round) {
    REQUIRE(sleeper.Arm());
    CHECK_FALSE(Readable(sleeper));
    SendTo(pair, 1, 1);
    CHECK(Drain(pair, 0) == 0);  // takes it off the wire, for queue 1
    CHECK(Readable(sleeper));
    CHECK(Drain(pair, 1) == 1);
    CHECK_FALSE(Readable(sleeper));
  }
  CHECK(sleeper.stats().wakeups == 5);
}

TEST_CASE("a sleeping queue is woken by an arrival that nobody has taken off the wire") {
  ModelPair pair(TwoQueues(64));
  SteerByVlan(pair.b(), 2);
  REQUIRE(pair.b().rx(QueueId{1}).Arm());
  CHECK(Drain(pair, 0) == 0);  // a poll of queue 0 must leave the wire armed for queue 1
  SendTo(pair, 1, 1);
  CHECK(Readable(pair.b().rx(QueueId{1})));
  CHECK(Drain(pair, 1) == 1);
}

TEST_CASE("a queue whose ring holds something does not go to sleep") {
  ModelPair pair(TwoQueues(64));
  SteerByVlan(pair.b(), 2);
  SendTo(pair, 1, 1);
  CHECK(Drain(pair, 0) == 0);
  CHECK_FALSE(pair.b().rx(QueueId{1}).Arm());
  CHECK(Drain(pair, 1) == 1);
}

// Budget.
// ---------------------------------------------------------------------------------------------------------

// b receives for kGuest, who may hold so many buffers.
struct GuestPair {
  explicit GuestPair(uint32_t buffers, uint32_t ring = 16, uint16_t queues = 1) : book(MakeBook(buffers)) {
    ModelPairOptions options;
    options.b_queues = {.rx_queues = queues, .rx_ring = ring, .owner = kGuest};
    options.pool = {.packets = 2048, .huge_pages = HugePages::kOff, .budget = book.get()};
    pair = std::make_unique<ModelPair>(options);
  }
  static std::unique_ptr<BudgetBook> MakeBook(uint32_t buffers) {
    auto book = BudgetBook::Create({.bytes = 1 << 24});
    REQUIRE(book.ok());
    REQUIRE((*book)->SetAllowance(kGuest, buffers * kBuffer) == absl::OkStatus());
    return *std::move(book);
  }
  uint64_t used() const { return book->Use(kGuest).used / kBuffer; }
  void Send(int count) {
    for (int i = 0; i < count; ++i) pair->Send(UdpFrame({.source_port = static_cast<uint16_t>(next++)}));
  }
  // Source ports of what can be received now, held in `held`.
  std::vector<int> Receive() {
    std::vector<int> ports;
    const size_t before = held.size();
    pair->b().rx(QueueId{0}).Receive(held);
    for (size_t i = before; i < held.size(); ++i)
      ports.push_back(held[i].data()[34] * 256 + held[i].data()[35]);
    return ports;
  }

  std::unique_ptr<BudgetBook> book;
  std::unique_ptr<ModelPair> pair;
  int next = 1;
  Burst held;
};

TEST_CASE("arrivals are charged to the owner until they are freed (S13)") {
  GuestPair guest(10);
  guest.Send(4);
  CHECK(guest.used() == 0);
  CHECK(guest.Receive().size() == 4);
  CHECK(guest.used() == 4);
  CHECK(guest.held[0].owner() == kGuest);
  guest.held.Clear();
  CHECK(guest.used() == 0);
}

TEST_CASE("what the allowance does not cover waits on the ring, in order (S13)") {
  GuestPair guest(3);
  guest.Send(5);
  CHECK(guest.Receive() == std::vector<int>{1, 2, 3});
  CHECK(guest.Receive().empty());
  guest.held.PopFront();
  CHECK(guest.Receive() == std::vector<int>{4});
  guest.held.Clear();
  CHECK(guest.Receive() == std::vector<int>{5});
  CHECK(guest.pair->b().drops().total() == 0);
}

TEST_CASE("an owner at its limit with a full ring loses its own packets only (S13)") {
  GuestPair guest(2, 4);
  guest.Send(4);
  CHECK(guest.Receive() == std::vector<int>{1, 2});
  guest.Send(10);
  CHECK(guest.Receive().empty());
  CHECK(guest.pair->b().drops()[DropReason::kOverBudget] == 8);
  guest.held.Clear();
  CHECK(guest.Receive() == std::vector<int>{3, 4});
  guest.held.Clear();
  CHECK(guest.Receive() == std::vector<int>{5, 6});
  CHECK(guest.pair->b().drops().total() == 8);
}

TEST_CASE("a packet larger than the whole allowance is dropped at once (S13)") {
  GuestPair guest(1);
  guest.pair->Send(guest.pair->Packet(UdpFrame({.payload_size = 3000})));
  guest.Send(1);
  CHECK(guest.Receive().empty());
  CHECK(guest.Receive() == std::vector<int>{1});
  CHECK(guest.pair->b().drops()[DropReason::kOverBudget] == 1);
  CHECK(guest.used() == 1);
}

TEST_CASE("a queue that sleeps for want of allowance is woken by a release, and by a raise (S13)") {
  GuestPair guest(2);
  guest.Send(4);
  CHECK(guest.Receive().size() == 2);
  CHECK(guest.Receive().empty());
  RxQueue& queue = guest.pair->b().rx(QueueId{0});
  REQUIRE(queue.Arm());
  CHECK_FALSE(Readable(queue));
  guest.held.PopFront();
  CHECK(Readable(queue));
  CHECK(guest.Receive() == std::vector<int>{3});
  CHECK(guest.Receive().empty());

  REQUIRE(queue.Arm());
  REQUIRE(guest.book->SetAllowance(kGuest, 3 * kBuffer) == absl::OkStatus());
  CHECK(Readable(queue));
  CHECK(guest.Receive() == std::vector<int>{4});
  CHECK(guest.used() == 3);
  guest.held.Clear();
  CHECK(guest.used() == 0);
}

TEST_CASE("a charge is moved, not added, when a packet passes from one owner to another (S13)") {
  constexpr OwnerId kOther{9};
  GuestPair guest(2);
  REQUIRE(guest.book->SetAllowance(kOther, 4 * kBuffer) == absl::OkStatus());
  Burst burst;
  REQUIRE(guest.pair->pool().Get(burst, 1, kOther) == 1);
  burst[0].SetLength(60);
  CHECK(guest.pair->a().tx(QueueId{0}).Send(burst) == 1);
  CHECK(guest.book->Use(kOther).used == kBuffer);
  guest.pair->b().rx(QueueId{0}).Receive(burst);
  REQUIRE(burst.size() == 1);
  CHECK(guest.book->Use(kOther).used == 0);
  CHECK(guest.used() == 1);
  burst.Clear();
  CHECK(guest.used() == 0);
}

TEST_CASE("a queue that sleeps for want of allowance can be stopped (S13)") {
  GuestPair guest(1);
  guest.Send(3);
  CHECK(guest.Receive().size() == 1);
  CHECK(guest.Receive().empty());
  REQUIRE(guest.pair->b().rx(QueueId{0}).Arm());
  CHECK(guest.pair->b().Stop() == absl::OkStatus());
  CHECK(guest.book->Use(kGuest).waiting == 0);
  guest.held.Clear();
  CHECK(guest.used() == 0);
}

// The data path.
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("forwarding allocates nothing, steered and inspected or not") {
  const uint16_t queues = GENERATE(uint16_t{1}, uint16_t{2});
  ModelPairOptions options;
  options.b = {.strip_vlan = queues > 1, .verify_checksums = queues > 1, .stamp = queues > 1};
  options.b_queues = {.rx_queues = queues};
  ModelPair pair(options);
  Burst burst;
  for (int i = 0; i < 32; ++i) burst.Push(pair.Packet(UdpFrame({.vlans = {1}})));
  const AllocationCounter counter;
  for (int round = 0; round < 50; ++round) {
    pair.a().tx(QueueId{0}).Send(burst);
    for (uint16_t q = 0; q < queues; ++q) pair.b().rx(QueueId{q}).Receive(burst);
  }
  CHECK(counter.allocations() == 0);
  CHECK(burst.size() == 32);
}

}  // namespace
}  // namespace sluice::testing

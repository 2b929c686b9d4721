// SPDX-License-Identifier: Apache-2.0
// Queues of the verbs backend whose queue pair fails under way: each packet comes back once, and is counted once.
#include <catch2/catch.hpp>

#include "nic/verbs/rx_internal.h"
#include "nic/verbs/tx_internal.h"
#include "sluice/packet/packet_pool.h"
#include "tests/nic/verbs_pair.h"
#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

// A device, its port, and a registered pool, without a Nic around them.
class Parts {
 public:
  explicit Parts(const SoftwareVerbsHardware& hardware = {})
      : soft_({.hardware = hardware}, MakeNullWire()),
        device_(*VerbsPort::Open({.device = "soft0", .context = soft_.context()})),
        alarm_(device_->context()->async_fd),
        pool_(*PacketPool::Create({.packets = 1024, .huge_pages = HugePages::kOff})),
        region_(ibv_reg_mr(device_->domain(), pool_->region().data(), pool_->region().size(),
                           IBV_ACCESS_LOCAL_WRITE)) {
    REQUIRE(region_ != nullptr);
  }

  VerbsPort& device() { return *device_; }
  const VerbsAlarm& alarm() const { return alarm_; }
  PacketPool& pool() { return *pool_; }
  const ibv_mr& region() { return *region_; }
  void Deregister() { region_.reset(); }
  QueueOptions options(uint16_t rx_queues = 1) {
    return {.rx_queues = rx_queues, .rx_ring = 64, .tx_ring = 64, .pool = pool_.get()};
  }
  Burst Frames(size_t count) {
    Burst burst;
    while (burst.size() < count) burst.Push(MakePacket(*pool_, UdpFrame({})));
    return burst;
  }
  bool AllHome() const { return pool_->available() == pool_->options().packets; }

 private:
  SoftContext soft_;
  std::unique_ptr<VerbsPort> device_;
  const VerbsAlarm alarm_;
  std::unique_ptr<PacketPool> pool_;
  VerbsPtr<ibv_mr> region_;
};

TEST_CASE("what is under way when a send queue fails is counted once as lost, and comes home") {
  Parts parts;
  VerbsLink link(parts.device());
  VerbsTxQueue tx(QueueId{0}, parts.device(), link, {.extended = GENERATE(false, true)}, parts.alarm());
  REQUIRE(tx.Open(parts.options(), parts.region()) == absl::OkStatus());
  parts.Deregister();  // so that the device may not read what it is given
  uint64_t taken = 0;
  for (int round = 0; round < 20; ++round) {
    Burst burst = parts.Frames(10);
    taken += tx.Send(burst);
    tx.Reclaim();
  }
  tx.Close();
  CHECK(taken > 0);
  CHECK(tx.failure().TakeReport());
  CHECK(tx.stats().drops[DropReason::kDeviceError] + tx.stats().drops[DropReason::kStopped] == taken);
  CHECK(tx.stats().drops[DropReason::kDeviceError] > 0);
  CHECK(parts.AllHome());
}

TEST_CASE("an event of the card is about the receive queue whose part it names") {
  Parts parts;
  VerbsRxQueue rx(QueueId{0}, parts.device(), VerbsArrivals(parts.device(), {}), parts.alarm());
  REQUIRE(rx.Open(parts.options(2), parts.region()) == absl::OkStatus());
  ibv_async_event event{};
  event.event_type = IBV_EVENT_WQ_FATAL;
  CHECK_FALSE(rx.Has(event));
  event.element.wq = rx.receiver().work();
  CHECK(rx.Has(event));
  event.event_type = IBV_EVENT_CQ_ERR;
  CHECK_FALSE(rx.Has(event));
  event.element.cq = rx.receiver().completions();
  CHECK(rx.Has(event));
  event.event_type = IBV_EVENT_PORT_ERR;
  CHECK_FALSE(rx.Has(event));
  rx.Close();
}

// As a card does that cannot go on.
void Break(const VerbsReceiver& receiver) {
  ibv_wq_attr work{};
  work.attr_mask = IBV_WQ_ATTR_STATE;
  work.wq_state = IBV_WQS_ERR;
  ibv_qp_attr pair{};
  pair.qp_state = IBV_QPS_ERR;
  const int error = receiver.work() != nullptr ? ibv_modify_wq(receiver.work(), &work)
                                               : ibv_modify_qp(&receiver.pair(), &pair, IBV_QP_STATE);
  REQUIRE(error == 0);
}

bool Receives(const VerbsReceiver& receiver) {
  if (receiver.work() != nullptr) return receiver.work()->state == IBV_WQS_RDY;
  ibv_qp_attr attr{};
  ibv_qp_init_attr init{};
  return ibv_query_qp(&receiver.pair(), &attr, IBV_QP_STATE, &init) == 0 && attr.qp_state == IBV_QPS_RTR;
}

TEST_CASE("a receive queue whose queue pair fails is filled again, and loses nothing of the pool") {
  // One of two is a work queue; the only one is that of a queue pair, as where the card has no work queues.
  const uint16_t queues = GENERATE(uint16_t{1}, uint16_t{2});
  const bool works = GENERATE(true, false);
  Parts parts(works ? SoftwareVerbsHardware() : SoftwareVerbsHardware{.max_work_queues = 0});
  {
    VerbsRxQueue rx(QueueId{0}, parts.device(), VerbsArrivals(parts.device(), {}), parts.alarm());
    REQUIRE(rx.Open(parts.options(queues), parts.region()) == absl::OkStatus());
    REQUIRE((rx.receiver().work() != nullptr) == (works && queues == 2));
    for (int round = 0; round < 5; ++round) {
      Break(rx.receiver());
      Burst burst;
      for (int polls = 0; polls < 10; ++polls) CHECK(rx.Receive(burst) == 0);
      CHECK(rx.failure().TakeReport());
      CHECK(Receives(rx.receiver()));
      CHECK(parts.pool().available() == parts.pool().options().packets - 64);
    }
    CHECK(rx.stats().drops.total() == 0);  // no frame was in what came back
    rx.Close();
  }
  CHECK(parts.AllHome());
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_TX_QUEUE_INTERNAL_H_
#define SLUICE_NIC_MODEL_TX_QUEUE_INTERNAL_H_

#include <optional>

#include "nic/model/pair_way_internal.h"
#include "nic/offload/egress_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/queue.h"
#include "sluice/nic/wire.h"

namespace sluice {

// One transmit queue of a ModelNic: finishes what has to be, and passes it on to its lane of the wire.
class ModelTxQueue final : public TxQueue, private Outlet {
 public:
  ModelTxQueue(Wire& wire, QueueId id) : wire_(wire), id_(id) {}

  size_t Send(Burst& burst) override;
  size_t Reclaim() override;
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

  // Control thread, nobody sending. `way`: the short one, or null.
  void Open(const FinisherOptions& finishing, PairWay* way) {
    egress_.emplace(finishing);
    way_ = way;
    lane_ = way == nullptr ? nullptr : &way->lane(id_.value());
  }
  // What still waits was not sent.
  void Close() {
    if (egress_.has_value()) egress_->GiveUp(DropReason::kStopped, *this);
  }

 private:
  size_t SendAny(Burst& burst);
  std::optional<DropReason> Put(Burst& frames) override;
  void CountSent(uint64_t packets, uint64_t bytes) override;
  void CountDrops(DropReason reason, uint64_t packets) override { drops_.Add(reason, packets); }
  void DropIfLinkDown(Burst& burst);

  Wire& wire_;
  const QueueId id_;
  std::optional<Egress> egress_;
  PairWay* way_ = nullptr;
  PairLane* lane_ = nullptr;

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_TX_QUEUE_INTERNAL_H_

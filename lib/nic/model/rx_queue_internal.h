// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_RX_QUEUE_INTERNAL_H_
#define SLUICE_NIC_MODEL_RX_QUEUE_INTERNAL_H_

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "base/unique_fd_internal.h"
#include "nic/model/allowance_internal.h"
#include "nic/model/doorbell_internal.h"
#include "nic/model/merger_internal.h"
#include "nic/model/packet_ring_internal.h"
#include "nic/model/pair_way_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/nic.h"
#include "sluice/nic/queue.h"

namespace sluice {

class ModelReceiver;
class TableHistory;

// One receive queue of a ModelNic, in one of the two manners of receiver_internal.h.
class ModelRxQueue final : public RxQueue {
 public:
  ModelRxQueue(ModelReceiver& receiver, QueueId id) : receiver_(receiver), id_(id) {}

  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override;
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

  // Control thread, nobody polling.
  // -----------------------------------------------------------------------------------------------------
  absl::Status Open(const QueueOptions& queues, bool steered);
  // Behind Open: joins what it receives, until Close.
  absl::Status OpenMerger(const CoalesceOptions& options, const Clock& clock);
  // Behind Open, of a queue that is direct: takes the short way where it can.
  void OpenWay(PairWay& way, const TableHistory& tables) {
    way_ = &way;
    tables_ = &tables;
  }
  void Close();

  // Pump.
  // -----------------------------------------------------------------------------------------------------
  bool Stage(Packet* packet) { return ring_->Stage(packet); }
  void Publish() { ring_->Publish(); }
  void Drop(Packet* packet, DropReason reason) {
    drops_.Add(reason);
    PacketPool::Put(&packet, 1);
  }
  void Ring() { bell_.Ring(); }
  DropReason full() const {
    return allowance_.is_short() ? DropReason::kOverBudget : DropReason::kReceiveRingFull;
  }

  uint64_t bit() const { return uint64_t{1} << id_.value(); }

 private:
  struct Taken {
    size_t packets = 0;
    bool more = false;  // may be behind them
  };

  [[gnu::noinline]] size_t ReceiveAny(Burst& burst);  // apart, so that it costs Receive no registers
  size_t ReceiveDirect(Burst& burst);
  size_t ReceiveOther(Burst& burst);
  size_t ReceiveMerged(Burst& burst);
  Taken TakeFromWire(Burst& burst);
  Taken TakeFromRing(Burst& burst);
  size_t TakeCharged(Packet** packets, size_t n);
  bool SleepForAllowance();
  void Count(Packet* const* packets, size_t n);
  absl::Status OpenDescriptors();
  void Wake();

  ModelReceiver& receiver_;
  const QueueId id_;
  bool armed_ = false;                    // since the last Receive
  bool direct_ = true;                    // neither of the next two
  PairWay* way_ = nullptr;                // the short one, of a queue that is direct ...
  const TableHistory* tables_ = nullptr;  // ... while these are idle
  std::unique_ptr<PacketRing> ring_;      // null: not steered
  std::unique_ptr<Merger> merger_;        // null: nothing is joined
  UniqueFd epoll_;                        // over the wire's descriptor and the bell
  Doorbell bell_;
  Allowance allowance_;

  alignas(kCacheLine) Counter packets_;  // of the poller
  Counter bytes_;
  Counter wakeups_;
  Counter hopeless_;

  DropCounters drops_;  // of whoever steers; aligned
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_RX_QUEUE_INTERNAL_H_

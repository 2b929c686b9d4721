// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_TX_QUEUE_INTERNAL_H_
#define SLUICE_NIC_MODEL_TX_QUEUE_INTERNAL_H_

#include <optional>

#include "nic/model/finisher_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/queue.h"
#include "sluice/nic/wire.h"

namespace sluice {

// One transmit queue of a ModelNic: finishes what has to be, and passes it on to its lane of the wire.
//
// A packet that is cut is taken whole. Those of its segments that the lane has no room for wait here, and nothing
// overtakes them.
class ModelTxQueue final : public TxQueue {
 public:
  ModelTxQueue(Wire& wire, QueueId id) : wire_(wire), id_(id) {}

  size_t Send(Burst& burst) override;
  size_t Reclaim() override;
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

  // Control thread, nobody sending.
  void Open(const FinisherOptions& finishing) {
    finisher_.emplace(finishing);
    segmenter_.emplace(finisher_->segmenting());
  }
  // What still waits was not sent.
  void Close();

 private:
  size_t SendOdd(Burst& burst);
  bool Transmit(Burst& burst);
  void BeginCut(PacketPtr packet);
  bool SendSegments();
  void EndCut();
  void Prepare(Burst& burst);
  void DropIfLinkDown(Burst& burst);

  Wire& wire_;
  const QueueId id_;
  std::optional<Finisher> finisher_;
  std::optional<Segmenter> segmenter_;
  Burst segments_;  // cut, and not yet on the wire
  bool cutting_ = false;
  uint64_t cut_bytes_ = 0;  // of the packet that is being cut

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_TX_QUEUE_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_CAPTURE_TX_INTERNAL_H_
#define SLUICE_LIB_NIC_CAPTURE_TX_INTERNAL_H_

#include <memory>
#include <optional>

#include "nic/capture/event_box_internal.h"
#include "nic/offload/egress_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/capture_nic.h"

namespace sluice {

// The transmit queue of a capture port: a file that grows.
class CaptureTxQueue final : public TxQueue, private Outlet {
 public:
  // `writer` is null where nothing is written.
  CaptureTxQueue(const CaptureNicOptions& options, EventBox& events, std::unique_ptr<CaptureWriter> writer)
      : options_(options), events_(events), writer_(std::move(writer)) {}

  // Control thread, nobody sending.
  void Start(const QueueOptions& queues);
  void Stop() { Flush(); }

  size_t Send(Burst& burst) override;
  size_t Reclaim() override {
    Flush();
    return 0;
  }
  QueueId id() const override { return QueueId(0); }
  QueueStats stats() const override;

 private:
  std::optional<DropReason> Put(Burst& frames) override;
  void CountSent(uint64_t packets, uint64_t bytes) override;
  void CountDrops(DropReason reason, uint64_t packets) override { drops_.Add(reason, packets); }

  void Flush();
  std::optional<DropReason> Write(const Packet& frame);
  void Break(const absl::Status& why);

  const CaptureNicOptions options_;
  EventBox& events_;
  const std::unique_ptr<CaptureWriter> writer_;
  std::optional<Egress> egress_;
  Nanoseconds now_ = 0;     // of the burst being sent
  uint64_t unflushed_ = 0;  // records that may not be in the file yet
  bool broken_ = false;

  Counter packets_;
  Counter bytes_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_CAPTURE_TX_INTERNAL_H_

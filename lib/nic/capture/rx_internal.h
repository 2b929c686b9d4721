// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_CAPTURE_RX_INTERNAL_H_
#define SLUICE_LIB_NIC_CAPTURE_RX_INTERNAL_H_

#include <atomic>
#include <memory>

#include "base/unique_fd_internal.h"
#include "nic/capture/event_box_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/capture_nic.h"

namespace sluice {

// The receive queue of a capture port: a file, read a record ahead.
class CaptureRxQueue final : public RxQueue {
 public:
  CaptureRxQueue(const CaptureNicOptions& options, EventBox& events);

  // Control thread, nobody receiving.
  absl::Status Start(const QueueOptions& queues);  // opens the file anew
  void Stop();

  bool sleeps() const { return timer_.valid(); }
  bool ended() const { return ended_.load(std::memory_order_relaxed); }  // any thread

  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return timer_.get(); }
  QueueId id() const override { return QueueId(0); }
  QueueStats stats() const override;

 private:
  bool Fetch();
  bool Rewind();
  void End(NicEvent::Kind kind, const std::string& why);
  void Schedule();
  bool IsDue(Nanoseconds now) const { return options_.speed == 0 || due_ <= now; }
  Nanoseconds Now() const { return options_.speed == 0 ? 0 : clock_.Now(); }
  PacketPtr MakePacket() const;

  const CaptureNicOptions options_;
  const Clock& clock_;
  EventBox& events_;
  const UniqueFd timer_;  // none where the clock is not the kernel's
  bool armed_ = false;

  QueueOptions queues_;
  std::unique_ptr<CaptureReader> reader_;  // null when stopped
  CaptureRecord record_;
  bool fetched_ = false;  // record_ waits to be received
  bool dry_ = false;      // for a buffer: the pool had none at the last Receive
  std::atomic<bool> ended_{false};

  uint32_t pass_ = 0;        // through the file, from 0
  uint64_t records_ = 0;     // of this pass so far
  Nanoseconds first_ = 0;    // time of its first record, in the file
  Nanoseconds started_ = 0;  // and when that was due, on the clock
  Nanoseconds due_ = 0;      // of record_, on the clock

  Counter packets_;
  Counter bytes_;
  Counter wakeups_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_CAPTURE_RX_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CONTROL_WORKER_INTERNAL_H_
#define SLUICE_CONTROL_WORKER_INTERNAL_H_

#include <atomic>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "base/unique_fd_internal.h"
#include "control/worker_plan_internal.h"
#include "nic/model/doorbell_internal.h"
#include "sluice/base/clock.h"
#include "sluice/base/counters.h"
#include "sluice/control/worker.h"
#include "sluice/host/switch.h"

namespace sluice {

class EngineWorker final : public Worker {
 public:
  EngineWorker(WorkerId id, const WorkerOptions& options, Switch& l2_switch, const Clock& clock)
      : id_(id), options_(options), switch_(l2_switch), clock_(clock) {}

  // Makes the descriptors; before anything else.
  absl::Status Open();

  size_t PollOnce() override;
  void Wait(absl::Duration at_most) override;
  bool PrepareToSleep() override;
  int fd() const override { return epoll_.get(); }
  bool needs_tick() const override { return needs_tick_; }
  void Wake() override;
  WorkerId id() const override { return id_; }
  const WorkerOptions& options() const override { return options_; }
  WorkerStats stats() const override;

  // Any thread. Ends its sleep, if it sleeps, after work was published in a HandOver.
  void WakeIfAsleep();

  // Control thread.
  // ------------------------------------------------------------------------------------------
  // Puts `plan` in force from the next turn on, and returns the one before: usable by the worker until
  // Switch::WaitForTurns has returned.
  std::unique_ptr<const WorkerPlan> Follow(std::unique_ptr<const WorkerPlan> plan);
  absl::Status Watch(int queue_fd);  // -1 is nothing to watch
  void Unwatch(int queue_fd);

 private:
  enum Count : uint8_t { kPolls, kBusyPolls, kPackets, kBusyCycles, kSleeps, kHandedOver, kCounts };

  size_t Receive(Switch::Turn& turn, const WorkerPlan& plan);
  size_t RunErrands(const WorkerPlan& plan);
  void EndOverdueLoans(HandOver& over);
  void Flush(Switch::Turn& turn, const WorkerPlan& plan);
  void Send(const WorkerPlan& plan, PortId to, Burst& packets);
  void FinishSends(const WorkerPlan& plan);
  bool ArmAll(const WorkerPlan& plan);
  void EndSleep();
  bool IdleLongEnough();
  void Sleep(absl::Duration at_most);

  const WorkerId id_;
  const WorkerOptions options_;
  Switch& switch_;
  const Clock& clock_;

  UniqueFd epoll_;
  Doorbell bell_;
  std::atomic<bool> listening_{false};  // as doorbell_internal.h has it
  std::atomic<bool> wake_asked_{false};

  std::unique_ptr<const WorkerPlan> current_ = std::make_unique<WorkerPlan>();  // the control thread's
  std::atomic<const WorkerPlan*> plan_{current_.get()};

  // The worker's own.
  bool prepared_ = false;  // PrepareToSleep said true, and no poll followed
  bool needs_tick_ = false;
  bool holding_ = false;
  bool sending_ = false;        // a queue took what waits for its next Reclaim
  Nanoseconds idle_since_ = 0;  // 0 = not idle, as far as Wait knows
  CounterSet<Count, kCounts> counters_;
};

}  // namespace sluice

#endif  // SLUICE_CONTROL_WORKER_INTERNAL_H_

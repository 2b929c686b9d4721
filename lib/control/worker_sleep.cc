// SPDX-License-Identifier: Apache-2.0
// When a worker sleeps, and what wakes it.
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "base/asymmetric_fence_internal.h"
#include "control/worker_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr char kDevice[] = "worker";

absl::Status Failed(const char* stage) {
  return ErrorStatus({.device = kDevice,
                      .stage = stage,
                      .error_number = errno,
                      .remedy = "raise the limits of open files (ulimit -n) and of epoll watches "
                                "(sysctl fs.epoll.max_user_watches)"});
}

// Waits in epoll_wait are in whole milliseconds: rounded up, so that a short one does not spin.
int Milliseconds(absl::Duration duration) {
  const absl::Duration longest = absl::Hours(1);
  return static_cast<int>(absl::ToInt64Milliseconds(
      absl::Ceil(std::clamp(duration, absl::ZeroDuration(), longest), absl::Milliseconds(1))));
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

absl::Status EngineWorker::Open() {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return Failed("make an epoll descriptor");
  if (absl::Status opened = bell_.Open(kDevice); !opened.ok()) return opened;
  return Watch(bell_.fd());
}

absl::Status EngineWorker::Watch(int queue_fd) {
  if (queue_fd < 0) return absl::OkStatus();
  epoll_event readable{};
  readable.events = EPOLLIN;
  const bool added = epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, queue_fd, &readable) == 0;
  return added ? absl::OkStatus() : Failed("watch a queue");
}

void EngineWorker::Unwatch(int queue_fd) {
  if (queue_fd >= 0) (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, queue_fd, nullptr);
}

std::unique_ptr<const WorkerPlan> EngineWorker::Follow(std::unique_ptr<const WorkerPlan> plan) {
  std::swap(current_, plan);
  plan_.store(current_.get(), std::memory_order_seq_cst);
  Wake();  // a sleeper has not armed what is new
  return plan;
}

void EngineWorker::Wake() {
  wake_asked_.store(true, std::memory_order_seq_cst);
  WakeIfAsleep();
}

void EngineWorker::WakeIfAsleep() {
  if (listening_.load(std::memory_order_seq_cst) && listening_.exchange(false, std::memory_order_seq_cst)) {
    bell_.Ring();
  }
}

bool EngineWorker::PrepareToSleep() {
  if (prepared_) EndSleep();
  bell_.TakeIn();
  // Says that it listens before it looks, so that whoever publishes work after the look rings.
  listening_.store(true, std::memory_order_relaxed);
  prepared_ = true;
  HeavyFence();
  bool quiet = !wake_asked_.exchange(false, std::memory_order_seq_cst);
  if (quiet) {
    const Switch::Turn turn(switch_, id_);
    quiet = ArmAll(*plan_.load(std::memory_order_seq_cst));
  }
  if (quiet) {
    counters_.Add(kSleeps);
  } else {
    EndSleep();
  }
  return quiet;
}

bool EngineWorker::ArmAll(const WorkerPlan& plan) {
  needs_tick_ = plan.needs_tick || holding_;
  for (const WorkerPlan::Errand& errand : plan.errands) {
    if (!errand.over->ring.EmptyBeforeSleep()) return false;
    needs_tick_ |= !errand.over->taken.empty();
  }
  for (const WorkerPlan::Exit& exit : plan.exits) {
    if (exit.queue == nullptr) continue;
    exit.queue->Reclaim();
    // What is due within a tick is waited for awake.
    const absl::Duration due = exit.queue->due();
    if (due < kTick) return false;
    needs_tick_ |= due != absl::InfiniteDuration();
  }
  for (const WorkerPlan::Source& source : plan.sources) {
    if (!source.queue->Arm() && source.queue->fd() >= 0) return false;
  }
  return true;
}

void EngineWorker::EndSleep() {
  prepared_ = false;
  if (!listening_.exchange(false, std::memory_order_seq_cst)) bell_.Expect();
}

void EngineWorker::Wait(absl::Duration at_most) {
  switch (options_.mode) {
    case WorkerMode::kPoll:
      return Pause();
    case WorkerMode::kAdaptive:
      return IdleLongEnough() ? Sleep(at_most) : Pause();
    case WorkerMode::kInterrupt:
      return Sleep(at_most);
  }
}

bool EngineWorker::IdleLongEnough() {
  const Nanoseconds now = clock_.Now();
  if (idle_since_ == 0) idle_since_ = now;
  return absl::Nanoseconds(now - idle_since_) >= options_.idle_before_sleep;
}

void EngineWorker::Sleep(absl::Duration at_most) {
  if (!PrepareToSleep()) return;
  epoll_event woken;
  (void)epoll_wait(epoll_.get(), &woken, 1, Milliseconds(needs_tick_ ? std::min(at_most, kTick) : at_most));
  EndSleep();
}

}  // namespace sluice

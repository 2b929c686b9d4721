// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CONTROL_WORKER_H_
#define SLUICE_CONTROL_WORKER_H_

// The part of an Engine that one of the caller's threads runs: it receives from its share of the queues, lets
// the switch forward, and sends. Three ways to drive it:
//
//   a thread of its own:   while (!stop) if (worker.PollOnce() == 0) worker.Wait(absl::Milliseconds(100));
//   your epoll loop:       add worker.fd() once; before each epoll_wait: while (!worker.PrepareToSleep())
//                          worker.PollOnce(); after it: worker.PollOnce()
//   your busy loop:        worker.PollOnce() among the other things that it does
//
// Modes: kPoll never sleeps: the least delay, a core always busy. kAdaptive polls on for idle_before_sleep
//   after the last packet, then sleeps: near 0 % of a core when idle. kInterrupt sleeps as soon as nothing
//   waits: the least processor time at low rates.
// Wake-ups are never lost: a worker sleeps only after every queue has promised to wake it (RxQueue::Arm).
//   While a port has queues that cannot wake (RxQueue::fd() is -1), or packets are held for a port that takes
//   none, it looks again every kTick; and it stays awake for what a transmit queue wants sooner (TxQueue::due).
//
// Threads: one at a time per worker; Wake() and stats() from any. Between calls a worker uses nothing of any
//   port, so that ports come and go without stopping it.
// Cost of PollOnce: one indirect call per queue, then that of the switch; no allocation, no lock.

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"

namespace sluice {

enum class WorkerMode : uint8_t { kPoll, kAdaptive, kInterrupt };

struct WorkerOptions {
  WorkerMode mode = WorkerMode::kAdaptive;
  absl::Duration idle_before_sleep = absl::Microseconds(50);  // kAdaptive only
};

// Each field is monotonic.
struct WorkerStats {
  uint64_t polls = 0;        // calls of PollOnce
  uint64_t busy_polls = 0;   // of those that moved packets
  uint64_t packets = 0;      // received from ports
  uint64_t busy_cycles = 0;  // of the time stamp counter (of nanoseconds where there is none) in busy polls
  uint64_t sleeps = 0;       // times that it went to sleep
  uint64_t handed_over = 0;  // packets given to another worker, which owns the transmit queue
};

class SLUICE_EXPORT Worker {
 public:
  // How long it sleeps at most where nobody can wake it.
  static constexpr absl::Duration kTick = absl::Milliseconds(1);

  virtual ~Worker() = default;

  // Serves each of its queues once. Returns how many packets it received or sent for others; zero: nothing
  // waited.
  virtual size_t PollOnce() = 0;

  // What the mode says: returns at once, or sleeps until there is something to do, Wake() is called, or
  // `at_most` has passed. Returns at once when a poll would find something.
  virtual void Wait(absl::Duration at_most) = 0;

  // Arms everything. True: nothing waits, and fd() will be readable when something does. False: poll first.
  // Frees sent packets, so that a sleeper holds no buffers that it need not.
  virtual bool PrepareToSleep() = 0;

  // Readable (EPOLLIN) when there is something to do after PrepareToSleep. Never read it. The same for the
  // life of the worker.
  virtual int fd() const = 0;

  // True while PrepareToSleep cannot promise a wake-up: sleep no longer than kTick.
  virtual bool needs_tick() const = 0;

  // Ends a Wait, now or the next one.
  virtual void Wake() = 0;

  virtual WorkerId id() const = 0;
  virtual const WorkerOptions& options() const = 0;
  virtual WorkerStats stats() const = 0;
};

}  // namespace sluice

#endif  // SLUICE_CONTROL_WORKER_H_

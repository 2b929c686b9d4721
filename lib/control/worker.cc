// SPDX-License-Identifier: Apache-2.0
// What a worker does with packets. How it sleeps is in worker_sleep.cc.
#include <algorithm>

#include "control/worker_internal.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace sluice {
namespace {

uint64_t Cycles([[maybe_unused]] const Clock& clock) {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return clock.Now();
#endif
}

}  // namespace

size_t EngineWorker::PollOnce() {
  if (prepared_) EndSleep();
  bell_.TakeIn();
  const uint64_t start = Cycles(clock_);
  size_t moved = 0;
  {
    Switch::Turn turn(switch_, id_);
    const WorkerPlan& plan = *plan_.load(std::memory_order_seq_cst);
    // 1. Room first: what an egress holds would crowd out what comes now.
    if (holding_) Flush(turn, plan);
    // 2. In, through the switch, and out, a queue at a time.
    moved = Receive(turn, plan);
    // 3. What other workers received and only this one can send.
    moved += RunErrands(plan);
    // 4. What was sent and is not done.
    if (sending_) FinishSends(plan);
    holding_ = turn.holding();
  }
  counters_.Add(kPolls);
  if (moved != 0) {
    counters_.Add(kBusyPolls);
    counters_.Add(kBusyCycles, Cycles(clock_) - start);
    idle_since_ = 0;
  }
  return moved;
}

// Sends after each queue, for an egress has room for one burst.
size_t EngineWorker::Receive(Switch::Turn& turn, const WorkerPlan& plan) {
  size_t received = 0;
  for (const WorkerPlan::Source& source : plan.sources) {
    Burst burst;
    const size_t here = source.queue->Receive(burst);
    if (here == 0) continue;
    turn.Forward(source.port, burst);
    Flush(turn, plan);
    received += here;
  }
  counters_.Add(kPackets, received);
  return received;
}

void EngineWorker::Flush(Switch::Turn& turn, const WorkerPlan& plan) {
  turn.Flush([&](PortId to, Burst& packets) { Send(plan, to, packets); });
}

// A port that the switch has and the plan has not is on its way in or out: its packets stay held.
void EngineWorker::Send(const WorkerPlan& plan, PortId to, Burst& packets) {
  if (to.value() >= plan.exits.size()) return;
  const WorkerPlan::Exit& exit = plan.exits[to.value()];
  if (exit.queue != nullptr) {
    exit.queue->Send(packets);
    sending_ |= exit.queue->due() != absl::InfiniteDuration();
  } else if (exit.over != nullptr) {
    const size_t handed = exit.over->ring.Push(packets.begin(), packets.size());
    packets.DropFront(handed);
    counters_.Add(kHandedOver, handed);
    exit.over->owner.WakeIfAsleep();
  }
}

size_t EngineWorker::RunErrands(const WorkerPlan& plan) {
  size_t sent = 0;
  for (const WorkerPlan::Errand& errand : plan.errands) {
    Burst& taken = errand.over->taken;
    const size_t room = taken.room();
    const size_t popped = errand.over->ring.Pop(taken.Extend(room), room);
    taken.DropBack(room - popped);
    if (!taken.empty()) {
      sent += errand.queue->Send(taken);
      sending_ |= errand.queue->due() != absl::InfiniteDuration();
    }
    EndOverdueLoans(*errand.over);
    errand.over->taken_count.store(taken.size(), std::memory_order_relaxed);
  }
  return sent;
}

// Those in the ring end where they are.
void EngineWorker::EndOverdueLoans(HandOver& over) {
  over.loans.Look(over.taken, clock_, over.drops);
  if (!over.loans.overdue()) [[likely]]
    return;
  over.unlent = std::max(over.unlent, over.ring.popped());
  for (Packet* packet; (packet = over.ring.Waiting(over.unlent)) != nullptr; ++over.unlent) {
    if (!HeldLoans::End(*packet)) break;
  }
}

// A queue that others have too is looked after by whoever sends: the plan has it among the exits of its owner.
void EngineWorker::FinishSends(const WorkerPlan& plan) {
  sending_ = false;
  for (const WorkerPlan::Exit& exit : plan.exits) {
    if (exit.queue == nullptr || exit.queue->due() == absl::InfiniteDuration()) continue;
    exit.queue->Reclaim();
    sending_ |= exit.queue->due() != absl::InfiniteDuration();
  }
}

WorkerStats EngineWorker::stats() const {
  return {.polls = counters_[kPolls],
          .busy_polls = counters_[kBusyPolls],
          .packets = counters_[kPackets],
          .busy_cycles = counters_[kBusyCycles],
          .sleeps = counters_[kSleeps],
          .handed_over = counters_[kHandedOver]};
}

}  // namespace sluice

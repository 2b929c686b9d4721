// SPDX-License-Identifier: Apache-2.0
// The device as a whole: its work, and what goes wrong with it.
#include <algorithm>
#include <atomic>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

using State = SoftQueuePair::State;

bool MayFail(const SoftQp& qp) {
  const State state = qp.pair->state();
  return state != State::kReset && state != State::kError;
}
bool MayFail(const SoftWq& wq) { return wq.state == IBV_WQS_RDY; }

// Of which a completion queue is the one, or one of both.
bool CompletesAt(const SoftQp& qp, const SoftCq& cq) {
  const ibv_cq* const at = reinterpret_cast<const ibv_cq*>(&cq);
  return !qp.pair->spreads() && (qp.qp.send_cq == at || qp.qp.recv_cq == at);
}
bool CompletesAt(const SoftWq& wq, const SoftCq& cq) { return wq.cq == reinterpret_cast<const ibv_cq*>(&cq); }

void Stop(SoftDevice& device, SoftQp& qp) { device.port.SetState(*qp.pair, State::kError); }
void Stop(SoftDevice& device, SoftWq& wq) {
  wq.state = IBV_WQS_ERR;
  device.port.Flush(*wq.queue);
}

// Those of a kind that `chosen` names, and that can.
template <typename Queue, typename Chosen>
size_t Fail(SoftDevice& device, const std::vector<Queue*>& queues, Chosen chosen) {
  size_t failed = 0;
  for (Queue* queue : queues) {
    if (!MayFail(*queue) || !chosen(*queue)) continue;
    Stop(device, *queue);
    TellFailed(*queue);
    ++failed;
  }
  return failed;
}

// Nobody is told of those that were on their way when the queue was overrun; the queues it served are of no use any more.
void FailOverrun(SoftDevice& device, SoftCq& cq) {
  const auto completes_there = [&cq](const auto& queue) { return CompletesAt(queue, cq); };
  TellFailed(cq);
  Fail(device, device.live_pairs, completes_there);
  Fail(device, device.live_work_queues, completes_there);
}

}  // namespace

uint16_t SoftDevice::CountDevices() {
  static std::atomic<uint16_t> made{0};
  return made.fetch_add(1, std::memory_order_relaxed);
}

bool SoftDevice::Step() {
  const bool moved = port.Step();
  if (has_late) {
    has_late = faults.completions_late > absl::ZeroDuration();
    for (SoftCq* cq : live_completions) {
      cq->queue.ShowDue();
      has_late = has_late || cq->queue.has_late();
    }
  }
  while (!overrun.empty()) {
    SoftCq* const cq = overrun.back();
    overrun.pop_back();
    FailOverrun(*this, *cq);
  }
  return moved;
}

void SoftDevice::SetFaults(const SoftwareVerbsFaults& asked) {
  faults = asked;
  port.SetFaults(faults);
  for (SoftCq* cq : live_completions) Burden(*cq);
  has_late = has_late || faults.completions_late > absl::ZeroDuration();
}

void SoftDevice::Burden(SoftCq& cq) const {
  cq.queue.SetFaults(static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(faults.completions_late)),
                     faults.overrun);
}

size_t SoftDevice::FailQueue(uint32_t number) {
  return Fail(*this, live_pairs, [number](const SoftQp& qp) { return qp.pair->number() == number; }) +
         Fail(*this, live_work_queues, [number](const SoftWq& wq) { return wq.wq_num == number; });
}

size_t SoftDevice::FailQueues() {
  const auto all = [](const auto&) { return true; };
  return Fail(*this, live_pairs, all) + Fail(*this, live_work_queues, all);
}

bool SoftDevice::OverrunCompletions(uint32_t handle) {
  const auto found = std::find_if(live_completions.begin(), live_completions.end(),
                                  [handle](const SoftCq* cq) { return cq->handle == handle; });
  if (found == live_completions.end() || (*found)->queue.overrun()) return false;
  (*found)->queue.Overrun();
  Step();
  return true;
}

void SoftDevice::Remove() {
  if (removed) return;
  port.SetPlugged(false);
  removed = true;
  for (SoftQp* qp : live_pairs) {
    if (MayFail(*qp)) Stop(*this, *qp);
  }
  for (SoftWq* wq : live_work_queues) {
    if (MayFail(*wq)) Stop(*this, *wq);
  }
  TellRemoved();
}

}  // namespace sluice

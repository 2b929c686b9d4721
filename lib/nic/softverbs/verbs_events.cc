// SPDX-License-Identifier: Apache-2.0
// Completion channels, for programs that sleep until something completes; and what happens to the port.
#include <cstdlib>

#include "nic/softverbs/event_pipe_internal.h"
#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {

using Alarm = SoftCompletionQueue::Alarm;

// libibverbs closes and frees it.
ibv_comp_channel* CreateChannel(ibv_context* context) {
  const int pipe = OpenEventPipe();
  if (pipe < 0) return nullptr;
  auto* const channel = static_cast<ibv_comp_channel*>(std::calloc(1, sizeof(ibv_comp_channel)));
  if (channel == nullptr) {
    close(pipe);
    return Refuse(ENOMEM);
  }
  channel->context = context;
  channel->fd = pipe;
  return channel;
}

void SoftCq::Bell::Ring() {
  --DeviceOf(cq->context).armed;
  if (pipe >= 0) (void)PutEvent(pipe, static_cast<ibv_cq*>(ibv_cq_ex_to_cq(cq)));
}

// What is there already rings at once, as on cards that compare with what was polled: a program that looks once more
// after this, as it should, is not harmed.
int RequestNotify(ibv_cq* cq, int errors_only) {
  SoftDevice& device = DeviceOf(cq->context);
  const std::lock_guard lock(device.gate);
  SoftCompletionQueue& queue = CqOf(cq).queue;
  if (!queue.alarmed()) ++device.armed;
  queue.SetAlarm(errors_only != 0 ? Alarm::kErrors : Alarm::kAny);
  if (errors_only == 0 && !queue.empty()) {
    queue.SetAlarm(Alarm::kOff);
    CqOf(cq).bell.Ring();
    return 0;
  }
  return device.service.Start() ? 0 : ENOMEM;
}

void SoftCq::Bell::Overrun() { DeviceOf(cq->context).overrun.push_back(cq); }

namespace {

VerbsAsyncRecord Record(ibv_event_type type, uint64_t element) {
  return {.element = element, .type = static_cast<uint32_t>(type), .reserved = 0};
}
uint64_t ElementOf(const void* object) { return reinterpret_cast<uint64_t>(object); }

void Tell(const ibv_context* context, ibv_event_type type, const void* object) {
  (void)PutEvent(context->async_fd, Record(type, ElementOf(object)));
}

void AwaitAcks(pthread_mutex_t& mutex, pthread_cond_t& cond, const uint32_t& acknowledged, uint32_t taken) {
  pthread_mutex_lock(&mutex);
  while (acknowledged != taken) pthread_cond_wait(&cond, &mutex);
  pthread_mutex_unlock(&mutex);
}

// How many of the events of an object the program has taken, once the others are out of its way.
uint32_t Withdraw(const ibv_context& context, const void* object, const uint32_t& taken) {
  const std::lock_guard lock(DeviceOf(const_cast<ibv_context*>(&context)).gate);
  RemoveEvents<VerbsAsyncRecord>(context.async_fd, [object](const VerbsAsyncRecord& record) {
    return record.element == ElementOf(object);
  });
  return taken;
}

}  // namespace

void SoftDevice::TellPort(bool up) const {
  constexpr uint64_t kPort = 1;
  const VerbsAsyncRecord record = Record(up ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR, kPort);
  for (const int pipe : event_pipes) (void)PutEvent(pipe, record);
}
void SoftDevice::TellRemoved() const {
  for (const int pipe : event_pipes) (void)PutEvent(pipe, Record(IBV_EVENT_DEVICE_FATAL, 0));
}

void TellFailed(const SoftCq& cq) { Tell(cq.context, IBV_EVENT_CQ_ERR, &cq); }
void TellFailed(const SoftQp& qp) { Tell(qp.qp.context, IBV_EVENT_QP_FATAL, &qp.qp); }
void TellFailed(const SoftWq& wq) { Tell(wq.context, IBV_EVENT_WQ_FATAL, static_cast<const ibv_wq*>(&wq)); }

// libibverbs has given the reader what it read, and counts what the reader acknowledges.
void OnAsyncEvent(ibv_context* context, ibv_async_event* event) {
  const std::lock_guard lock(DeviceOf(context).gate);
  if (event->event_type == IBV_EVENT_CQ_ERR) ++CqOf(event->element.cq).failures;
  if (event->event_type == IBV_EVENT_QP_FATAL) ++QpOf(event->element.qp).failures;
  if (event->event_type == IBV_EVENT_WQ_FATAL) ++WqOf(event->element.wq).failures;
}

void OnCqEvent(ibv_cq* cq) {
  const std::lock_guard lock(DeviceOf(cq->context).gate);
  ++CqOf(cq).events;
}

void SettleEvents(SoftCq& cq) {
  uint32_t taken = 0;
  {
    SoftDevice& device = DeviceOf(cq.context);
    const std::lock_guard lock(device.gate);
    if (cq.queue.alarmed()) --device.armed;
    cq.queue.SetAlarm(Alarm::kOff);
    const ibv_cq* const gone = ibv_cq_ex_to_cq(&cq);
    if (cq.bell.pipe >= 0) RemoveEvents<ibv_cq*>(cq.bell.pipe, [gone](ibv_cq* rung) { return rung == gone; });
    taken = cq.events;
  }
  AwaitAcks(cq.mutex, cq.cond, cq.comp_events_completed, taken);
  AwaitAcks(cq.mutex, cq.cond, cq.async_events_completed, Withdraw(*cq.context, &cq, cq.failures));
}

void SettleEvents(SoftQp& qp) {
  AwaitAcks(qp.qp.mutex, qp.qp.cond, qp.qp.events_completed, Withdraw(*qp.qp.context, &qp.qp, qp.failures));
}

void SettleEvents(SoftWq& wq) {
  AwaitAcks(wq.mutex, wq.cond, wq.events_completed,
            Withdraw(*wq.context, static_cast<ibv_wq*>(&wq), wq.failures));
}

}  // namespace sluice

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

void SoftDevice::TellPrograms(bool up) {
  constexpr uint64_t kPort = 1;
  const VerbsAsyncRecord record{
      .element = kPort,
      .type = static_cast<uint32_t>(up ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR),
      .reserved = 0};
  for (const int pipe : event_pipes) (void)PutEvent(pipe, record);
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
  pthread_mutex_lock(&cq.mutex);
  while (cq.comp_events_completed != taken) pthread_cond_wait(&cq.cond, &cq.mutex);
  pthread_mutex_unlock(&cq.mutex);
}

}  // namespace sluice

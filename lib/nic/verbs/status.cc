// SPDX-License-Identifier: Apache-2.0
// What can be asked of a port, and what it tells by itself.
#include <fcntl.h>
#include <poll.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/verbs_nic_internal.h"

namespace sluice {

DropCounts VerbsNicImpl::drops() const {
  const std::lock_guard lock(mutex_);
  DropCounts sum;
  for (const VerbsRxQueue& queue : rx_) sum += queue.stats().drops;
  for (const VerbsTxQueue& queue : tx_) sum += queue.stats().drops;
  sum[DropReason::kReceiveRingFull] += out_of_buffer_.Added();
  return sum;
}

int VerbsNicImpl::event_fd() const { return running() ? device_->context()->async_fd : -1; }

// What the card's events say is found out by asking; they are only taken, for one that is not keeps its cause alive.
std::vector<NicEvent> VerbsNicImpl::TakeEvents() {
  if (!running()) return {};
  std::vector<NicEvent> events = QueueFailures();
  pollfd waiting = {.fd = event_fd(), .events = POLLIN, .revents = 0};
  while (waiting.fd >= 0 && poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLIN) != 0) {
    ibv_async_event event{};
    if (ibv_get_async_event(device_->context(), &event) != 0) break;
    if (event.event_type == IBV_EVENT_DEVICE_FATAL) {
      events.push_back({.kind = NicEvent::Kind::kRemoved, .queue = {}, .detail = "the device has gone"});
    }
    ibv_ack_async_event(&event);
  }
  const LinkState now = link_.Refresh();
  if (std::exchange(told_, now) == now) return events;
  const bool up = now == LinkState::kUp;
  events.push_back({.kind = up ? NicEvent::Kind::kLinkUp : NicEvent::Kind::kLinkDown,
                    .queue = {},
                    .detail = up ? "the port is active" : "the port is down"});
  return events;
}

std::vector<NicEvent> VerbsNicImpl::QueueFailures() {
  std::vector<NicEvent> events;
  for (VerbsRxQueue& queue : rx_) {
    if (!queue.TakeFailure()) continue;
    events.push_back(
        {.kind = NicEvent::Kind::kQueueError, .queue = queue.id(), .detail = "receive queue reset"});
  }
  for (VerbsTxQueue& queue : tx_) {
    if (!queue.TakeFailure()) continue;
    events.push_back(
        {.kind = NicEvent::Kind::kQueueError, .queue = queue.id(), .detail = "send queue reset"});
  }
  return events;
}

}  // namespace sluice

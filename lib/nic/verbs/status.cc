// SPDX-License-Identifier: Apache-2.0
// What can be asked of a port, and what it tells by itself.
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

std::vector<ModeInForce> VerbsNicImpl::modes() const {
  const auto wanted = [](bool asked) { return asked ? Want::kPrefer : Want::kOff; };
  const auto mode = [](const char* name, Want want, bool active, std::string missing) {
    const bool tells = want != Want::kOff && !active;
    return ModeInForce{
        .name = name, .wanted = want, .active = active, .reason = tells ? std::move(missing) : ""};
  };
  constexpr char kSoftware[] = "the device lacks it; done in software";
  return {mode("marks", wanted(options_.marks), arrivals_.Tells(IBV_WC_EX_WITH_FLOW_TAG),
               "completions carry no mark"),
          mode("vlan-strip", wanted(options_.strip_vlan), arrivals_.card_strips(), kSoftware),
          mode("stamp", wanted(options_.stamp), arrivals_.card_stamps(), kSoftware),
          mode("tso", options_.segmentation, sending_.segments, kSoftware),
          mode("extended-send", options_.extended_send, sending_.extended, "the device has plain calls only"),
          mode("direct-receive", options_.direct_receive, arrivals_.direct, device_->NoDirect(options_)),
          mode("compressed-completions", options_.compressed_completions, arrivals_.compressed,
               device_->NoCompression(options_)),
          mode("striding", options_.striding, arrivals_.strides.has_value(), device_->NoStriding(options_)),
          mode("lro", options_.lro, arrivals_.lro, device_->NoLro(options_)),
          mode("lag-port", sending_.lag_port == 0 ? Want::kOff : Want::kRequire, sending_.lag_port != 0, "")};
}

absl::Status VerbsNicImpl::LimitRate(QueueId queue, uint32_t kilobits_a_second) {
  constexpr char kStage[] = "limit rate";
  if (!running())
    return Refuse(absl::StatusCode::kFailedPrecondition, kStage, "is stopped", "start it first");
  if (device_->max_rate() == 0) {
    return Lacks(kStage, "pacing", "the device has none, as described() says", "pace in front of Send");
  }
  if (queue.value() >= queues_.tx_queues || kilobits_a_second > device_->max_rate()) {
    return Refuse(
        absl::StatusCode::kInvalidArgument, kStage,
        absl::StrCat(kilobits_a_second, " kbit/s for queue ", queue.value()),
        absl::StrCat("use a queue below ", queues_.tx_queues, ", and at most ", device_->max_rate()));
  }
  const int error = tx_[queue.value()].LimitRate(kilobits_a_second);
  if (error == 0) return absl::OkStatus();
  return device_->Failed(error, kStage, "pacing", "the device refuses", "use another rate");
}

int VerbsNicImpl::event_fd() const { return running() ? alarm_.fd() : -1; }

std::vector<NicEvent> VerbsNicImpl::TakeEvents() {
  if (!running()) return {};
  alarm_.Silence();  // before looking: what is reported after that rings again
  std::vector<NicEvent> events;
  TakeCardEvents(events);
  TakeReports(events);
  const LinkState now = link_.Refresh();
  if (std::exchange(told_, now) == now) return events;
  const bool up = now == LinkState::kUp;
  events.push_back({.kind = up ? NicEvent::Kind::kLinkUp : NicEvent::Kind::kLinkDown,
                    .queue = {},
                    .detail = up ? "the port is active" : "the port is down"});
  return events;
}

void VerbsNicImpl::TakeCardEvents(std::vector<NicEvent>& events) {
  pollfd waiting = {.fd = device_->context()->async_fd, .events = POLLIN, .revents = 0};
  while (waiting.fd >= 0 && poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLIN) != 0) {
    ibv_async_event event{};
    if (ibv_get_async_event(device_->context(), &event) != 0) break;
    Heed(event, events);
    ibv_ack_async_event(&event);
  }
}

// What the link is, is found out by asking. An event that is not acknowledged would keep its cause alive.
void VerbsNicImpl::Heed(const ibv_async_event& event, std::vector<NicEvent>& events) {
  if (event.event_type == IBV_EVENT_DEVICE_FATAL) {
    link_.Lose();
    if (std::exchange(removed_, true)) return;
    return events.push_back({.kind = NicEvent::Kind::kRemoved, .queue = {}, .detail = "the device has gone"});
  }
  for (VerbsRxQueue& queue : rx_) {
    if (queue.Has(event)) queue.failure().Suspect();
  }
  for (VerbsTxQueue& queue : tx_) {
    if (queue.Has(event)) queue.failure().Suspect();
  }
}

void VerbsNicImpl::TakeReports(std::vector<NicEvent>& events) {
  const auto tell = [&events](QueueId queue, const char* which) {
    events.push_back({.kind = NicEvent::Kind::kQueueError, .queue = queue, .detail = which});
  };
  for (VerbsRxQueue& queue : rx_) {
    if (queue.failure().TakeReport()) tell(queue.id(), "receive queue");
  }
  for (VerbsTxQueue& queue : tx_) {
    if (queue.failure().TakeReport()) tell(queue.id(), "transmit queue");
  }
}

}  // namespace sluice

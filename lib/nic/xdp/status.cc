// SPDX-License-Identifier: Apache-2.0
// What can be asked of a port, and what it answers to what AF_XDP cannot do.

#include "sluice/base/status.h"

#include "nic/xdp/xdp_nic_internal.h"

namespace sluice {

void XdpNicImpl::NoteModes(const Started& started) {
  const XdpProgram& program = started.program;
  const bool zero_copy = (*started.sockets)[0].zero_copy();
  const bool wanted = options_.zero_copy != Want::kOff;
  modes_ = {
      {.name = "native", .wanted = options_.native, .active = program.native(), .reason = program.reason()},
      {.name = "zero-copy",
       .wanted = options_.zero_copy,
       .active = zero_copy,
       .reason = zero_copy || !wanted ? "" : "the driver has no zero-copy on this queue"},
      started.sockets->busy_poll()};
}

std::vector<ModeInForce> XdpNicImpl::modes() const {
  const std::lock_guard lock(mutex_);
  if (started_ != nullptr) return modes_;
  return {{.name = "native", .wanted = options_.native, .active = false, .reason = "stopped"},
          {.name = "zero-copy", .wanted = options_.zero_copy, .active = false, .reason = "stopped"},
          {.name = "busy-poll", .wanted = options_.busy_poll, .active = false, .reason = "stopped"}};
}

DropCounts XdpNicImpl::drops() const {
  const std::lock_guard lock(mutex_);
  DropCounts sum;
  for (const XdpRxQueue& queue : rx_) sum += queue.stats().drops;
  for (const XdpTxQueue& queue : tx_) sum += queue.stats().drops;
  return sum;
}

XdpCounters XdpNicImpl::counters() const {
  const std::lock_guard lock(mutex_);
  XdpCounters sum = counted_;
  for (const XdpTxQueue& queue : tx_) sum.copies += queue.copies();
  for (size_t i = 0; started_ != nullptr && i < started_->sockets->size(); ++i) {
    sum.doorbells += (*started_->sockets)[i].doorbells();
    sum.transmit_retries += (*started_->sockets)[i].retries();
  }
  return sum;
}

void XdpNicImpl::AddUp(XdpSockets& sockets) {
  for (size_t i = 0; i < sockets.size(); ++i) {
    counted_.doorbells += sockets[i].doorbells();
    counted_.transmit_retries += sockets[i].retries();
  }
}

std::string XdpNicImpl::queue_plan() const {
  const std::lock_guard lock(mutex_);
  return started_ == nullptr ? "" : started_->plan_text;
}

std::vector<NicEvent> XdpNicImpl::TakeEvents() {
  std::vector<NicEvent> events;
  const auto tell = [&](LinkState now) {
    if (now == told_) return;
    told_ = now;
    events.push_back({.kind = now == LinkState::kUp ? NicEvent::Kind::kLinkUp : NicEvent::Kind::kLinkDown,
                      .queue = {},
                      .detail = {}});
  };
  watch_.Read([&](LinkWatch::Notice notice) {
    switch (notice) {
      case LinkWatch::Notice::kUp:
        return tell(LinkState::kUp);
      case LinkWatch::Notice::kDown:
        return tell(LinkState::kDown);
      case LinkWatch::Notice::kMissedSome:
        return tell(link_.Refresh());
      case LinkWatch::Notice::kGone:
        tell(LinkState::kDown);
        events.push_back({.kind = NicEvent::Kind::kRemoved, .queue = {}, .detail = "the interface has gone"});
    }
  });
  link_.Refresh();
  return events;
}

absl::Status XdpNicImpl::Lacks(const char* capability) const {
  return ErrorStatus(absl::StatusCode::kUnimplemented,
                     {.device = name_,
                      .stage = "steer",
                      .capability = capability,
                      .what = "AF_XDP leaves steering to the device's own settings",
                      .remedy = "set them with `ethtool -N` or `ethtool -X`, or steer in software"});
}

absl::StatusOr<RuleId> XdpNicImpl::InstallRule(const Rule&) { return Lacks("rules"); }
absl::Status XdpNicImpl::UpdateRule(RuleId, const RuleActions&) { return Lacks("rules"); }
absl::Status XdpNicImpl::RemoveRule(RuleId) { return Lacks("rules"); }
absl::StatusOr<RuleStats> XdpNicImpl::QueryRule(RuleId) const { return Lacks("rules"); }
absl::Status XdpNicImpl::SetRss(const RssConfig&) { return Lacks("RSS"); }

}  // namespace sluice

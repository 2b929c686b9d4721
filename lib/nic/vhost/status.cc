// SPDX-License-Identifier: Apache-2.0
// What can be asked of a port, and what it answers to what no vhost-user port can do.

#include "sluice/base/status.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/vhost/vhost_nic_internal.h"

namespace sluice {

LinkState VhostNicImpl::link() const {
  return rings_.sending() != 0 && rings_.receiving() != 0 ? LinkState::kUp : LinkState::kDown;
}

std::vector<ModeInForce> VhostNicImpl::modes() const {
  return ModesOf(options_, link() == LinkState::kUp, rings_.features());
}

std::string VhostNicImpl::feature_names() const {
  return link() == LinkState::kUp ? VhostFeatureNames(rings_.features()) : "";
}

DropCounts VhostNicImpl::drops() const {
  const std::lock_guard lock(mutex_);
  DropCounts sum;
  for (const VhostRxQueue& queue : rx_) sum += queue.stats().drops;
  for (const VhostTxQueue& queue : tx_) sum += queue.stats().drops;
  return sum;
}

std::vector<NicEvent> VhostNicImpl::TakeEvents() {
  std::vector<NicEvent> events;
  if (!running()) return events;
  session_->Service();
  TellFaults(events);
  TellLink(events);
  return events;
}

void VhostNicImpl::TellFaults(std::vector<NicEvent>& events) {
  if (!faults_.TakeIn()) return;
  for (uint16_t i = 0; i < 2 * rings_.pairs(); ++i) {
    GuestRing& ring = rings_.at(i);
    const Within gate(ring.gate);
    if (!ring.served || ring.fault() == std::exchange(told_faults_[i], ring.fault())) continue;
    if (ring.setup.err != nullptr) (void)eventfd_write(ring.setup.err->get(), 1);
    events.push_back({.kind = NicEvent::Kind::kQueueError,
                      .queue = QueueId{static_cast<uint16_t>(i / 2)},
                      .detail = absl::StrCat("ring ", i, " of the guest stopped: ", Meaning(ring.fault()))});
  }
}

// A front-end that was hung up on before its link was up is told too.
void VhostNicImpl::TellLink(std::vector<NicEvent>& events) {
  const LinkState now = link();
  std::string why = std::exchange(parting_, "");
  if (now == told_ && why.empty()) return;
  if (now == LinkState::kUp && told_ == LinkState::kUp) {
    events.push_back({.kind = NicEvent::Kind::kLinkDown, .queue = {}, .detail = why});
  }
  told_ = now;
  const bool up = now == LinkState::kUp;
  events.push_back({.kind = up ? NicEvent::Kind::kLinkUp : NicEvent::Kind::kLinkDown,
                    .queue = {},
                    .detail = up ? "" : why});
}

VhostReport VhostNicImpl::report() const {
  const std::lock_guard lock(mutex_);
  VhostReport report;
  if (session_ == nullptr) return report;
  const VhostSnapshot now = session_->Snapshot();
  report.connected = now.connected;
  report.features = VhostFeatureNames(now.features);
  report.protocol_features = VhostProtocolFeatureNames(now.protocol_features);
  report.dirty_logging = now.logging;
  report.last_error = std::string(now.last_error.message());
  report.connections = now.connections;
  report.refused = now.refused;
  report.bad_messages = now.bad_messages;
  for (const VhostRxQueue& queue : rx_) report.idle_kicks += queue.idle_kicks();
  report.copy_engine = copy_engine_;
  report.copies = CopiesNow();
  for (const VhostRegionView& region : now.regions) report.memory_bytes += region.bytes;
  report.memory_regions = static_cast<uint32_t>(now.regions.size());
  for (size_t i = 0; i < now.rings.size(); ++i) {
    const VhostRingView& ring = now.rings[i];
    if (i % 2 == 0 && ring.enabled) ++report.pairs_enabled;
    if (ring.size == 0) continue;
    const RingFault fault = told_faults_[i];
    report.rings.push_back({.index = static_cast<uint16_t>(i),
                            .size = static_cast<uint16_t>(ring.size),
                            .enabled = ring.enabled,
                            .running = ring.runs && fault == RingFault::kNone,
                            .fault = fault == RingFault::kNone ? "" : std::string(Name(fault))});
  }
  return report;
}

absl::Status VhostNicImpl::Lacks(const char* capability) const {
  return ErrorStatus(absl::StatusCode::kUnimplemented,
                     {.device = name_,
                      .stage = "steer",
                      .capability = capability,
                      .what = "the guest chooses the ring of each packet that it sends",
                      .remedy = "steer in software, behind the queues"});
}

absl::StatusOr<RuleId> VhostNicImpl::InstallRule(const Rule&) { return Lacks("rules"); }
absl::Status VhostNicImpl::UpdateRule(RuleId, const RuleActions&) { return Lacks("rules"); }
absl::Status VhostNicImpl::RemoveRule(RuleId) { return Lacks("rules"); }
absl::StatusOr<RuleStats> VhostNicImpl::QueryRule(RuleId) const { return Lacks("rules"); }
absl::Status VhostNicImpl::SetRss(const RssConfig&) { return Lacks("RSS"); }

}  // namespace sluice

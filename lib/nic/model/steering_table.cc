// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nic/model/steering_table_internal.h"

namespace sluice {

SteeringTable::SteeringTable(RuleTable rules, std::shared_ptr<const RssConfig> rss, uint16_t queues)
    : rules_(std::move(rules)),
      rss_(std::move(rss)),
      spreads_(rss_ != nullptr && queues > 1),
      parses_(spreads_ || rules_.needs_layers()) {}

void SteeringTable::Hash(Packet& packet) const {
  if (!spreads_) return;
  const RssResult result = RssHash(*rss_, packet);
  packet.rss_hash = result.hash;
  packet.rss_type = result.type;
}

void SteeringTable::HashAll(Burst& burst) const {
  if (spreads_) RssHashBurst(*rss_, burst);
}

std::optional<DropReason> SteeringTable::Steer(Packet& packet) const {
  packet.ingress_queue = spreads_ ? rss_->QueueFor(packet.rss_hash) : QueueId{0};
  if (rules_.empty()) return std::nullopt;
  std::optional<DropReason> dropped;
  rules_.Match(packet, RuleDirection::kIngress, [&](const TableRule& met) {
    met.hits->packets.Add();
    met.hits->bytes.Add(packet.length());
    const RuleActions& actions = met.rule.actions;
    if (actions.drop) dropped = DropReason::kRule;
    if (actions.queue) packet.ingress_queue = *actions.queue;
    if (actions.mark) packet.set_mark(*actions.mark);
  });
  return dropped;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "nic/model/steering_table_internal.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

// What matches are made on, taken out of the frame once.
struct Fields {
  std::optional<MacAddress> destination;
  uint16_t vlan = 0;
  std::optional<FlowKey> flow;
};

Fields FieldsOf(const Packet& packet, bool parsed) {
  Fields fields;
  if (packet.head_length() >= sizeof(EthernetHeader)) {
    fields.destination = HeaderAt<EthernetHeader>(packet.data(), 0)->destination;
  }
  fields.vlan = OutermostVlan(packet);
  FlowKey flow;
  if (parsed && ExtractFlowKey(packet, flow)) fields.flow = flow;
  return fields;
}

bool Matches(const RuleMatch& match, const Fields& fields) {
  return (!match.destination || match.destination == fields.destination) &&
         (!match.vlan || *match.vlan == fields.vlan) &&  //
         (!match.flow || match.flow == fields.flow);
}

bool AnyMatchesFlow(const std::vector<InstalledRule>& rules) {
  return std::any_of(rules.begin(), rules.end(), [](const auto& rule) { return rule.rule.match.flow; });
}

bool IsTag(Ethertype type) {
  return type == Ethertype::kVlan || type == Ethertype::kServiceVlan || type == Ethertype::kOldQinq;
}

}  // namespace

uint16_t OutermostVlan(const Packet& packet) {
  constexpr uint16_t kId = 0x0fff;
  if (packet.vlan_stripped) return packet.vlan_tci & kId;
  if (packet.head_length() < sizeof(EthernetHeader) + sizeof(VlanTag)) return 0;
  if (!IsTag(HeaderAt<EthernetHeader>(packet.data(), 0)->type.get())) return 0;
  return HeaderAt<VlanTag>(packet.data(), sizeof(EthernetHeader))->id();
}

SteeringTable::SteeringTable(std::vector<InstalledRule> rules, std::shared_ptr<const RssConfig> rss,
                             uint16_t queues)
    : rules_(std::move(rules)),
      rss_(std::move(rss)),
      spreads_(rss_ != nullptr && queues > 1),
      parses_(spreads_ || AnyMatchesFlow(rules_)) {}

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
  const Fields fields = FieldsOf(packet, parses_);
  const auto first = std::find_if(rules_.begin(), rules_.end(),
                                  [&](const auto& rule) { return Matches(rule.rule.match, fields); });
  if (first == rules_.end()) return std::nullopt;

  first->hits->packets.Add();
  first->hits->bytes.Add(packet.length());
  const RuleActions& actions = first->rule.actions;
  if (actions.drop) return DropReason::kRule;
  if (actions.queue) packet.ingress_queue = *actions.queue;
  if (actions.mark) packet.set_mark(*actions.mark);
  return std::nullopt;
}

}  // namespace sluice

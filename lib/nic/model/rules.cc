// SPDX-License-Identifier: Apache-2.0
// Rules and RSS. Each change makes a whole new table and appends it to the history: what steers now is never
// touched.
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/model/model_nic_internal.h"
#include "nic/rss_check_internal.h"

namespace sluice {
namespace {

constexpr char kInstall[] = "install rule";

bool NamesFlow(const HeadersMatch& headers) {
  return headers.ipv4 || headers.ipv6 || headers.tcp || headers.udp;
}

bool NamesTunnel(const RuleMatch& match) {
  return match.vxlan || match.gre || match.gre_key || match.mpls || match.inner != HeadersMatch();
}

}  // namespace

absl::Status ModelNicCore::CheckRunning(const char* stage) const {
  if (running()) return absl::OkStatus();
  return Refuse(absl::StatusCode::kFailedPrecondition, stage, "is stopped", "start it first");
}

absl::Status ModelNicCore::CheckMatch(const RuleMatch& match) const {
  const ModelHardware& hardware = options_.hardware;
  const auto lacks = [this](std::string capability) {
    return Lacks(kInstall, std::move(capability), "steer by another field, or in software behind the queue");
  };
  if (match.outer.ethernet && !hardware.match_ethernet) return lacks("match by Ethernet header");
  if (match.outer.vlan && !hardware.match_vlan) return lacks("match by VLAN");
  if (NamesFlow(match.outer) && !hardware.match_flow) return lacks("match by flow");
  if (NamesTunnel(match) && !hardware.match_tunnel) return lacks("match by tunnel");
  return absl::OkStatus();
}

// What this card's one copy of a frame, on its way in, does not allow.
absl::Status ModelNicCore::CheckKind(const Rule& rule) const {
  const bool copies = rule.kind == RuleKind::kSniffer || (rule.actions.pass_on && rule.actions.queue);
  if (copies) return Lacks(kInstall, "copies of a frame", "copy it in software behind the queue");
  if (rule.direction == RuleDirection::kIngress) return absl::OkStatus();
  return Lacks(kInstall, "egress rules", "look at what is sent in software, before Send");
}

absl::Status ModelNicCore::CheckQueue(const RuleActions& actions) const {
  if (!actions.queue || actions.queue->value() < rx_count_) return absl::OkStatus();
  return Refuse(absl::StatusCode::kInvalidArgument, "set rule actions",
                absl::StrCat("queue ", actions.queue->value()),
                absl::StrCat("use a queue below ", rx_count_));
}

absl::StatusOr<RuleId> ModelNicCore::InstallRule(const Rule& rule) {
  if (able_.max_rules == 0) return Lacks(kInstall, "steering rules", "steer in software behind the queue");
  if (absl::Status checked = CheckRunning(kInstall); !checked.ok()) return checked;
  if (absl::Status checked = CheckKind(rule); !checked.ok()) return checked;
  if (absl::Status checked = CheckMatch(rule.match); !checked.ok()) return checked;
  if (absl::Status checked = CheckQueue(rule.actions); !checked.ok()) return checked;

  const SteeringTable& newest = receiver_.tables().newest();
  if (newest.rules().size() >= able_.max_rules) {
    return Refuse(absl::StatusCode::kResourceExhausted, kInstall,
                  absl::StrCat(able_.max_rules, " rules are all it has"), "remove one first");
  }
  const RuleId id{last_rule_ + 1};
  absl::StatusOr<RuleTable> rules = newest.rules().With({.id = id, .rule = rule});
  if (!rules.ok()) return rules.status();
  ++last_rule_;
  Change(*std::move(rules), newest.rss());
  return id;
}

absl::Status ModelNicCore::UpdateRule(RuleId id, const RuleActions& actions) {
  constexpr char kStage[] = "update rule";
  if (!options_.hardware.rule_update) {
    return Lacks(kStage, "in-place rule update",
                 "install the new rule above the old one, then remove the old one");
  }
  const absl::StatusOr<const TableRule*> old = Find(id, kStage);
  if (!old.ok()) return old.status();
  Rule changed = (*old)->rule;
  changed.actions = actions;
  if (absl::Status checked = CheckKind(changed); !checked.ok()) return checked;
  if (absl::Status checked = CheckQueue(actions); !checked.ok()) return checked;
  const SteeringTable& newest = receiver_.tables().newest();
  absl::StatusOr<RuleTable> rules = newest.rules().WithActions(id, actions);
  if (!rules.ok()) return rules.status();
  Change(*std::move(rules), newest.rss());
  return absl::OkStatus();
}

absl::Status ModelNicCore::RemoveRule(RuleId id) {
  const absl::StatusOr<const TableRule*> rule = Find(id, "remove rule");
  if (!rule.ok()) return rule.status();
  const SteeringTable& newest = receiver_.tables().newest();
  Change(*newest.rules().Without(id), newest.rss());
  return absl::OkStatus();
}

absl::StatusOr<RuleStats> ModelNicCore::QueryRule(RuleId id) const {
  const absl::StatusOr<const TableRule*> rule = Find(id, "query rule");
  if (!rule.ok()) return rule.status();
  const RuleCounters& hits = *(*rule)->hits;
  return RuleStats{.packets = hits.packets.value(), .bytes = hits.bytes.value()};
}

absl::StatusOr<const TableRule*> ModelNicCore::Find(RuleId id, const char* stage) const {
  if (absl::Status checked = CheckRunning(stage); !checked.ok()) return checked;
  if (const TableRule* rule = receiver_.tables().newest().rules().Find(id)) return rule;
  return Refuse(absl::StatusCode::kNotFound, stage, absl::StrCat("rule ", id.value(), " is not installed"),
                "use an id that InstallRule returned since the last Start, and that was not removed");
}

absl::Status ModelNicCore::SetRss(const RssConfig& rss) {
  constexpr char kStage[] = "set RSS";
  if (able_.rss_table_size == 0) return Lacks(kStage, "RSS", "use one queue, or steer by rules");
  if (!able_.rss_update)
    return Lacks(kStage, "RSS update while running", "live with the table that Start made");
  if (absl::Status checked = CheckRunning(kStage); !checked.ok()) return checked;
  if (absl::Status checked = CheckRssTable(name_, rss, able_.rss_table_size, rx_count_); !checked.ok()) {
    return checked;
  }
  Change(receiver_.tables().newest().rules(), std::make_shared<const RssConfig>(rss));
  return absl::OkStatus();
}

void ModelNicCore::Change(RuleTable rules, std::shared_ptr<const RssConfig> rss) {
  const TableWriteDelay& delay = options_.table_write_delay;
  const Nanoseconds wait = static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(delay.time));
  receiver_.tables().Append(
      std::make_unique<const SteeringTable>(std::move(rules), std::move(rss), rx_count_), delay.arrivals,
      wait == 0 ? 0 : clock_.Now() + wait);
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0 Rules and RSS. Each change makes a whole new table and appends it to
// the history: what steers now is never touched.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/model/model_nic_internal.h"

namespace sluice {
namespace {

constexpr uint16_t kMaxVlan = 4094;  // IEEE 802.1Q, table 9-2: 4095 is reserved

}  // namespace

absl::Status ModelNicCore::CheckRunning(const char* stage) const {
  if (running()) return absl::OkStatus();
  return Refuse(absl::StatusCode::kFailedPrecondition, stage, "is stopped", "start it first");
}

absl::Status ModelNicCore::CheckMatch(const RuleMatch& match) const {
  constexpr char kStage[] = "install rule";
  const ModelHardware& hardware = options_.hardware;
  const std::string remedy = "steer by another field, or in software behind the queue";
  if (match.destination && !hardware.match_destination)
    return Lacks(kStage, "match by destination MAC", remedy);
  if (match.vlan && !hardware.match_vlan) return Lacks(kStage, "match by VLAN", remedy);
  if (match.flow && !hardware.match_flow) return Lacks(kStage, "match by flow", remedy);
  if (match.vlan && *match.vlan > kMaxVlan) {
    return Refuse(absl::StatusCode::kInvalidArgument, kStage, absl::StrCat("VLAN ", *match.vlan),
                  absl::StrCat("use 0 to ", kMaxVlan));
  }
  return absl::OkStatus();
}

absl::Status ModelNicCore::CheckActions(const RuleActions& actions) const {
  constexpr char kStage[] = "set rule actions";
  if (actions.drop && actions.queue) {
    return Refuse(absl::StatusCode::kInvalidArgument, kStage, "drop and a queue", "choose one");
  }
  if (actions.queue && actions.queue->value() >= rx_count_) {
    return Refuse(absl::StatusCode::kInvalidArgument, kStage, absl::StrCat("queue ", actions.queue->value()),
                  absl::StrCat("use a queue below ", rx_count_));
  }
  return absl::OkStatus();
}

absl::StatusOr<RuleId> ModelNicCore::InstallRule(const Rule& rule) {
  constexpr char kStage[] = "install rule";
  if (able_.max_rules == 0) return Lacks(kStage, "steering rules", "steer in software behind the queue");
  if (absl::Status checked = CheckRunning(kStage); !checked.ok()) return checked;
  if (absl::Status checked = CheckMatch(rule.match); !checked.ok()) return checked;
  if (absl::Status checked = CheckActions(rule.actions); !checked.ok()) return checked;

  const SteeringTable& newest = receiver_.tables().newest();
  std::vector<InstalledRule> rules = newest.rules();
  if (rules.size() >= able_.max_rules) {
    return Refuse(absl::StatusCode::kResourceExhausted, kStage,
                  absl::StrCat(rules.size(), " rules are all it has"), "remove one first");
  }
  InstalledRule fresh = {.id = RuleId{++last_rule_}, .rule = rule, .hits = std::make_shared<RuleHits>()};
  rules.insert(std::upper_bound(rules.begin(), rules.end(), fresh, SteeringTable::Precedes), fresh);
  Change(std::move(rules), newest.rss());
  return fresh.id;
}

absl::Status ModelNicCore::UpdateRule(RuleId id, const RuleActions& actions) {
  constexpr char kStage[] = "update rule";
  if (!options_.hardware.rule_update) {
    return Lacks(kStage, "in-place rule update",
                 "install the new rule above the old one, then remove the old one");
  }
  const absl::StatusOr<size_t> at = Find(id, kStage);
  if (!at.ok()) return at.status();
  if (absl::Status checked = CheckActions(actions); !checked.ok()) return checked;
  const SteeringTable& newest = receiver_.tables().newest();
  std::vector<InstalledRule> rules = newest.rules();
  rules[*at].rule.actions = actions;
  Change(std::move(rules), newest.rss());
  return absl::OkStatus();
}

absl::Status ModelNicCore::RemoveRule(RuleId id) {
  const absl::StatusOr<size_t> at = Find(id, "remove rule");
  if (!at.ok()) return at.status();
  const SteeringTable& newest = receiver_.tables().newest();
  std::vector<InstalledRule> rules = newest.rules();
  rules.erase(rules.begin() + static_cast<ptrdiff_t>(*at));
  Change(std::move(rules), newest.rss());
  return absl::OkStatus();
}

absl::StatusOr<RuleStats> ModelNicCore::QueryRule(RuleId id) const {
  const absl::StatusOr<size_t> at = Find(id, "query rule");
  if (!at.ok()) return at.status();
  const RuleHits& hits = *receiver_.tables().newest().rules()[*at].hits;
  return RuleStats{.packets = hits.packets.value(), .bytes = hits.bytes.value()};
}

absl::StatusOr<size_t> ModelNicCore::Find(RuleId id, const char* stage) const {
  if (absl::Status checked = CheckRunning(stage); !checked.ok()) return checked;
  const std::vector<InstalledRule>& rules = receiver_.tables().newest().rules();
  const auto found =
      std::find_if(rules.begin(), rules.end(), [id](const auto& rule) { return rule.id == id; });
  if (found != rules.end()) return static_cast<size_t>(found - rules.begin());
  return Refuse(absl::StatusCode::kNotFound, stage, absl::StrCat("rule ", id.value(), " is not installed"),
                "use an id that InstallRule returned since the last Start, and that was not removed");
}

absl::Status ModelNicCore::SetRss(const RssConfig& rss) {
  constexpr char kStage[] = "set RSS";
  if (able_.rss_table_size == 0) return Lacks(kStage, "RSS", "use one queue, or steer by rules");
  if (!able_.rss_update)
    return Lacks(kStage, "RSS update while running", "live with the table that Start made");
  if (absl::Status checked = CheckRunning(kStage); !checked.ok()) return checked;
  if (rss.table().size() > able_.rss_table_size) {
    return Refuse(absl::StatusCode::kInvalidArgument, kStage,
                  absl::StrCat("indirection table of ", rss.table().size(), " entries"),
                  absl::StrCat("use at most ", able_.rss_table_size));
  }
  const QueueId last = *std::max_element(rss.table().begin(), rss.table().end());
  if (last.value() >= rx_count_) {
    return Refuse(absl::StatusCode::kInvalidArgument, kStage,
                  absl::StrCat("queue ", last.value(), " in the table"),
                  absl::StrCat("use queues below ", rx_count_));
  }
  Change(receiver_.tables().newest().rules(), std::make_shared<const RssConfig>(rss));
  return absl::OkStatus();
}

void ModelNicCore::Change(std::vector<InstalledRule> rules, std::shared_ptr<const RssConfig> rss) {
  const TableWriteDelay& delay = options_.table_write_delay;
  const Nanoseconds wait = static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(delay.time));
  receiver_.tables().Append(
      std::make_unique<const SteeringTable>(std::move(rules), std::move(rss), rx_count_), delay.arrivals,
      wait == 0 ? 0 : clock_.Now() + wait);
}

}  // namespace sluice

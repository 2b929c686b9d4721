// SPDX-License-Identifier: Apache-2.0
// Rules that the caller installs.
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/verbs_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr char kInstall[] = "install rule";
constexpr char kUpdate[] = "update rule";

}  // namespace

absl::Status VerbsNicImpl::Lacks(const char* stage, std::string capability, std::string what,
                                 std::string remedy) const {
  return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = name(),
                                                        .stage = stage,
                                                        .capability = std::move(capability),
                                                        .what = std::move(what),
                                                        .remedy = std::move(remedy)});
}

absl::Status VerbsNicImpl::CheckActions(const Rule& rule, const char* stage) const {
  const RuleActions& actions = rule.actions;
  if (actions.mark && !arrivals_.Tells(IBV_WC_EX_WITH_FLOW_TAG)) {
    return Lacks(stage, "marks", "completions carry no mark",
                 "set VerbsNicOptions::marks, or mark it in software behind the queue");
  }
  if (actions.count && !capabilities().rule_counters) {
    return Lacks(stage, "rule counters", "the device has none", "install it without count");
  }
  if (rule.direction == RuleDirection::kIngress && actions.pass_on && !actions.queue) {
    return Lacks(stage, "rules that only pass on", "in verbs they deliver a copy", "name a queue for it");
  }
  if (SpreadsBy(actions, rule.direction) && spread_ == nullptr && queues_.rx_queues > 1) {
    return Lacks(stage, "RSS", "a rule that names no queue leads nowhere", "name a queue");
  }
  if (!actions.queue || actions.queue->value() < queues_.rx_queues) return absl::OkStatus();
  return Refuse(absl::StatusCode::kInvalidArgument, stage, absl::StrCat("queue ", actions.queue->value()),
                absl::StrCat("use a queue below ", queues_.rx_queues));
}

absl::Status VerbsNicImpl::CheckRule(const Rule& rule) const {
  if (!running())
    return Refuse(absl::StatusCode::kFailedPrecondition, kInstall, "is stopped", "start it first");
  if (absl::Status sense = sluice::CheckRule(rule); !sense.ok()) return sense;
  if (rule.priority > places_.most()) {
    return Lacks(kInstall, absl::StrCat("priority ", rule.priority),
                 absl::StrCat("the card has ", device_->priorities(), " priorities"),
                 absl::StrCat("use 0 to ", places_.most()));
  }
  return CheckActions(rule, kInstall);
}

absl::StatusOr<RuleId> VerbsNicImpl::InstallRule(const Rule& rule) {
  if (absl::Status checked = CheckRule(rule); !checked.ok()) return checked;
  TellMarks(rule.actions);
  Installed installed{.rule = rule};
  if (rule.actions.count) {
    absl::StatusOr<VerbsPtr<ibv_counters>> counters = MakeCounters();
    if (!counters.ok()) return counters.status();
    installed.counters = *std::move(counters);
  }
  absl::StatusOr<VerbsPtr<ibv_flow>> flow = PutRule(rule, false, spread_.get(), installed.counters.get());
  if (!flow.ok()) return flow.status();
  installed.flow = *std::move(flow);
  const RuleId id{++last_rule_};
  rules_.emplace(id, std::move(installed));
  return id;
}

// A rule that spreads may mark what comes to any queue.
void VerbsNicImpl::TellMarks(const RuleActions& actions) {
  if (!actions.mark) return;
  for (uint16_t i = 0; i < queues_.rx_queues; ++i) rx_[i].TellMarks();
}

absl::StatusOr<VerbsPtr<ibv_flow>> VerbsNicImpl::PutRule(const Rule& rule, bool upper, VerbsSpread* spread,
                                                         ibv_counters* counters) const {
  const absl::StatusOr<ibv_qp*> pair = TargetOf(rule, spread);
  if (!pair.ok()) return pair.status();
  return Put(rule, places_.OfRule(rule.priority, upper), **pair, counters);
}

// The new one takes the other place of the rule, and then the old one goes.
absl::Status VerbsNicImpl::UpdateRule(RuleId id, const RuleActions& actions) {
  if (absl::Status checked = CheckInstalled(id, kUpdate); !checked.ok()) return checked;
  if (!places_.doubled()) {
    return Lacks(kUpdate, "in-place rule update", "the card has too few priorities",
                 "install the new rule above the old one, then remove the old one");
  }
  Installed& old = rules_.at(id);
  Installed changed{.rule = old.rule, .upper = !old.upper};
  changed.rule.actions = actions;
  if (absl::Status sense = sluice::CheckRule(changed.rule); !sense.ok()) return sense;
  if (absl::Status checked = CheckActions(changed.rule, kUpdate); !checked.ok()) return checked;
  TellMarks(actions);
  const bool goes_on = actions.count && old.counters != nullptr;  // counting
  if (actions.count && !goes_on) {
    absl::StatusOr<VerbsPtr<ibv_counters>> counters = MakeCounters();
    if (!counters.ok()) return counters.status();
    changed.counters = *std::move(counters);
  }
  absl::StatusOr<VerbsPtr<ibv_flow>> flow = PutRule(changed.rule, changed.upper, spread_.get(),
                                                    goes_on ? old.counters.get() : changed.counters.get());
  if (!flow.ok()) return flow.status();
  changed.flow = *std::move(flow);
  old.flow.reset();
  if (goes_on) changed.counters = std::move(old.counters);
  old = std::move(changed);
  return absl::OkStatus();
}

absl::Status VerbsNicImpl::CheckInstalled(RuleId id, const char* stage) const {
  if (!running()) return Refuse(absl::StatusCode::kFailedPrecondition, stage, "is stopped", "start it first");
  if (rules_.contains(id)) return absl::OkStatus();
  return Refuse(absl::StatusCode::kNotFound, stage, absl::StrCat("rule ", id.value(), " is not installed"),
                "use an id that InstallRule returned since the last Start, and that was not removed");
}

absl::Status VerbsNicImpl::RemoveRule(RuleId id) {
  if (absl::Status checked = CheckInstalled(id, "remove rule"); !checked.ok()) return checked;
  rules_.erase(id);
  return absl::OkStatus();
}

absl::StatusOr<RuleStats> VerbsNicImpl::QueryRule(RuleId id) const {
  constexpr char kStage[] = "query rule";
  if (absl::Status checked = CheckInstalled(id, kStage); !checked.ok()) return checked;
  ibv_counters* const counters = rules_.at(id).counters.get();
  if (counters == nullptr) {
    return Refuse(absl::StatusCode::kFailedPrecondition, kStage, "the rule does not count",
                  "install it with count");
  }
  uint64_t values[2] = {};
  if (const int error = ibv_read_counters(counters, values, 2, IBV_READ_COUNTERS_ATTR_PREFER_CACHED);
      error != 0) {
    return device_->Failed(error, kStage, "rule counters", "they cannot be read", "see the kernel's log");
  }
  return RuleStats{.packets = values[kPackets], .bytes = values[kBytes]};
}

}  // namespace sluice

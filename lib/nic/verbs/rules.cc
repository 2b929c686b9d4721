// SPDX-License-Identifier: Apache-2.0
// Rules on the card. What it takes is found out by asking it for exactly that.
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/verbs_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr char kInstall[] = "install rule";
constexpr uint32_t kPackets = 0, kBytes = 1;  // where each is counted

int CountIn(ibv_counters& counters) {
  for (const auto& [what, at] :
       {std::pair(IBV_COUNTER_PACKETS, kPackets), std::pair(IBV_COUNTER_BYTES, kBytes)}) {
    ibv_counter_attach_attr attach{};
    attach.counter_desc = what;
    attach.index = at;
    if (const int error = ibv_attach_counters_point_flow(&counters, &attach, nullptr); error != 0)
      return error;
  }
  return 0;
}

}  // namespace

absl::Status VerbsNicImpl::Lacks(const char* stage, std::string capability, std::string what,
                                 std::string remedy) const {
  return ErrorStatus(absl::StatusCode::kUnimplemented, {.device = name(),
                                                        .stage = stage,
                                                        .capability = std::move(capability),
                                                        .what = std::move(what),
                                                        .remedy = std::move(remedy)});
}

absl::Status VerbsNicImpl::CheckRule(const Rule& rule) const {
  if (!running())
    return Refuse(absl::StatusCode::kFailedPrecondition, kInstall, "is stopped", "start it first");
  if (absl::Status sense = sluice::CheckRule(rule); !sense.ok()) return sense;
  const RuleActions& actions = rule.actions;
  if (actions.mark && !device_->tells_marks()) {
    return Lacks(kInstall, "marks", "completions carry no mark",
                 "set VerbsNicOptions::marks, or mark it in software behind the queue");
  }
  if (actions.count && !capabilities().rule_counters) {
    return Lacks(kInstall, "rule counters", "the device has none", "install it without count");
  }
  if (!actions.queue && queues_.rx_queues > 1 && !actions.drop) {
    return Lacks(kInstall, "RSS", "a rule that names no queue leads nowhere", "name a queue");
  }
  if (!actions.queue || actions.queue->value() < queues_.rx_queues) return absl::OkStatus();
  return Refuse(absl::StatusCode::kInvalidArgument, kInstall, absl::StrCat("queue ", actions.queue->value()),
                absl::StrCat("use a queue below ", queues_.rx_queues));
}

absl::StatusOr<VerbsNicImpl::Installed> VerbsNicImpl::Put(const Rule& rule) {
  absl::StatusOr<FlowSpec> spec = FlowSpec::Of(rule, device_->port());
  if (!spec.ok()) return spec.status();
  Installed installed;
  if (rule.actions.count) {
    ibv_counters_init_attr init{};
    installed.counters.reset(ibv_create_counters(device_->context(), &init));
    if (installed.counters == nullptr)
      return device_->Failed(errno, kInstall, "rule counters", "no more of them", "count fewer rules");
    if (const int error = CountIn(*installed.counters); error != 0) {
      return device_->Failed(error, kInstall, "rule counters", "not for packets and bytes",
                             "install it without count");
    }
    spec->Count(*installed.counters);
  }
  ibv_qp& pair = rx_[rule.actions.queue.value_or(QueueId{0}).value()].pair();
  installed.flow.reset(ibv_create_flow(&pair, spec->attr()));
  if (installed.flow != nullptr) return installed;
  const int error = errno;
  const bool unable = error == EOPNOTSUPP || error == EINVAL || error == ENOTSUP || error == EPROTONOSUPPORT;
  if (!unable) {
    return device_->Failed(error, kInstall, "", rule.ToString(),
                           "remove rules, see for privileges, or steer in software");
  }
  return ErrorStatus(absl::StatusCode::kUnimplemented,
                     {.device = name(),
                      .stage = kInstall,
                      .capability = "such a rule",
                      .error_number = error,
                      .what = absl::StrCat("the device refuses ", rule.ToString()),
                      .remedy = "name other headers or fields, or steer in software behind the queue"});
}

absl::StatusOr<RuleId> VerbsNicImpl::InstallRule(const Rule& rule) {
  if (absl::Status checked = CheckRule(rule); !checked.ok()) return checked;
  absl::StatusOr<Installed> put = Put(rule);
  if (!put.ok()) return put.status();
  const RuleId id{++last_rule_};
  rules_.emplace(id, *std::move(put));
  return id;
}

absl::Status VerbsNicImpl::UpdateRule(RuleId, const RuleActions&) {
  return Lacks("update rule", "in-place rule update", "verbs make and remove rules",
               "install the new rule above the old one, then remove the old one");
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

absl::Status VerbsNicImpl::SetRss(const RssConfig&) {
  return Lacks("set RSS", "RSS", "its queues hang on queue pairs of their own",
               "steer by rules, or use one queue");
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include "sluice/flow/rule_table.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "flow/rule_table_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

enum class Stage : uint8_t { kSniffers, kNormal, kDefaults };

Stage StageOf(RuleKind kind) {
  switch (kind) {
    case RuleKind::kNormal:
      return Stage::kNormal;
    case RuleKind::kSniffer:
      return Stage::kSniffers;
    case RuleKind::kAllDefault:
    case RuleKind::kMulticastDefault:
      break;
  }
  return Stage::kDefaults;
}

bool Precedes(const Rule& a, const Rule& b) {
  return std::pair(StageOf(a.kind), a.priority) < std::pair(StageOf(b.kind), b.priority);
}

absl::Status NotThere(RuleId id) {
  return ErrorStatus(absl::StatusCode::kNotFound, {.device = "rule table",
                                                   .what = absl::StrCat("rule ", id.value(), " is not there"),
                                                   .remedy = "use the id that it was put in with"});
}

}  // namespace

// Groups, and the look-up in them.
// ---------------------------------------------------------------------------------------------------------

bool RuleTable::Core::Group::Holds(uint64_t owner) const {
  return std::any_of(members.begin(), members.end(),
                     [owner](const FlatRule* rule) { return rule->table_rule.owner == owner; });
}

void RuleTable::Core::Group::Add(const FlatRule& rule) {
  if (Holds(rule.table_rule.owner)) return;
  members.push_back(&rule);
  passes_on &= rule.table_rule.rule.actions.pass_on;
}

void RuleTable::Core::Group::TakeAll(absl::FunctionRef<void(const TableRule&)> take) const {
  for (const FlatRule* rule : members) take(rule->table_rule);
}

RuleTable::Core::Core(FlatRules rules) : rules_(std::move(rules)) {
  std::stable_sort(rules_.begin(), rules_.end(), [](const auto& a, const auto& b) {
    return Precedes(a->table_rule.rule, b->table_rule.rule);
  });
  std::map<std::tuple<RuleKind, uint32_t, RuleDirection, FlatMatch>, size_t> places;
  for (const auto& flat : rules_) {
    const Rule& rule = flat->table_rule.rule;
    if (StageOf(rule.kind) == Stage::kDefaults) {
      defaults_.push_back(&flat->table_rule);
      continue;
    }
    std::vector<Group>& stage = rule.kind == RuleKind::kSniffer ? sniffers_ : normal_;
    const auto [place, fresh] =
        places.try_emplace({rule.kind, rule.priority, rule.direction, flat->match}, stage.size());
    if (fresh) stage.push_back({.first = flat.get(), .members = {}});
    stage[place->second].Add(*flat);
    needs_layers_ |= flat->match.needs_layers();
  }
}

void RuleTable::Core::Match(const Packet& packet, RuleDirection direction,
                            absl::FunctionRef<void(const TableRule&)> take) const {
  for (const Group& group : sniffers_) group.TakeAll(take);
  if (!normal_.empty() && MatchNormal(FieldsOf(packet, needs_layers_), direction, take)) return;
  if (defaults_.empty() || direction != RuleDirection::kIngress) return;
  MatchDefaults(packet.head_length() > 0 && (packet.data()[0] & 1) != 0, take);
}

// Whether the frame ends here.
bool RuleTable::Core::MatchNormal(const FieldWords& frame, RuleDirection direction,
                                  absl::FunctionRef<void(const TableRule&)> take) const {
  std::optional<uint32_t> passed;  // the priority of the last rule that passed the frame on
  for (const Group& group : normal_) {
    if (group.rule().direction != direction || group.rule().priority == passed) continue;
    if (!group.first->match.Accepts(frame)) continue;
    group.TakeAll(take);
    if (!group.passes_on) return true;
    passed = group.rule().priority;
  }
  return false;
}

// All of the first priority that has any for this frame, and of each owner the oldest. There are few of them.
void RuleTable::Core::MatchDefaults(bool multicast, absl::FunctionRef<void(const TableRule&)> take) const {
  const auto accepts = [multicast](const TableRule* rule) {
    return multicast || rule->rule.kind == RuleKind::kAllDefault;
  };
  const auto first = std::find_if(defaults_.begin(), defaults_.end(), accepts);
  for (auto at = first; at != defaults_.end() && (*at)->rule.priority == (*first)->rule.priority; ++at) {
    const auto older = [&](const TableRule* rule) { return accepts(rule) && rule->owner == (*at)->owner; };
    if (accepts(*at) && std::none_of(first, at, older)) take(**at);
  }
}

size_t RuleTable::Core::PositionOf(RuleId id) const {
  const auto found = std::find_if(rules_.begin(), rules_.end(),
                                  [id](const auto& rule) { return rule->table_rule.id == id; });
  return static_cast<size_t>(found - rules_.begin());
}

// The table as a value.
// ---------------------------------------------------------------------------------------------------------

RuleTable::RuleTable() : RuleTable(std::make_shared<const Core>()) {}
RuleTable::RuleTable(std::shared_ptr<const Core> core) : core_(std::move(core)) {}
RuleTable::RuleTable(const RuleTable&) = default;
RuleTable& RuleTable::operator=(const RuleTable&) = default;
RuleTable::~RuleTable() = default;

size_t RuleTable::size() const { return core_->rules().size(); }
const TableRule& RuleTable::rule(size_t at) const { return core_->rules()[at]->table_rule; }
bool RuleTable::needs_layers() const { return core_->needs_layers(); }

const TableRule* RuleTable::Find(RuleId id) const {
  const size_t at = core_->PositionOf(id);
  return at == size() ? nullptr : &rule(at);
}

void RuleTable::Match(const Packet& packet, RuleDirection direction,
                      absl::FunctionRef<void(const TableRule&)> take) const {
  core_->Match(packet, direction, take);
}

absl::StatusOr<RuleTable> RuleTable::With(TableRule rule) const {
  if (absl::Status checked = CheckRule(rule.rule); !checked.ok()) return checked;
  if (Find(rule.id) != nullptr) {
    return ErrorStatus(absl::StatusCode::kAlreadyExists,
                       {.device = "rule table",
                        .what = absl::StrCat("rule ", rule.id.value(), " is there already"),
                        .remedy = "give each rule an id of its own"});
  }
  FlatRules rules = core_->rules();
  rules.push_back(std::make_shared<const FlatRule>(std::move(rule)));
  return RuleTable(std::make_shared<const Core>(std::move(rules)));
}

absl::StatusOr<RuleTable> RuleTable::WithActions(RuleId id, const RuleActions& actions) const {
  const size_t at = core_->PositionOf(id);
  if (at == size()) return NotThere(id);
  TableRule changed = rule(at);
  changed.rule.actions = actions;
  if (absl::Status checked = CheckRule(changed.rule); !checked.ok()) return checked;
  FlatRules rules = core_->rules();
  rules[at] = std::make_shared<const FlatRule>(std::move(changed));
  return RuleTable(std::make_shared<const Core>(std::move(rules)));
}

absl::StatusOr<RuleTable> RuleTable::Without(RuleId id) const {
  const size_t at = core_->PositionOf(id);
  if (at == size()) return NotThere(id);
  FlatRules rules = core_->rules();
  rules.erase(rules.begin() + static_cast<ptrdiff_t>(at));
  return RuleTable(std::make_shared<const Core>(std::move(rules)));
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// What outlives a table. A rule is kept as its text, which is read as distrustfully as any other.

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "flow/rule_table_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

absl::Status Twice(RuleId id) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument, {.device = "rule table",
                                                          .stage = "restore",
                                                          .what = absl::StrCat("rule ", id.value(), " twice"),
                                                          .remedy = "start without the saved state"});
}

}  // namespace

void RuleTableState::Entry::Save(StateWriter& out) const {
  out.Put(1, id);
  out.Put(2, owner);
  out.Put(3, rule.ToString());
  out.Put(4, stats.packets);
  out.Put(5, stats.bytes);
}

void RuleTableState::Entry::Load(StateReader& in) {
  std::string text;
  in.Read(1, id);
  in.Read(2, owner);
  in.Read(3, text);
  in.Read(4, stats.packets);
  in.Read(5, stats.bytes);
  if (!in.ok()) return;
  absl::StatusOr<Rule> read = Rule::Parse(text);
  if (!read.ok()) return in.Refuse(read.status().message());
  rule = *std::move(read);
}

void RuleTableState::Save(StateWriter& out) const { out.Put(1, rules); }
void RuleTableState::Load(StateReader& in) { in.Read(1, rules); }

RuleTableState RuleTable::Save() const {
  RuleTableState state;
  for (size_t i = 0; i < size(); ++i) {
    const TableRule& from = rule(i);
    state.rules.push_back(
        {.id = from.id,
         .owner = from.owner,
         .rule = from.rule,
         .stats = {.packets = from.hits->packets.value(), .bytes = from.hits->bytes.value()}});
  }
  return state;
}

absl::StatusOr<RuleTable> RuleTable::Restore(const RuleTableState& state) {
  std::set<RuleId> ids;
  FlatRules rules;
  for (const RuleTableState::Entry& entry : state.rules) {
    if (absl::Status checked = CheckRule(entry.rule); !checked.ok()) return checked;
    if (!ids.insert(entry.id).second) return Twice(entry.id);
    TableRule rule = {.id = entry.id, .rule = entry.rule, .owner = entry.owner};
    rule.hits->packets.Add(entry.stats.packets);
    rule.hits->bytes.Add(entry.stats.bytes);
    rules.push_back(std::make_shared<const FlatRule>(std::move(rule)));
  }
  return RuleTable(std::make_shared<const Core>(std::move(rules)));
}

}  // namespace sluice

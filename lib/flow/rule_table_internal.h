// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_FLOW_RULE_TABLE_INTERNAL_H_
#define SLUICE_LIB_FLOW_RULE_TABLE_INTERNAL_H_

// The rules of one table, and the groups of equal ones that a look-up walks:
//
//   rules                 [ r1 r2 r3 r4 r5 ... ]     by stage, priority and age; each shared with other tables
//   groups of normal ones [ {r1, r3} {r2} {r4} ... ]  in the order of their first members

#include <memory>
#include <vector>

#include "flow/frame_fields_internal.h"
#include "sluice/flow/rule_table.h"

namespace sluice {

// A rule and what its match compares.
struct FlatRule {
  explicit FlatRule(TableRule from) : table_rule(std::move(from)), match(table_rule.rule.match) {}

  TableRule table_rule;
  FlatMatch match;
};
using FlatRules = std::vector<std::shared_ptr<const FlatRule>>;

class RuleTable::Core {
 public:
  Core() = default;
  explicit Core(FlatRules rules);  // those of one place in the order of their age

  const FlatRules& rules() const { return rules_; }
  size_t PositionOf(RuleId id) const;  // rules().size() when it is not there
  bool needs_layers() const { return needs_layers_; }
  void Match(const Packet& packet, RuleDirection direction,
             absl::FunctionRef<void(const TableRule&)> take) const;

 private:
  // Rules that share what they match: one of each owner.
  struct Group {
    const FlatRule* first;
    std::vector<const FlatRule*> members;
    bool passes_on = true;  // all of them do

    const Rule& rule() const { return first->table_rule.rule; }
    bool Holds(uint64_t owner) const;
    void Add(const FlatRule& rule);
    void TakeAll(absl::FunctionRef<void(const TableRule&)> take) const;
  };
  bool MatchNormal(const FieldWords& frame, RuleDirection direction,
                   absl::FunctionRef<void(const TableRule&)> take) const;
  void MatchDefaults(bool multicast, absl::FunctionRef<void(const TableRule&)> take) const;

  FlatRules rules_;
  std::vector<Group> sniffers_;  // one for each priority
  std::vector<Group> normal_;
  std::vector<const TableRule*> defaults_;
  bool needs_layers_ = false;
};

}  // namespace sluice

#endif  // SLUICE_LIB_FLOW_RULE_TABLE_INTERNAL_H_

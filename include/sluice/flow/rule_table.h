// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_FLOW_RULE_TABLE_H_
#define SLUICE_FLOW_RULE_TABLE_H_

// Rules in the order in which they apply, and the look-up that says which of them a frame meets. A plain list:
// the reference that faster classifiers are compared with, and enough for the rules of one port.
//
//   sniffers            all of them, and the frame goes on
//   normal rules        priority 0, 1, 2 ...; within one the oldest first; the first that matches ends it
//   default rules       likewise, of what no normal rule ended
//
// Two exceptions to "the first":
//   Equal rules (priority, direction, kind and match) of several owners share the frame: each gets a copy, in the order
//     of their age. Of one owner the oldest holds. So do the default rules of one priority.
//   pass_on: the frame goes on with the rules of the next priority, unless a rule that shares it ends it.
//
// A table never changes: each change makes another, which shares the rules with the first. So readers need no
// lock, and see a change whole or not at all; who publishes tables says when the old one is freed.
//
// Threads: any; RuleCounters have one writer, who looks frames up.
// Cost: a look-up takes the fields out of the frame once, and then compares a few words for each rule that it
//   asks. A change costs n log n in the number of rules.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/base/counters.h"
#include "sluice/base/export.h"
#include "sluice/base/saved_state.h"
#include "sluice/flow/rule.h"
#include "sluice/packet/packet.h"

namespace sluice {

struct RuleCounters {
  Counter packets;
  Counter bytes;
};

// A rule in force.
struct TableRule {
  RuleId id;
  Rule rule;
  uint64_t owner = 0;  // who gets the frame, where there are several: a number of a queue pair, of a guest
  std::shared_ptr<RuleCounters> hits = std::make_shared<RuleCounters>();  // for who looks up to count in
};

// What is kept of a table: rules in their order, with what they counted.
struct SLUICE_EXPORT RuleTableState {
  struct SLUICE_EXPORT Entry {
    RuleId id;
    uint64_t owner = 0;
    Rule rule{};
    RuleStats stats{};

    static constexpr absl::string_view kStateName = "rule";
    static constexpr uint16_t kStateVersion = 1;
    void Save(StateWriter& out) const;
    void Load(StateReader& in);
  };
  std::vector<Entry> rules;

  static constexpr absl::string_view kStateName = "rule table";
  static constexpr uint16_t kStateVersion = 1;
  void Save(StateWriter& out) const;
  void Load(StateReader& in);
};

class SLUICE_EXPORT RuleTable {
 public:
  RuleTable();  // without rules
  ~RuleTable();
  RuleTable(const RuleTable&);
  RuleTable& operator=(const RuleTable&);

  // A table with `rule` behind those of its priority. As CheckRule; kAlreadyExists for an id that is there.
  absl::StatusOr<RuleTable> With(TableRule rule) const;
  // With the same rule in the same place and other actions, or without it. kNotFound; as CheckRule.
  absl::StatusOr<RuleTable> WithActions(RuleId id, const RuleActions& actions) const;
  absl::StatusOr<RuleTable> Without(RuleId id) const;

  size_t size() const;
  bool empty() const { return size() == 0; }
  const TableRule& rule(size_t at) const;  // in the order above; at < size()
  const TableRule* Find(RuleId id) const;  // null when it is not there

  // Whether a frame must be parsed before it is looked up. Without need its layers() may be anything.
  bool needs_layers() const;

  // Calls take(rule) for each rule that applies to the frame, in their order. Counts nothing. The packet was parsed, if
  // needs_layers(); where Parse refused it, its layers() are empty or as Parse left them.
  void Match(const Packet& packet, RuleDirection direction,
             absl::FunctionRef<void(const TableRule&)> take) const;

  RuleTableState Save() const;
  // kInvalidArgument for a state that With would refuse.
  static absl::StatusOr<RuleTable> Restore(const RuleTableState& state);

 private:
  class Core;
  explicit RuleTable(std::shared_ptr<const Core> core);

  std::shared_ptr<const Core> core_;
};

}  // namespace sluice

#endif  // SLUICE_FLOW_RULE_TABLE_H_

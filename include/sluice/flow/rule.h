// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_FLOW_RULE_H_
#define SLUICE_FLOW_RULE_H_

// A steering rule as data: which arrivals it matches and what becomes of them. The same value is installed on
// any Nic.
//
//   Rule rule{.priority = 0, .match = {.destination = mac}, .actions = {.queue = QueueId{2}}};
//
// A match is the conjunction of the fields that are set; an empty one matches everything. Among matching
// rules the smallest priority wins, and among equal ones the oldest. What no rule matches is spread by RSS.

#include <cstdint>
#include <optional>

#include "sluice/base/ids.h"
#include "sluice/packet/flow_key.h"
#include "sluice/packet/headers.h"

namespace sluice {

struct RuleMatch {
  std::optional<MacAddress> destination{};
  std::optional<uint16_t> vlan{};  // 1-4094, the outermost tag; 0 = untagged or priority-tagged
  std::optional<FlowKey> flow{};   // outer addresses, protocol and ports, all exact
};

struct RuleActions {
  std::optional<QueueId> queue{};  // deliver here; without it, and without drop, RSS decides
  bool drop = false;               // count and drop (DropReason::kRule); excludes queue
  std::optional<uint32_t> mark{};  // written to Packet::mark
};

struct Rule {
  uint32_t priority = 0;
  RuleMatch match{};
  RuleActions actions{};
};

struct RuleStats {
  uint64_t packets = 0;
  uint64_t bytes = 0;
};

}  // namespace sluice

#endif  // SLUICE_FLOW_RULE_H_

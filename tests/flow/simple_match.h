// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_FLOW_SIMPLE_MATCH_H_
#define SLUICE_TESTS_FLOW_SIMPLE_MATCH_H_

// The stupid twins of a rule's match and of a rule table, and random rules to ask both.

#include <vector>

#include "sluice/flow/rule_table.h"
#include "tests/support/seed.h"

namespace sluice::testing {

// A match of every header that the parsed packet has, each field exact: all that a rule could know of it.
RuleMatch PortraitOf(const Packet& packet);

// Header by header and field by field.
bool SimpleMatches(const RuleMatch& match, const RuleMatch& portrait);

// The rules that apply to a frame, in order, found by asking every rule.
std::vector<RuleId> SimpleLookup(const std::vector<TableRule>& rules, const RuleMatch& portrait,
                                 RuleDirection direction);

// A rule that CheckRule takes, of any kind, that names some of the headers of `portrait` and of their fields, masked at
// random; it matches that frame in most cases.
Rule RandomRule(Random& random, const RuleMatch& portrait);
// The same of no frame in particular.
Rule RandomRule(Random& random);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_FLOW_SIMPLE_MATCH_H_

// SPDX-License-Identifier: Apache-2.0
// The text of a rule, from a stranger. What is read must say itself again, and mean the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sluice/flow/rule_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<sluice::Rule> rule = sluice::Rule::Parse(text);
  if (!rule.ok()) return 0;
  const std::string said = rule->ToString();
  const absl::StatusOr<sluice::Rule> again = sluice::Rule::Parse(said);
  if (!again.ok() || *again != *rule || again->ToString() != said) std::abort();
  if (!sluice::RuleTable().With({.id = sluice::RuleId{1}, .rule = *rule}).ok()) std::abort();
  return 0;
}

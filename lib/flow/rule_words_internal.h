// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_FLOW_RULE_WORDS_INTERNAL_H_
#define SLUICE_LIB_FLOW_RULE_WORDS_INTERNAL_H_

// The words of a rule's attributes.

#include "absl/strings/string_view.h"
#include "sluice/flow/rule.h"

namespace sluice {

constexpr absl::string_view WordOf(RuleDirection direction) {
  return direction == RuleDirection::kIngress ? "ingress" : "egress";
}

constexpr absl::string_view WordOf(RuleKind kind) {
  switch (kind) {
    case RuleKind::kNormal:
      break;
    case RuleKind::kAllDefault:
      return "all_default";
    case RuleKind::kMulticastDefault:
      return "multicast_default";
    case RuleKind::kSniffer:
      return "sniffer";
  }
  return "normal";
}

}  // namespace sluice

#endif  // SLUICE_LIB_FLOW_RULE_WORDS_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#include "sluice/flow/rule.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "flow/rule_fields_internal.h"
#include "flow/rule_words_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint16_t kReservedVlan = 4095;  // IEEE 802.1Q, table 9-2

absl::Status Invalid(std::string what, std::string remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument,
                     {.stage = "check rule", .what = std::move(what), .remedy = std::move(remedy)});
}

// The first value that is wider than its field.
absl::Status CheckWidths(const RuleMatch& match) {
  absl::Status status;
  ForEachHeader(match, [&](absl::string_view header, int, const auto& item) {
    if (!item) return;
    ForEachField(*item, [&](absl::string_view word, const auto& field, Radix) {
      if (field.fits() || !status.ok()) return;
      status = Invalid(absl::StrCat(header, " ", word, ": a value of more than ", field.kWidth, " bits"),
                       "give the field's own bits alone");
    });
  });
  return status;
}

absl::Status CheckHeaders(const HeadersMatch& headers) {
  if (headers.ipv4 && headers.ipv6) return Invalid("ipv4 and ipv6", "make two rules");
  if (headers.tcp && headers.udp) return Invalid("tcp and udp", "make two rules");
  if (headers.vlan && headers.vlan->vid == Masked<uint16_t, 12>(kReservedVlan)) {
    return Invalid("VLAN 4095", "use 0 to 4094");
  }
  const bool untagged = headers.ethernet && headers.ethernet->has_vlan == Masked<uint8_t, 1>(0);
  return headers.vlan && untagged ? Invalid("vlan, and has_vlan is 0", "leave out one of them")
                                  : absl::OkStatus();
}

absl::Status CheckTunnel(const RuleMatch& match) {
  const bool tunnel = match.vxlan || match.gre || match.gre_key || match.mpls;
  if (match.inner != HeadersMatch() && !tunnel) {
    return Invalid("inner headers without a tunnel", "name the tunnel: vxlan, gre, gre_key or mpls");
  }
  if (match.vxlan && (match.gre || match.gre_key || match.mpls)) {
    return Invalid("vxlan and another tunnel", "name the outermost alone");
  }
  return absl::OkStatus();
}

absl::Status CheckMatch(const RuleMatch& match) {
  for (absl::Status checked : {CheckWidths(match), CheckHeaders(match.outer), CheckHeaders(match.inner)}) {
    if (!checked.ok()) return checked;
  }
  return CheckTunnel(match);
}

}  // namespace

RuleMatch MatchFlow(const FlowKey& flow) {
  RuleMatch match;
  HeadersMatch& outer = match.outer;
  const bool ports = flow.source_port != 0 || flow.destination_port != 0;
  const auto protocol = static_cast<uint8_t>(flow.protocol);
  if (flow.ipv6) {
    outer.ipv6 = Ipv6Match{.source = Ipv6Address(flow.source),
                           .destination = Ipv6Address(flow.destination),
                           .protocol = protocol};
  } else {
    std::array<uint8_t, 4> source, destination;
    std::copy_n(flow.source.begin(), source.size(), source.begin());
    std::copy_n(flow.destination.begin(), destination.size(), destination.begin());
    outer.ipv4 = Ipv4Match{
        .source = Ipv4Address(source), .destination = Ipv4Address(destination), .protocol = protocol};
  }
  if (!ports) return match;
  auto& item = flow.protocol == IpProtocol::kTcp ? outer.tcp : outer.udp;
  item = PortsMatch{.source = flow.source_port, .destination = flow.destination_port};
  return match;
}

absl::Status CheckRule(const Rule& rule) {
  if (rule.actions.drop && rule.actions.queue) return Invalid("drop and a queue", "choose one");
  if (rule.actions.drop && rule.actions.pass_on) return Invalid("drop and passthru", "choose one");
  if (rule.kind != RuleKind::kNormal) {
    const std::string kind(WordOf(rule.kind));
    if (rule.match != RuleMatch()) return Invalid(kind + " with a pattern", "leave the pattern empty");
    if (rule.actions.pass_on) return Invalid(kind + " with passthru", "leave out passthru");
    if (rule.direction != RuleDirection::kIngress) return Invalid(kind + " on egress", "make it ingress");
  }
  return CheckMatch(rule.match);
}

}  // namespace sluice

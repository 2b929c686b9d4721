// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_FLOW_RULE_H_
#define SLUICE_FLOW_RULE_H_

// A rule as data: which frames it matches and what becomes of them. The same value is put into a RuleTable,
// installed on any Nic, printed, read and saved.
//
//   Rule rule{.match = {.outer = {.ethernet = EthernetMatch{.destination = mac},
//                                 .vlan = VlanMatch{.vid = 5}}},
//             .actions = {.queue = QueueId{3}, .mark = 7}};
//
// In the words of rte_flow that is rule.ToString(), and Rule::Parse() makes the rule of the text:
//
//   ingress pattern eth dst is 02:00:00:00:00:01 / vlan vid is 5 / end actions queue index 3 / mark id 7 / end
//
// A match is the conjunction of the headers that are named and of their fields; an empty one matches every
// frame. A header that is named without fields has to be there.
//
//   ethernet ─ vlan ─ ipv4 | ipv6 ─ tcp | udp     vxlan           ethernet ─ vlan ─ ipv4 | ipv6 ─ tcp | udp
//   └───────────── outer ───────────────────┘     gre, gre_key    └──────────────── inner ────────────────┘
//                                                 mpls
//
// What a rule can say is what the verbs of RDMA NICs can carry (ibv_create_flow(3)). Who can do less refuses a
// rule by the name of what is missing.
//
// Text. The order of items is that of the drawing, each header at most once; numbers are decimal or 0x...
//
//   rule   = [ingress | egress] [all_default | multicast_default | sniffer] [priority N]
//            pattern {item /} end actions {action /} end
//   item   = eth {dst src type has_vlan} | vlan {vid pcp dei} | ipv4 {src dst proto tos ttl fragment_offset}
//          | ipv6 {src dst proto tc flow hop} | tcp {src dst} | udp {src dst} | vxlan {vni}
//          | gre {c_rsvd0_ver protocol} | gre_key {value} | mpls {label tc s ttl}
//            and of each field: F is VALUE, then if not all of it counts: F mask BITS, or F prefix LENGTH
//   action = queue index N | drop | rss | mark id N | count | passthru
//
// The words are those of rte_flow, with these liberties: type of eth is that of what follows the tags, as
// ibv_flow has it; queue, drop and the rest may come in any order; rss, which may be left out, stands for
// neither queue nor drop nor passthru.
//
// Threads: values.

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/flow/masked.h"
#include "sluice/packet/flow_key.h"
#include "sluice/packet/headers.h"

namespace sluice {

struct EthernetMatch {
  Masked<MacAddress> destination{};
  Masked<MacAddress> source{};
  Masked<uint16_t> type{};        // Ethertype behind all tags
  Masked<uint8_t, 1> has_vlan{};  // 0 = no tag at all, not even a priority tag

  bool operator==(const EthernetMatch&) const = default;
};

// The outermost tag, also when it was stripped from the frame (IEEE 802.1Q, 9.6).
struct VlanMatch {
  Masked<uint16_t, 12> vid{};  // 1-4094; 0 = a priority tag
  Masked<uint8_t, 3> pcp{};
  Masked<uint8_t, 1> dei{};

  bool operator==(const VlanMatch&) const = default;
};

struct Ipv4Match {
  Masked<Ipv4Address> source{};
  Masked<Ipv4Address> destination{};
  Masked<uint8_t> protocol{};
  Masked<uint8_t> tos{};  // Ipv4Header::dscp_ecn
  Masked<uint8_t> ttl{};
  Masked<uint16_t> fragment{};  // Ipv4Header::flags_offset

  bool operator==(const Ipv4Match&) const = default;
};

struct Ipv6Match {
  Masked<Ipv6Address> source{};
  Masked<Ipv6Address> destination{};
  Masked<uint8_t> protocol{};  // behind the extension headers
  Masked<uint8_t> traffic_class{};
  Masked<uint32_t, 20> flow_label{};
  Masked<uint8_t> hop_limit{};

  bool operator==(const Ipv6Match&) const = default;
};

// TCP, or UDP. Of a fragmented datagram nothing is either, for not all of its fragments carry ports.
struct PortsMatch {
  Masked<uint16_t> source{};
  Masked<uint16_t> destination{};

  bool operator==(const PortsMatch&) const = default;
};

// RFC 7348, 5. To UDP port 4789, whether the match says so or not.
struct VxlanMatch {
  Masked<uint32_t, 24> vni{};

  bool operator==(const VxlanMatch&) const = default;
};

// RFC 2784, 2.1 and RFC 2890, 2.
struct GreMatch {
  Masked<uint16_t> flags{};     // GreHeader::flags, with the version
  Masked<uint16_t> protocol{};  // GreHeader::type

  bool operator==(const GreMatch&) const = default;
};
struct GreKeyMatch {
  Masked<uint32_t> key{};

  bool operator==(const GreKeyMatch&) const = default;
};

// The outermost label (RFC 3032, 2.1): behind Ethernet, UDP port 6635 or GRE.
struct MplsMatch {
  Masked<uint32_t, 20> label{};
  Masked<uint8_t, 3> traffic_class{};
  Masked<uint8_t, 1> bottom{};
  Masked<uint8_t> ttl{};

  bool operator==(const MplsMatch&) const = default;
};

struct HeadersMatch {
  std::optional<EthernetMatch> ethernet{};
  std::optional<VlanMatch> vlan{};
  std::optional<Ipv4Match> ipv4{};  // excludes ipv6
  std::optional<Ipv6Match> ipv6{};
  std::optional<PortsMatch> tcp{};  // excludes udp
  std::optional<PortsMatch> udp{};

  bool operator==(const HeadersMatch&) const = default;
};

struct RuleMatch {
  HeadersMatch outer{};
  std::optional<VxlanMatch> vxlan{};  // excludes the next three
  std::optional<GreMatch> gre{};
  std::optional<GreKeyMatch> gre_key{};
  std::optional<MplsMatch> mpls{};
  HeadersMatch inner{};  // of the frame or datagram in the tunnel; needs one of the four above

  bool operator==(const RuleMatch&) const = default;
};

// Exactly this flow. Without ports (FlowKey: other protocols, and fragments) all of the protocol between the
// two addresses.
SLUICE_EXPORT RuleMatch MatchFlow(const FlowKey& flow);

struct RuleActions {
  std::optional<QueueId> queue{};  // deliver here; without it, drop or pass_on, RSS decides
  bool drop = false;               // count and drop (DropReason::kRule); excludes queue and pass_on
  std::optional<uint32_t> mark{};  // written to Packet::mark
  bool count = false;              // count what it applies to, for Nic::QueryRule
  bool pass_on = false;  // and then go on with the rules of the next priority, for a copy if delivered

  bool operator==(const RuleActions&) const = default;
};

// Which frames a rule is asked about.
enum class RuleKind : uint8_t {
  kNormal,
  kAllDefault,        // what no normal rule took. This kind and the next two take no match
  kMulticastDefault,  // of that the multicast
  kSniffer,           // a copy of all that the port receives or sends, whatever else becomes of it
};

enum class RuleDirection : uint8_t { kIngress, kEgress };  // what is received; what is sent

struct SLUICE_EXPORT Rule {
  RuleDirection direction = RuleDirection::kIngress;
  RuleKind kind = RuleKind::kNormal;
  uint32_t priority = 0;  // the smallest first
  RuleMatch match{};
  RuleActions actions{};

  // One line. Parse makes the same rule of it, if it is one that CheckRule takes.
  std::string ToString() const;
  // kInvalidArgument, with the column and what was expected there, or as CheckRule.
  static absl::StatusOr<Rule> Parse(absl::string_view text);

  bool operator==(const Rule&) const = default;
};

// kInvalidArgument for a rule that makes no sense on any device: a value that its field cannot have, headers
// or actions that exclude each other.
SLUICE_EXPORT absl::Status CheckRule(const Rule& rule);

struct RuleStats {
  uint64_t packets = 0;
  uint64_t bytes = 0;
};

}  // namespace sluice

#endif  // SLUICE_FLOW_RULE_H_

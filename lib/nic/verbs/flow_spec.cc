// SPDX-License-Identifier: Apache-2.0
#include <endian.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/flow_spec_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice {
namespace {

constexpr uint8_t kIbvDontFragment = 2;  // enum ib_ipv4_flags of the kernel's rdma/ib_verbs.h
constexpr uint8_t kIbvMoreFragments = 4;

absl::Status NoWordFor(std::string capability) {
  return ErrorStatus(absl::StatusCode::kUnimplemented, {.stage = "install rule",
                                                        .capability = std::move(capability),
                                                        .what = "verbs have no word for it",
                                                        .remedy = "match it in software behind the queue"});
}

template <typename Address, typename Raw>
void Copy(const Address& address, Raw& raw) {
  static_assert(sizeof(Address) == sizeof(raw));
  std::memcpy(&raw, address.bytes().data(), sizeof(raw));
}

uint16_t TciOf(uint16_t vid, uint8_t pcp, uint8_t dei) {
  return htobe16(static_cast<uint16_t>(vid | dei << 12 | pcp << 13));
}

uint8_t FragmentFlags(uint16_t flags_offset) {
  const int dont = (flags_offset & Ipv4Header::kDontFragment) != 0 ? kIbvDontFragment : 0;
  const int more = (flags_offset & Ipv4Header::kMoreFragments) != 0 ? kIbvMoreFragments : 0;
  return static_cast<uint8_t>(dont | more);
}

uint32_t EntryOf(uint32_t label, uint8_t traffic_class, uint8_t bottom, uint8_t ttl) {
  return htobe32(label << 12 | uint32_t{traffic_class} << 9 | uint32_t{bottom} << 8 | ttl);
}

ibv_flow_attr_type TypeOf(RuleKind kind) {
  switch (kind) {
    case RuleKind::kNormal:
      break;
    case RuleKind::kAllDefault:
      return IBV_FLOW_ATTR_ALL_DEFAULT;
    case RuleKind::kMulticastDefault:
      return IBV_FLOW_ATTR_MC_DEFAULT;
    case RuleKind::kSniffer:
      return IBV_FLOW_ATTR_SNIFFER;
  }
  return IBV_FLOW_ATTR_NORMAL;
}

}  // namespace

absl::StatusOr<FlowSpec> FlowSpec::Of(const Rule& rule, uint8_t port) {
  if (rule.priority > std::numeric_limits<uint16_t>::max()) {
    return NoWordFor(absl::StrCat("priority ", rule.priority));
  }
  FlowSpec spec;
  *spec.attr() = {.comp_mask = 0,
                  .type = TypeOf(rule.kind),
                  .size = sizeof(ibv_flow_attr),
                  .priority = static_cast<uint16_t>(rule.priority),
                  .num_of_specs = 0,
                  .port = port,
                  .flags = 0};
  if (rule.actions.pass_on) spec.attr()->flags |= IBV_FLOW_ATTR_FLAGS_DONT_TRAP;
  if (rule.direction == RuleDirection::kEgress) spec.attr()->flags |= IBV_FLOW_ATTR_FLAGS_EGRESS;
  if (absl::Status added = spec.AddHeaders(rule.match.outer, false); !added.ok()) return added;
  spec.AddTunnel(rule.match);
  if (absl::Status added = spec.AddHeaders(rule.match.inner, true); !added.ok()) return added;
  // A normal rule without any would be refused: Ethernet with empty masks is what every frame has.
  if (rule.kind == RuleKind::kNormal && spec.attr()->num_of_specs == 0) spec.AddEthernet({}, false);
  spec.AddActions(rule.actions);
  return spec;
}

absl::Status FlowSpec::AddHeaders(const HeadersMatch& headers, bool inner) {
  if (headers.ethernet && !headers.ethernet->has_vlan.any()) return NoWordFor("match by presence of a tag");
  if (headers.vlan && *headers.vlan == VlanMatch()) return NoWordFor("match by presence of a tag");
  if (headers.ethernet || headers.vlan) AddEthernet(headers, inner);
  if (headers.ipv4) {
    if (absl::Status added = AddIpv4(*headers.ipv4, inner); !added.ok()) return added;
  }
  if (headers.ipv6) AddIpv6(*headers.ipv6, inner);
  if (headers.tcp) AddPorts(*headers.tcp, IBV_FLOW_SPEC_TCP, inner);
  if (headers.udp) AddPorts(*headers.udp, IBV_FLOW_SPEC_UDP, inner);
  return absl::OkStatus();
}

// One spec for Ethernet and its tag.
void FlowSpec::AddEthernet(const HeadersMatch& headers, bool inner) {
  ibv_flow_spec_eth spec{};
  const EthernetMatch ethernet = headers.ethernet.value_or(EthernetMatch());
  const VlanMatch vlan = headers.vlan.value_or(VlanMatch());
  Copy(ethernet.destination.value(), spec.val.dst_mac);
  Copy(ethernet.destination.mask(), spec.mask.dst_mac);
  Copy(ethernet.source.value(), spec.val.src_mac);
  Copy(ethernet.source.mask(), spec.mask.src_mac);
  spec.val.ether_type = htobe16(ethernet.type.value());
  spec.mask.ether_type = htobe16(ethernet.type.mask());
  spec.val.vlan_tag = TciOf(vlan.vid.value(), vlan.pcp.value(), vlan.dei.value());
  spec.mask.vlan_tag = TciOf(vlan.vid.mask(), vlan.pcp.mask(), vlan.dei.mask());
  Add(spec, IBV_FLOW_SPEC_ETH, inner);
}

absl::Status FlowSpec::AddIpv4(const Ipv4Match& match, bool inner) {
  constexpr uint16_t kFlags = Ipv4Header::kDontFragment | Ipv4Header::kMoreFragments;
  if ((match.fragment.mask() & ~kFlags) != 0) return NoWordFor("match by fragment offset");
  ibv_flow_spec_ipv4_ext spec{};
  Copy(match.source.value(), spec.val.src_ip);
  Copy(match.source.mask(), spec.mask.src_ip);
  Copy(match.destination.value(), spec.val.dst_ip);
  Copy(match.destination.mask(), spec.mask.dst_ip);
  spec.val.proto = match.protocol.value();
  spec.mask.proto = match.protocol.mask();
  spec.val.tos = match.tos.value();
  spec.mask.tos = match.tos.mask();
  spec.val.ttl = match.ttl.value();
  spec.mask.ttl = match.ttl.mask();
  spec.val.flags = FragmentFlags(match.fragment.value());
  spec.mask.flags = FragmentFlags(match.fragment.mask());
  Add(spec, IBV_FLOW_SPEC_IPV4_EXT, inner);
  return absl::OkStatus();
}

void FlowSpec::AddIpv6(const Ipv6Match& match, bool inner) {
  ibv_flow_spec_ipv6 spec{};
  Copy(match.source.value(), spec.val.src_ip);
  Copy(match.source.mask(), spec.mask.src_ip);
  Copy(match.destination.value(), spec.val.dst_ip);
  Copy(match.destination.mask(), spec.mask.dst_ip);
  spec.val.flow_label = htobe32(match.flow_label.value());
  spec.mask.flow_label = htobe32(match.flow_label.mask());
  spec.val.next_hdr = match.protocol.value();
  spec.mask.next_hdr = match.protocol.mask();
  spec.val.traffic_class = match.traffic_class.value();
  spec.mask.traffic_class = match.traffic_class.mask();
  spec.val.hop_limit = match.hop_limit.value();
  spec.mask.hop_limit = match.hop_limit.mask();
  Add(spec, IBV_FLOW_SPEC_IPV6, inner);
}

void FlowSpec::AddPorts(const PortsMatch& match, ibv_flow_spec_type type, bool inner) {
  ibv_flow_spec_tcp_udp spec{};
  spec.val = {.dst_port = htobe16(match.destination.value()), .src_port = htobe16(match.source.value())};
  spec.mask = {.dst_port = htobe16(match.destination.mask()), .src_port = htobe16(match.source.mask())};
  Add(spec, type, inner);
}

void FlowSpec::AddTunnel(const RuleMatch& match) {
  if (match.vxlan) {
    ibv_flow_spec_tunnel spec{};
    spec.val.tunnel_id = htobe32(match.vxlan->vni.value());
    spec.mask.tunnel_id = htobe32(match.vxlan->vni.mask());
    Add(spec, IBV_FLOW_SPEC_VXLAN_TUNNEL);
  }
  if (match.gre || match.gre_key) {
    const GreMatch gre = match.gre.value_or(GreMatch());
    const GreKeyMatch key = match.gre_key.value_or(GreKeyMatch());
    const uint16_t has_key = match.gre_key ? GreHeader::kKey : uint16_t{0};
    ibv_flow_spec_gre spec{};
    spec.val = {.c_ks_res0_ver = htobe16(gre.flags.value() | has_key),
                .protocol = htobe16(gre.protocol.value()),
                .key = htobe32(key.key.value())};
    spec.mask = {.c_ks_res0_ver = htobe16(gre.flags.mask() | has_key),
                 .protocol = htobe16(gre.protocol.mask()),
                 .key = htobe32(key.key.mask())};
    Add(spec, IBV_FLOW_SPEC_GRE);
  }
  if (match.mpls) {
    const MplsMatch& mpls = *match.mpls;
    ibv_flow_spec_mpls spec{};
    spec.val.label =
        EntryOf(mpls.label.value(), mpls.traffic_class.value(), mpls.bottom.value(), mpls.ttl.value());
    spec.mask.label =
        EntryOf(mpls.label.mask(), mpls.traffic_class.mask(), mpls.bottom.mask(), mpls.ttl.mask());
    Add(spec, IBV_FLOW_SPEC_MPLS);
  }
}

void FlowSpec::AddActions(const RuleActions& actions) {
  if (actions.mark) {
    ibv_flow_spec_action_tag spec{};
    spec.tag_id = *actions.mark;
    Add(spec, IBV_FLOW_SPEC_ACTION_TAG);
  }
  if (actions.drop) Add(ibv_flow_spec_action_drop(), IBV_FLOW_SPEC_ACTION_DROP);
}

void FlowSpec::Count(ibv_counters& counters) {
  ibv_flow_spec_counter_action spec{};
  spec.counters = &counters;
  Add(spec, IBV_FLOW_SPEC_ACTION_COUNT);
}

}  // namespace sluice

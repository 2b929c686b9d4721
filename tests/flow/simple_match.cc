// SPDX-License-Identifier: Apache-2.0
#include "tests/flow/simple_match.h"

#include <map>
#include <set>
#include <utility>

#include "lib/flow/rule_fields_internal.h"
#include "sluice/packet/parse.h"
#include "sluice/packet/tunnel_headers.h"

namespace sluice::testing {
namespace {

bool Chance(Random& random, uint64_t in) { return Below(random, in) == 0; }

constexpr uint16_t kReservedVlan = 4095;  // which no rule may name

// Portraits.
// ---------------------------------------------------------------------------------------------------------

void PortrayEthernet(const Packet& packet, size_t at, uint16_t type, HeadersMatch& out) {
  const auto* ethernet = HeaderAt<EthernetHeader>(packet.data(), at);
  const bool tagged =
      ethernet->type.get() == Ethertype::kVlan || ethernet->type.get() == Ethertype::kServiceVlan;
  out.ethernet = EthernetMatch{.destination = ethernet->destination,
                               .source = ethernet->source,
                               .type = type,
                               .has_vlan = static_cast<uint8_t>(tagged)};
  if (!tagged) return;
  const auto* tag = HeaderAt<VlanTag>(packet.data(), at + sizeof(EthernetHeader));
  out.vlan = VlanMatch{
      .vid = tag->id(), .pcp = tag->priority(), .dei = static_cast<uint8_t>((tag->tci.get() & 0x1000) != 0)};
  if (tag->id() == kReservedVlan) out.vlan->vid = {};
}

void PortrayIp(const Packet& packet, const LayerOffsets& at, HeadersMatch& out) {
  const uint8_t* data = packet.data();
  if (at.l3_type == L3Type::kIpv4) {
    const auto* ip = HeaderAt<Ipv4Header>(data, at.l3);
    out.ipv4 = Ipv4Match{.source = ip->source,
                         .destination = ip->destination,
                         .protocol = ip->protocol,
                         .tos = ip->dscp_ecn,
                         .ttl = ip->ttl,
                         .fragment = ip->flags_offset.get()};
  }
  if (at.l3_type == L3Type::kIpv6) {
    const auto* ip = HeaderAt<Ipv6Header>(data, at.l3);
    out.ipv6 = Ipv6Match{.source = ip->source,
                         .destination = ip->destination,
                         .protocol = ProtocolOf(data, at),
                         .traffic_class = ip->traffic_class(),
                         .flow_label = ip->flow_label(),
                         .hop_limit = ip->hop_limit};
  }
  const bool tcp = at.l4_type == L4Type::kTcp;
  if (!tcp && at.l4_type != L4Type::kUdp) return;
  auto& ports = tcp ? out.tcp : out.udp;
  ports = PortsMatch{.source = HeaderAt<Be16>(data, at.l4)->get(),
                     .destination = HeaderAt<Be16>(data, at.l4 + sizeof(Be16))->get()};
}

void PortrayLabel(const Packet& packet, size_t at, RuleMatch& out) {
  const uint32_t entry = HeaderAt<Be32>(packet.data(), at)->get();
  out.mpls = MplsMatch{.label = entry >> 12,
                       .traffic_class = static_cast<uint8_t>(entry >> 9 & 7),
                       .bottom = static_cast<uint8_t>(entry >> 8 & 1),
                       .ttl = static_cast<uint8_t>(entry)};
}

void PortrayGre(const Packet& packet, size_t at, RuleMatch& out) {
  const auto* gre = HeaderAt<GreHeader>(packet.data(), at);
  out.gre = GreMatch{.flags = gre->flags.get(), .protocol = gre->type.get()};
  if (gre->has(GreHeader::kKey)) {
    const size_t checksum = gre->has(GreHeader::kChecksum) ? 4 : 0;
    out.gre_key = GreKeyMatch{.key = HeaderAt<Be32>(packet.data(), at + sizeof(GreHeader) + checksum)->get()};
  }
  if (gre->type == Ethertype::kMpls) PortrayLabel(packet, at + gre->header_length(), out);
}

void PortrayTunnel(const Packet& packet, RuleMatch& out) {
  const Layers& layers = packet.layers();
  const size_t at = layers.outer.payload;
  if (out.outer.udp && layers.tunnel == TunnelType::kVxlan) {
    out.vxlan = VxlanMatch{.vni = HeaderAt<VxlanHeader>(packet.data(), at)->vni.get()};
  } else if (out.outer.udp && out.outer.udp->destination == Masked<uint16_t>(kMplsUdpPort)) {
    PortrayLabel(packet, at, out);
  } else if (out.outer.ipv4 || out.outer.ipv6) {
    if (!out.outer.udp) PortrayGre(packet, at, out);
  } else if (layers.tunnel == TunnelType::kMpls) {
    PortrayLabel(packet, layers.outer.l3, out);
  }
}

uint16_t TypeBefore(const Packet& packet, size_t l3) { return HeaderAt<Be16>(packet.data(), l3 - 2)->get(); }

// Twins.
// ---------------------------------------------------------------------------------------------------------

template <typename Item>
bool Accepts(const Item& item, const Item& portrait) {
  const auto each = [&](const auto&... field) {
    return ((item.*field.member).Accepts((portrait.*field.member).value()) && ...);
  };
  return std::apply(each, kFieldsOf<Item>);
}

// The header of `match` that has this word and place.
template <typename Item>
std::optional<Item> HeaderOf(const RuleMatch& match, absl::string_view word, int place) {
  std::optional<Item> found;
  ForEachHeader(match, [&](absl::string_view name, int at, const auto& header) {
    if constexpr (std::is_same_v<std::decay_t<decltype(header)>, std::optional<Item>>) {
      if (name == word && at == place) found = header;
    }
  });
  return found;
}

bool SimpleMatches(const Rule& rule, const RuleMatch& portrait, RuleDirection direction) {
  const bool ingress = direction == RuleDirection::kIngress;
  const bool multicast =
      portrait.outer.ethernet && portrait.outer.ethernet->destination.value().is_multicast();
  switch (rule.kind) {
    case RuleKind::kSniffer:
      return true;
    case RuleKind::kAllDefault:
      return ingress;
    case RuleKind::kMulticastDefault:
      return ingress && multicast;
    case RuleKind::kNormal:
      break;
  }
  return rule.direction == direction && testing::SimpleMatches(rule.match, portrait);
}

enum Stage { kSniffers, kNormal, kDefaults };
Stage StageOf(const Rule& rule) {
  if (rule.kind == RuleKind::kSniffer) return kSniffers;
  return rule.kind == RuleKind::kNormal ? kNormal : kDefaults;
}

// Random rules.
// ---------------------------------------------------------------------------------------------------------

template <typename T, int kBits>
void Blur(Random& random, Masked<T, kBits>& field) {
  using Field = Masked<T, kBits>;
  switch (Below(random, 4)) {
    case 0:
      return;
    case 1:
      field = Field(field.value(), Field::Leading(static_cast<int>(Below(random, kBits + 1))));
      return;
    case 2:
      if constexpr (std::is_unsigned_v<T>)
        field = Field(field.value(), static_cast<T>(random() & Field::Leading(kBits)));
      return;
    default:
      field = Field();
  }
}

template <typename T, int kBits>
void Invent(Random& random, Masked<T, kBits>& field) {
  if constexpr (std::is_unsigned_v<T>) {
    field = static_cast<T>(random() & Masked<T, kBits>::Leading(kBits));
  } else {
    auto bytes = T().bytes();
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    field = T(bytes);
  }
}

RuleActions RandomActions(Random& random) {
  RuleActions actions;
  actions.drop = Chance(random, 4);
  if (!actions.drop && Chance(random, 2))
    actions.queue = QueueId{static_cast<uint16_t>(Below(random, 65536))};
  if (Chance(random, 2)) actions.mark = static_cast<uint32_t>(random());
  actions.count = Chance(random, 2);
  actions.pass_on = !actions.drop && Chance(random, 3);
  return actions;
}

void MakeSense(RuleMatch& match) {
  if (match.vxlan) match.gre.reset(), match.gre_key.reset(), match.mpls.reset();
  if (!match.vxlan && !match.gre && !match.gre_key && !match.mpls) match.inner = {};
  for (HeadersMatch* headers : {&match.outer, &match.inner}) {
    if (headers->ipv4) headers->ipv6.reset();
    if (headers->tcp) headers->udp.reset();
    if (headers->vlan && headers->ethernet) headers->ethernet->has_vlan = {};
    if (headers->vlan && headers->vlan->vid.value() == kReservedVlan) headers->vlan->vid = {};
  }
}

}  // namespace

RuleMatch PortraitOf(const Packet& packet) {
  const Layers& layers = packet.layers();
  RuleMatch out;
  PortrayEthernet(packet, 0, TypeBefore(packet, layers.outer.l3), out.outer);
  PortrayIp(packet, layers.outer, out.outer);
  if (layers.tunnel == TunnelType::kNone) return out;
  PortrayTunnel(packet, out);
  if (!out.vxlan && !out.gre && !out.mpls) return out;  // a tunnel that no rule can name, nor what is inside
  if (layers.inner.l3 > layers.inner_l2) {
    PortrayEthernet(packet, layers.inner_l2, TypeBefore(packet, layers.inner.l3), out.inner);
  }
  PortrayIp(packet, layers.inner, out.inner);
  return out;
}

bool SimpleMatches(const RuleMatch& match, const RuleMatch& portrait) {
  bool matches = true;
  ForEachHeader(match, [&](absl::string_view word, int place, const auto& header) {
    if (!header) return;
    const auto there = HeaderOf<std::decay_t<decltype(*header)>>(portrait, word, place);
    matches &= there && Accepts(*header, *there);
  });
  return matches;
}

std::vector<RuleId> SimpleLookup(const std::vector<TableRule>& rules, const RuleMatch& portrait,
                                 RuleDirection direction) {
  std::map<std::pair<int, uint32_t>, std::vector<const TableRule*>> places;
  for (const TableRule& rule : rules) {
    if (!SimpleMatches(rule.rule, portrait, direction)) continue;
    places[{StageOf(rule.rule), rule.rule.priority}].push_back(&rule);
  }
  std::vector<RuleId> taken;
  for (const auto& [place, matching] : places) {
    std::set<uint64_t> owners;
    bool passes_on = place.first != kDefaults;
    for (const TableRule* rule : matching) {
      if (rule->rule.match != matching[0]->rule.match || !owners.insert(rule->owner).second) continue;
      taken.push_back(rule->id);
      passes_on &= place.first == kSniffers || rule->rule.actions.pass_on;
    }
    if (!passes_on) break;
  }
  return taken;
}

Rule RandomRule(Random& random, const RuleMatch& portrait) {
  Rule rule;
  rule.priority = static_cast<uint32_t>(Below(random, 4));
  if (Chance(random, 4)) rule.direction = RuleDirection::kEgress;
  rule.actions = RandomActions(random);
  if (Chance(random, 5)) {
    rule.kind = static_cast<RuleKind>(1 + Below(random, 3));
    rule.direction = RuleDirection::kIngress;
    rule.actions.pass_on = false;
    return rule;
  }
  rule.match = portrait;
  ForEachHeader(rule.match, [&](absl::string_view, int, auto& header) {
    if (!header) return;
    if (Chance(random, 2)) return header.reset();
    ForEachField(*header, [&](absl::string_view, auto& field, Radix) { Blur(random, field); });
  });
  MakeSense(rule.match);
  return rule;
}

Rule RandomRule(Random& random) {
  RuleMatch all;
  ForEachHeader(all, [&](absl::string_view, int, auto& header) {
    header.emplace();
    ForEachField(*header, [&](absl::string_view, auto& field, Radix) { Invent(random, field); });
  });
  if (Chance(random, 2)) all.vxlan.reset();
  for (HeadersMatch* headers : {&all.outer, &all.inner}) {
    if (Chance(random, 2)) headers->ipv4.reset();
    if (Chance(random, 2)) headers->tcp.reset();
  }
  return RandomRule(random, all);
}

}  // namespace sluice::testing

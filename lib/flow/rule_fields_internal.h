// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_FLOW_RULE_FIELDS_INTERNAL_H_
#define SLUICE_LIB_FLOW_RULE_FIELDS_INTERNAL_H_

// The headers and fields of a match with their words: one table for who writes rules, reads and checks them.

#include <tuple>

#include "absl/strings/string_view.h"
#include "sluice/flow/rule.h"

namespace sluice {

enum class Radix { kDecimal, kHex };

// One field of the header that `Item` matches.
template <typename Item, typename Field>
struct FieldWord {
  constexpr FieldWord(absl::string_view the_word, Field Item::*field, Radix the_radix = Radix::kDecimal)
      : word(the_word), member(field), radix(the_radix) {}

  absl::string_view word;
  Field Item::*member;
  Radix radix;
};

// The fields of the header that `Item` matches, in the order in which they are written.
template <typename Item>
constexpr auto kFieldsOf = nullptr;
template <>
inline constexpr auto kFieldsOf<EthernetMatch> = std::make_tuple(
    FieldWord("dst", &EthernetMatch::destination), FieldWord("src", &EthernetMatch::source),
    FieldWord("type", &EthernetMatch::type, Radix::kHex), FieldWord("has_vlan", &EthernetMatch::has_vlan));
template <>
inline constexpr auto kFieldsOf<VlanMatch> = std::make_tuple(FieldWord("vid", &VlanMatch::vid),
                                                             FieldWord("pcp", &VlanMatch::pcp),
                                                             FieldWord("dei", &VlanMatch::dei));
template <>
inline constexpr auto kFieldsOf<Ipv4Match> = std::make_tuple(
    FieldWord("src", &Ipv4Match::source), FieldWord("dst", &Ipv4Match::destination),
    FieldWord("proto", &Ipv4Match::protocol), FieldWord("tos", &Ipv4Match::tos, Radix::kHex),
    FieldWord("ttl", &Ipv4Match::ttl), FieldWord("fragment_offset", &Ipv4Match::fragment, Radix::kHex));
template <>
inline constexpr auto kFieldsOf<Ipv6Match> = std::make_tuple(
    FieldWord("src", &Ipv6Match::source), FieldWord("dst", &Ipv6Match::destination),
    FieldWord("proto", &Ipv6Match::protocol), FieldWord("tc", &Ipv6Match::traffic_class, Radix::kHex),
    FieldWord("flow", &Ipv6Match::flow_label, Radix::kHex), FieldWord("hop", &Ipv6Match::hop_limit));
template <>
inline constexpr auto kFieldsOf<PortsMatch> = std::make_tuple(FieldWord("src", &PortsMatch::source),
                                                              FieldWord("dst", &PortsMatch::destination));
template <>
inline constexpr auto kFieldsOf<VxlanMatch> = std::make_tuple(FieldWord("vni", &VxlanMatch::vni));
template <>
inline constexpr auto kFieldsOf<GreMatch> =
    std::make_tuple(FieldWord("c_rsvd0_ver", &GreMatch::flags, Radix::kHex),
                    FieldWord("protocol", &GreMatch::protocol, Radix::kHex));
template <>
inline constexpr auto kFieldsOf<GreKeyMatch> = std::make_tuple(FieldWord("value", &GreKeyMatch::key));
template <>
inline constexpr auto kFieldsOf<MplsMatch> = std::make_tuple(FieldWord("label", &MplsMatch::label),
                                                             FieldWord("tc", &MplsMatch::traffic_class),
                                                             FieldWord("s", &MplsMatch::bottom),
                                                             FieldWord("ttl", &MplsMatch::ttl));

// Calls visit(word, field, radix) for each field of the header.
template <typename Item, typename Visit>
void ForEachField(Item& item, Visit&& visit) {
  const auto each = [&](const auto&... field) { (visit(field.word, item.*field.member, field.radix), ...); };
  std::apply(each, kFieldsOf<std::remove_const_t<Item>>);
}

// Calls visit(word, place, header) for each header that a match can name, in the order in which they stand in a
// frame. Headers of one place exclude each other, and a place comes once.
template <typename Headers, typename Visit>
void ForEachHeader(Headers& headers, int first_place, Visit&& visit) {
  visit("eth", first_place, headers.ethernet);
  visit("vlan", first_place + 1, headers.vlan);
  visit("ipv4", first_place + 2, headers.ipv4);
  visit("ipv6", first_place + 2, headers.ipv6);
  visit("tcp", first_place + 3, headers.tcp);
  visit("udp", first_place + 3, headers.udp);
}
inline constexpr int kOuterPlace = 0;
inline constexpr int kTunnelPlace = 4;
inline constexpr int kInnerPlace = 8;
template <typename Match, typename Visit>
void ForEachHeader(Match& match, Visit&& visit) {
  ForEachHeader(match.outer, kOuterPlace, visit);
  visit("vxlan", kInnerPlace - 1, match.vxlan);
  visit("gre", kTunnelPlace, match.gre);
  visit("gre_key", kTunnelPlace + 1, match.gre_key);
  visit("mpls", kTunnelPlace + 2, match.mpls);
  ForEachHeader(match.inner, kInnerPlace, visit);
}

}  // namespace sluice

#endif  // SLUICE_LIB_FLOW_RULE_FIELDS_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
// A match laid out as the fields of a frame are: once the values, once the masks.

#include <algorithm>

#include "flow/frame_fields_internal.h"

namespace sluice {
namespace {

struct Layout {
  FrameFields value;
  FrameFields mask;
};

// Each Put writes one field in both; `at` picks it.
template <typename T, int kBits, typename At>
void Put(Layout& out, const Masked<T, kBits>& field, At at, int shift = 0) {
  using Field = std::remove_reference_t<decltype(at(out.value))>;
  if constexpr (std::is_unsigned_v<T>) {
    at(out.value) = static_cast<Field>(at(out.value) | static_cast<Field>(field.value()) << shift);
    at(out.mask) = static_cast<Field>(at(out.mask) | static_cast<Field>(field.mask()) << shift);
  } else if constexpr (std::is_same_v<Field, T>) {
    at(out.value) = field.value();
    at(out.mask) = field.mask();
  } else {
    std::copy_n(field.value().bytes().begin(), sizeof(T), at(out.value).begin());
    std::copy_n(field.mask().bytes().begin(), sizeof(T), at(out.mask).begin());
  }
}

// The headers of one side of the tunnel.
class HeadersLayout {
 public:
  HeadersLayout(Layout& out, HeaderFields FrameFields::*side) : out_(out), side_(side) {}

  void Put(const HeadersMatch& match) {
    if (match.ethernet) Put(*match.ethernet);
    if (match.vlan) Put(*match.vlan);
    if (match.ipv4) Put(*match.ipv4);
    if (match.ipv6) Put(*match.ipv6);
    if (match.tcp) Put(*match.tcp, HeaderFields::kTcp);
    if (match.udp) Put(*match.udp, HeaderFields::kUdp);
  }

 private:
  using Fields = HeaderFields;

  void Put(const EthernetMatch& match) {
    PutHas(Fields::kEthernet);
    PutField(match.destination, &Fields::destination);
    PutField(match.source, &Fields::source);
    PutField(match.type, &Fields::type);
    if (match.has_vlan.any()) return;
    (out_.mask.*side_).has |= Fields::kVlan;
    if (match.has_vlan.value() != 0) (out_.value.*side_).has |= Fields::kVlan;
  }
  void Put(const VlanMatch& match) {
    PutHas(Fields::kVlan);
    PutField(match.vid, &Fields::tci);
    PutField(match.dei, &Fields::tci, 12);
    PutField(match.pcp, &Fields::tci, 13);
  }
  void Put(const Ipv4Match& match) {
    PutHas(Fields::kIpv4);
    PutField(match.source, &Fields::source_ip);
    PutField(match.destination, &Fields::destination_ip);
    PutField(match.protocol, &Fields::protocol);
    PutField(match.tos, &Fields::traffic_class);
    PutField(match.ttl, &Fields::hops);
    PutField(match.fragment, &Fields::fragment);
  }
  void Put(const Ipv6Match& match) {
    PutHas(Fields::kIpv6);
    PutField(match.source, &Fields::source_ip);
    PutField(match.destination, &Fields::destination_ip);
    PutField(match.protocol, &Fields::protocol);
    PutField(match.traffic_class, &Fields::traffic_class);
    PutField(match.flow_label, &Fields::flow_label);
    PutField(match.hop_limit, &Fields::hops);
  }
  void Put(const PortsMatch& match, Fields::Has has) {
    PutHas(has);
    PutField(match.source, &Fields::source_port);
    PutField(match.destination, &Fields::destination_port);
  }

  void PutHas(Fields::Has has) {
    (out_.value.*side_).has |= has;
    (out_.mask.*side_).has |= has;
  }
  template <typename Masked, typename Field>
  void PutField(const Masked& field, Field Fields::*member, int shift = 0) {
    const auto at = [&](FrameFields& fields) -> Field& { return fields.*side_.*member; };
    sluice::Put(out_, field, at, shift);
  }

  Layout& out_;
  HeaderFields FrameFields::*const side_;
};

void PutHas(Layout& out, FrameFields::Has has) {
  out.value.has |= has;
  out.mask.has |= has;
}

template <typename Masked, typename Field>
void PutField(Layout& out, const Masked& field, Field FrameFields::*member, int shift = 0) {
  Put(
      out, field, [member](FrameFields& fields) -> Field& { return fields.*member; }, shift);
}

void PutTunnel(const RuleMatch& match, Layout& out) {
  if (match.vxlan) {
    PutHas(out, FrameFields::kVxlan);
    PutField(out, match.vxlan->vni, &FrameFields::vni);
  }
  if (match.gre) {
    PutHas(out, FrameFields::kGre);
    PutField(out, match.gre->flags, &FrameFields::gre_flags);
    PutField(out, match.gre->protocol, &FrameFields::gre_protocol);
  }
  if (match.gre_key) {
    PutHas(out, FrameFields::kGreKey);
    PutField(out, match.gre_key->key, &FrameFields::gre_key);
  }
  if (match.mpls) {
    PutHas(out, FrameFields::kMpls);
    PutField(out, match.mpls->label, &FrameFields::mpls, 12);
    PutField(out, match.mpls->traffic_class, &FrameFields::mpls, 9);
    PutField(out, match.mpls->bottom, &FrameFields::mpls, 8);
    PutField(out, match.mpls->ttl, &FrameFields::mpls);
  }
}

// What a frame shows without its layers.
bool IsEthernetOnly(const RuleMatch& match) {
  RuleMatch rest = match;
  rest.outer.ethernet.reset();
  rest.outer.vlan.reset();
  return rest == RuleMatch();
}

}  // namespace

FlatMatch::FlatMatch(const RuleMatch& match) : needs_layers_(!IsEthernetOnly(match)) {
  Layout layout;
  HeadersLayout(layout, &FrameFields::outer).Put(match.outer);
  HeadersLayout(layout, &FrameFields::inner).Put(match.inner);
  PutTunnel(match, layout);
  const auto value = std::bit_cast<FieldWords>(layout.value);
  const auto mask = std::bit_cast<FieldWords>(layout.mask);
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0) words_.push_back({.index = i, .value = value[i], .mask = mask[i]});
  }
}

}  // namespace sluice

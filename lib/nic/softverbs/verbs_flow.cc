// SPDX-License-Identifier: Apache-2.0
// Rules, from the specs of ibv_create_flow(3) to a Rule.
#include <endian.h>

#include <array>
#include <cstring>
#include <optional>

#include "nic/softverbs/verbs_objects_internal.h"
#include "sluice/flow/rule.h"

namespace sluice {
namespace {

constexpr size_t kMaxSpecs = 10;
constexpr uint32_t kInner = IBV_FLOW_SPEC_INNER;

MacAddress MacOf(const uint8_t* bytes) {
  std::array<uint8_t, MacAddress::kSize> mac;
  std::memcpy(mac.data(), bytes, mac.size());
  return MacAddress(mac);
}

template <typename Address, typename Raw>
Address AddressOf(const Raw& raw) {
  std::array<uint8_t, sizeof(Address)> bytes;
  static_assert(sizeof(bytes) == sizeof(raw));
  std::memcpy(bytes.data(), &raw, sizeof(raw));
  return Address(bytes);
}

// One spec after the other into a rule; the first that cannot be says so by its errno.
class SpecReader {
 public:
  explicit SpecReader(Rule& rule) : rule_(rule) {}

  int Read(const ibv_flow_spec& spec);
  SoftCounters* counters() const { return counters_; }  // that the rule counts in

 private:
  int ReadEthernet(const ibv_flow_spec_eth& spec, HeadersMatch& headers);
  int ReadIpv4(const ibv_flow_ipv4_ext_filter& value, const ibv_flow_ipv4_ext_filter& mask,
               HeadersMatch& headers);
  int ReadIpv6(const ibv_flow_spec_ipv6& spec, HeadersMatch& headers);
  int ReadPorts(const ibv_flow_spec_tcp_udp& spec, std::optional<PortsMatch>& ports);
  int ReadTunnel(const ibv_flow_spec_tunnel& spec);
  int ReadGre(const ibv_flow_spec_gre& spec);
  int ReadMpls(const ibv_flow_spec_mpls& spec);

  Rule& rule_;
  SoftCounters* counters_ = nullptr;
};

int SpecReader::Read(const ibv_flow_spec& spec) {
  const uint32_t type = spec.hdr.type;
  HeadersMatch& headers = (type & kInner) != 0 ? rule_.match.inner : rule_.match.outer;
  switch (type & ~kInner) {
    case IBV_FLOW_SPEC_ETH:
      return ReadEthernet(spec.eth, headers);
    case IBV_FLOW_SPEC_IPV4: {
      const ibv_flow_ipv4_filter& value = spec.ipv4.val;
      const ibv_flow_ipv4_filter& mask = spec.ipv4.mask;
      return ReadIpv4({value.src_ip, value.dst_ip, 0, 0, 0, 0}, {mask.src_ip, mask.dst_ip, 0, 0, 0, 0},
                      headers);
    }
    case IBV_FLOW_SPEC_IPV4_EXT:
      return ReadIpv4(spec.ipv4_ext.val, spec.ipv4_ext.mask, headers);
    case IBV_FLOW_SPEC_IPV6:
      return ReadIpv6(spec.ipv6, headers);
    case IBV_FLOW_SPEC_TCP:
      return ReadPorts(spec.tcp_udp, headers.tcp);
    case IBV_FLOW_SPEC_UDP:
      return ReadPorts(spec.tcp_udp, headers.udp);
    case IBV_FLOW_SPEC_VXLAN_TUNNEL:
      return ReadTunnel(spec.tunnel);
    case IBV_FLOW_SPEC_GRE:
      return ReadGre(spec.gre);
    case IBV_FLOW_SPEC_MPLS:
      return ReadMpls(spec.mpls);
    case IBV_FLOW_SPEC_ACTION_TAG:
      rule_.actions.mark = spec.flow_tag.tag_id;
      return 0;
    case IBV_FLOW_SPEC_ACTION_COUNT:
      rule_.actions.count = true;
      counters_ = static_cast<SoftCounters*>(spec.flow_count.counters);
      return counters_ == nullptr ? EINVAL : 0;
    case IBV_FLOW_SPEC_ACTION_DROP:
      rule_.actions.drop = true;
      return 0;
    default:
      return EOPNOTSUPP;
  }
}

int SpecReader::ReadEthernet(const ibv_flow_spec_eth& spec, HeadersMatch& headers) {
  if (headers.ethernet.has_value()) return EINVAL;
  headers.ethernet = EthernetMatch{
      .destination = {MacOf(spec.val.dst_mac), MacOf(spec.mask.dst_mac)},
      .source = {MacOf(spec.val.src_mac), MacOf(spec.mask.src_mac)},
      .type = {be16toh(spec.val.ether_type), be16toh(spec.mask.ether_type)},
  };
  const uint16_t tag = be16toh(spec.val.vlan_tag), mask = be16toh(spec.mask.vlan_tag);
  if (mask == 0) return 0;
  const auto bits = [](uint16_t tci, int from, uint16_t width) {
    return static_cast<uint16_t>(tci >> from & width);
  };
  headers.vlan = VlanMatch{
      .vid = {bits(tag, 0, 0xfff), bits(mask, 0, 0xfff)},
      .pcp = {static_cast<uint8_t>(bits(tag, 13, 7)), static_cast<uint8_t>(bits(mask, 13, 7))},
      .dei = {static_cast<uint8_t>(bits(tag, 12, 1)), static_cast<uint8_t>(bits(mask, 12, 1))},
  };
  return 0;
}

int SpecReader::ReadIpv4(const ibv_flow_ipv4_ext_filter& value, const ibv_flow_ipv4_ext_filter& mask,
                         HeadersMatch& headers) {
  constexpr uint8_t kFlags =
      0x6;  // don't fragment and more fragments; they lie the other way round in the header
  const auto flags = [](uint8_t bits) {
    return static_cast<uint16_t>(((bits & 2) != 0 ? Ipv4Header::kDontFragment : 0) |
                                 ((bits & 4) != 0 ? Ipv4Header::kMoreFragments : 0));
  };
  if (headers.ipv4.has_value() || (mask.flags & ~kFlags) != 0) return EINVAL;
  headers.ipv4 = Ipv4Match{
      .source = {AddressOf<Ipv4Address>(value.src_ip), AddressOf<Ipv4Address>(mask.src_ip)},
      .destination = {AddressOf<Ipv4Address>(value.dst_ip), AddressOf<Ipv4Address>(mask.dst_ip)},
      .protocol = {value.proto, mask.proto},
      .tos = {value.tos, mask.tos},
      .ttl = {value.ttl, mask.ttl},
      .fragment = {flags(value.flags), flags(mask.flags)},
  };
  return 0;
}

int SpecReader::ReadIpv6(const ibv_flow_spec_ipv6& spec, HeadersMatch& headers) {
  constexpr uint32_t kLabel = 0xfffff;
  if (headers.ipv6.has_value()) return EINVAL;
  headers.ipv6 = Ipv6Match{
      .source = {AddressOf<Ipv6Address>(spec.val.src_ip), AddressOf<Ipv6Address>(spec.mask.src_ip)},
      .destination = {AddressOf<Ipv6Address>(spec.val.dst_ip), AddressOf<Ipv6Address>(spec.mask.dst_ip)},
      .protocol = {spec.val.next_hdr, spec.mask.next_hdr},
      .traffic_class = {spec.val.traffic_class, spec.mask.traffic_class},
      .flow_label = {be32toh(spec.val.flow_label) & kLabel, be32toh(spec.mask.flow_label) & kLabel},
      .hop_limit = {spec.val.hop_limit, spec.mask.hop_limit},
  };
  return 0;
}

int SpecReader::ReadPorts(const ibv_flow_spec_tcp_udp& spec, std::optional<PortsMatch>& ports) {
  if (ports.has_value()) return EINVAL;
  ports = PortsMatch{.source = {be16toh(spec.val.src_port), be16toh(spec.mask.src_port)},
                     .destination = {be16toh(spec.val.dst_port), be16toh(spec.mask.dst_port)}};
  return 0;
}

int SpecReader::ReadTunnel(const ibv_flow_spec_tunnel& spec) {
  const uint32_t mask = be32toh(spec.mask.tunnel_id);
  if (rule_.match.vxlan.has_value() || mask > 0xffffff) return EINVAL;
  rule_.match.vxlan = VxlanMatch{.vni = {be32toh(spec.val.tunnel_id), mask}};
  return 0;
}

int SpecReader::ReadGre(const ibv_flow_spec_gre& spec) {
  if (rule_.match.gre.has_value()) return EINVAL;
  rule_.match.gre = GreMatch{.flags = {be16toh(spec.val.c_ks_res0_ver), be16toh(spec.mask.c_ks_res0_ver)},
                             .protocol = {be16toh(spec.val.protocol), be16toh(spec.mask.protocol)}};
  const uint32_t key = be32toh(spec.mask.key);
  if (key != 0) rule_.match.gre_key = GreKeyMatch{.key = {be32toh(spec.val.key), key}};
  return 0;
}

int SpecReader::ReadMpls(const ibv_flow_spec_mpls& spec) {
  if (rule_.match.mpls.has_value()) return EINVAL;
  const uint32_t value = be32toh(spec.val.label), mask = be32toh(spec.mask.label);
  const auto byte = [](uint32_t entry, int from, uint32_t width) {
    return static_cast<uint8_t>(entry >> from & width);
  };
  rule_.match.mpls = MplsMatch{.label = {value >> 12, mask >> 12},
                               .traffic_class = {byte(value, 9, 7), byte(mask, 9, 7)},
                               .bottom = {byte(value, 8, 1), byte(mask, 8, 1)},
                               .ttl = {byte(value, 0, 255), byte(mask, 0, 255)}};
  return 0;
}

std::optional<RuleKind> KindOf(ibv_flow_attr_type type) {
  switch (type) {
    case IBV_FLOW_ATTR_NORMAL:
      return RuleKind::kNormal;
    case IBV_FLOW_ATTR_ALL_DEFAULT:
      return RuleKind::kAllDefault;
    case IBV_FLOW_ATTR_MC_DEFAULT:
      return RuleKind::kMulticastDefault;
    case IBV_FLOW_ATTR_SNIFFER:
      return RuleKind::kSniffer;
  }
  return std::nullopt;
}

// What is asked for beside the specs.
int ReadFrame(const ibv_flow_attr& attr, Rule& rule) {
  constexpr uint32_t kKnown = IBV_FLOW_ATTR_FLAGS_DONT_TRAP | IBV_FLOW_ATTR_FLAGS_EGRESS;
  const std::optional<RuleKind> kind = KindOf(attr.type);
  if (!kind.has_value() || attr.comp_mask != 0 || (attr.flags & ~kKnown) != 0) return EINVAL;
  if (attr.port != 1 || attr.num_of_specs > kMaxSpecs) return EINVAL;
  rule.kind = *kind;
  rule.priority = attr.priority;
  rule.actions.pass_on = (attr.flags & IBV_FLOW_ATTR_FLAGS_DONT_TRAP) != 0;
  const bool takes_rest = *kind == RuleKind::kAllDefault || *kind == RuleKind::kMulticastDefault;
  if (takes_rest && rule.actions.pass_on) return EINVAL;
  if ((attr.flags & IBV_FLOW_ATTR_FLAGS_EGRESS) != 0) rule.direction = RuleDirection::kEgress;
  return 0;
}

// The size that the program gives of the whole is not looked at: programs leave it out where there are no specs.
int ReadRule(const ibv_flow_attr& attr, Rule& rule, SoftCounters*& counters) {
  if (const int error = ReadFrame(attr, rule); error != 0) return error;
  SpecReader reader(rule);
  const char* at = reinterpret_cast<const char*>(&attr + 1);
  for (int left = attr.num_of_specs; left > 0; --left) {
    ibv_flow_spec spec{};
    std::memcpy(&spec.hdr, at, sizeof(spec.hdr));
    if (spec.hdr.size < sizeof(spec.hdr) || spec.hdr.size > sizeof(spec)) return EINVAL;
    std::memcpy(&spec, at, spec.hdr.size);
    if (const int error = reader.Read(spec); error != 0) return error;
    at += spec.hdr.size;
  }
  counters = reader.counters();
  return CheckRule(rule).ok() ? 0 : EINVAL;
}

}  // namespace

ibv_flow* CreateFlow(ibv_qp* qp, ibv_flow_attr* attr) {
  Rule rule;
  SoftCounters* counters = nullptr;
  if (const int error = ReadRule(*attr, rule, counters); error != 0) return Refuse(error);
  SoftQp& target = QpOf(qp);
  SoftDevice& device = DeviceOf(qp->context);
  const std::lock_guard lock(device.gate);
  if (device.removed) return Refuse(EIO);
  if (!device.rules.Take()) return Refuse(ENOMEM);
  SoftSteering& steering = device.port.steering();
  auto made = std::make_unique<SoftFlow>();
  made->context = qp->context;
  made->qp = &target;
  made->rule = steering.NextId();
  made->handle = static_cast<uint32_t>(made->rule.value());
  if (!steering.Add(made->rule, rule, *target.pair).ok()) {
    device.rules.Give();
    return Refuse(EINVAL);
  }
  ++target.rules;
  if (counters != nullptr) {
    counters->hits.push_back(steering.HitsOf(made->rule));
    ++counters->users;
    made->counters = counters;
  }
  return made.release();
}

int DestroyFlow(ibv_flow* flow) {
  auto* const ours = static_cast<SoftFlow*>(flow);
  SoftDevice& device = DeviceOf(flow->context);
  const std::lock_guard lock(device.gate);
  device.port.steering().Remove(ours->rule);
  device.rules.Give();
  --ours->qp->rules;
  if (ours->counters != nullptr) --ours->counters->users;
  delete ours;
  return 0;
}

}  // namespace sluice

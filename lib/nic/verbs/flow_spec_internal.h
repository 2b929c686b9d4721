// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_FLOW_SPEC_INTERNAL_H_
#define SLUICE_NIC_VERBS_FLOW_SPEC_INTERNAL_H_

// A rule in the form that ibv_create_flow(3) takes: the attributes, and one spec behind the other.

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/flow/rule.h"

namespace sluice {

class FlowSpec {
 public:
  // For `port`. kUnimplemented, with the capability, for what the form has no words for; never asks a device.
  static absl::StatusOr<FlowSpec> Of(const Rule& rule, uint8_t port);

  // Adds the action that counts. Valid as long as the counters.
  void Count(ibv_counters& counters);

  ibv_flow_attr* attr() { return reinterpret_cast<ibv_flow_attr*>(bytes_); }

 private:
  static constexpr size_t kMostSpecs = 16;  // Ethernet, IP and L4 twice, a tunnel or two, three actions

  template <typename Spec>
  void Add(Spec spec, ibv_flow_spec_type type, bool inner = false) {
    spec.type = inner ? static_cast<ibv_flow_spec_type>(type | IBV_FLOW_SPEC_INNER) : type;
    spec.size = sizeof(spec);
    std::memcpy(bytes_ + attr()->size, &spec, sizeof(spec));
    attr()->size = static_cast<uint16_t>(attr()->size + sizeof(spec));
    ++attr()->num_of_specs;
  }
  absl::Status AddHeaders(const HeadersMatch& headers, bool inner);
  void AddEthernet(const HeadersMatch& headers, bool inner);
  absl::Status AddIpv4(const Ipv4Match& match, bool inner);
  void AddIpv6(const Ipv6Match& match, bool inner);
  void AddPorts(const PortsMatch& match, ibv_flow_spec_type type, bool inner);
  void AddTunnel(const RuleMatch& match);
  void AddActions(const RuleActions& actions);

  alignas(8) uint8_t bytes_[sizeof(ibv_flow_attr) + kMostSpecs * sizeof(ibv_flow_spec)] = {};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_FLOW_SPEC_INTERNAL_H_

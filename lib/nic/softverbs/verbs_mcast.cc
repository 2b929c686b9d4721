// SPDX-License-Identifier: Apache-2.0
// Multicast groups, of raw packets by address: the last six bytes of the GID.
#include <algorithm>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

MacAddress GroupOf(const ibv_gid& gid) {
  std::array<uint8_t, MacAddress::kSize> mac;
  std::copy_n(gid.raw + sizeof(gid.raw) - mac.size(), mac.size(), mac.begin());
  return MacAddress(mac);
}

}  // namespace

int AttachMcast(ibv_qp* qp, const ibv_gid* gid, uint16_t) {
  SoftQp& ours = QpOf(qp);
  SoftDevice& device = DeviceOf(qp->context);
  const MacAddress group = GroupOf(*gid);
  if (!group.is_multicast()) return EINVAL;
  const std::lock_guard lock(device.gate);
  for (const auto& [mac, rule] : ours.groups) {
    if (mac == group) return 0;
  }
  if (!device.rules.Take()) return ENOMEM;
  const RuleId id = device.port.steering().NextId();
  const Rule rule{.match = {.outer = {.ethernet = EthernetMatch{.destination = group}}}};
  if (!device.port.steering().Add(id, rule, *ours.pair).ok()) {
    device.rules.Give();
    return EINVAL;
  }
  ours.groups.emplace_back(group, id);
  ++ours.rules;
  return 0;
}

int DetachMcast(ibv_qp* qp, const ibv_gid* gid, uint16_t) {
  SoftQp& ours = QpOf(qp);
  SoftDevice& device = DeviceOf(qp->context);
  const std::lock_guard lock(device.gate);
  const auto found = std::find_if(ours.groups.begin(), ours.groups.end(),
                                  [group = GroupOf(*gid)](const auto& one) { return one.first == group; });
  if (found == ours.groups.end()) return EINVAL;
  device.port.steering().Remove(found->second);
  device.rules.Give();
  --ours.rules;
  ours.groups.erase(found);
  return 0;
}

}  // namespace sluice

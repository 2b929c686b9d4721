// SPDX-License-Identifier: Apache-2.0
// Whether options of a switch and of its ports make sense, before anything is changed.

#include "absl/strings/str_cat.h"
#include "host/switch_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint16_t kMaxVlan = 4094;

absl::Status Refuse(absl::StatusCode code, std::string what, std::string remedy) {
  return ErrorStatus(
      code, {.device = "switch", .stage = "configure", .what = std::move(what), .remedy = std::move(remedy)});
}
absl::Status Invalid(std::string what, std::string remedy) {
  return Refuse(absl::StatusCode::kInvalidArgument, std::move(what), std::move(remedy));
}

absl::Status CheckVlans(const SwitchPortOptions& options) {
  const bool trunk = options.vlan_mode == VlanMode::kTrunk;
  if (options.vlan > kMaxVlan || (options.vlan == 0 && !trunk)) {
    return Invalid(absl::StrCat("VLAN ", options.vlan), "choose 1 to 4094; 0, for none, on trunks only");
  }
  if (!trunk && !options.allowed_vlans.empty()) {
    return Invalid("allowed_vlans on an access port", "make it a trunk, or leave the list empty");
  }
  for (const uint16_t vlan : options.allowed_vlans) {
    if (vlan < 1 || vlan > kMaxVlan) return Invalid(absl::StrCat("allowed VLAN ", vlan), "choose 1 to 4094");
  }
  return absl::OkStatus();
}

absl::Status CheckSources(const SwitchPortOptions& options) {
  for (const MacAddress& mac : options.allowed_sources) {
    if (mac.is_multicast() || mac.is_zero()) {
      return Invalid(absl::StrCat("allowed source ", mac.ToString()), "name addresses of single stations");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSwitch(const SwitchOptions& options) {
  if (options.pool == nullptr) return Invalid("no packet pool", "set SwitchOptions::pool");
  if (options.workers < 1 || options.workers > 1024) {
    return Invalid(absl::StrCat(options.workers, " workers"), "choose 1 to 1024");
  }
  if (options.max_ports < 1 || options.max_ports > 4096) {
    return Invalid(absl::StrCat("max_ports ", options.max_ports), "choose 1 to 4096");
  }
  if (options.max_addresses < 1 || options.max_addresses > (1u << 24)) {
    return Invalid(absl::StrCat("max_addresses ", options.max_addresses), "choose 1 to 16777216");
  }
  if (options.ageing < absl::Seconds(1) || options.ageing > absl::Hours(8)) {
    return Invalid(absl::StrCat("ageing ", absl::FormatDuration(options.ageing)), "choose 1 s to 8 h");
  }
  return absl::OkStatus();
}

absl::Status CheckPort(const SwitchPortOptions& options, const std::vector<SwitchPort>& others,
                       const SwitchOptions& owner) {
  if (absl::Status status = CheckVlans(options); !status.ok()) return status;
  if (absl::Status status = CheckSources(options); !status.ok()) return status;
  uint64_t reserved = options.max_addresses;
  for (const SwitchPort& other : others) {
    reserved += other.options.max_addresses;
    if (!options.name.empty() && other.options.name == options.name) {
      return Refuse(absl::StatusCode::kAlreadyExists, absl::StrCat("a port is called ", options.name),
                    "choose another name");
    }
  }
  if (reserved <= owner.max_addresses) return absl::OkStatus();
  return Refuse(absl::StatusCode::kResourceExhausted,
                absl::StrCat("the ports reserve ", reserved, " addresses of ", owner.max_addresses),
                "lower SwitchPortOptions::max_addresses or raise SwitchOptions::max_addresses");
}

std::bitset<kVlanIds> MembershipOf(const SwitchPortOptions& options) {
  std::bitset<kVlanIds> member;
  if (options.vlan_mode == VlanMode::kTrunk && options.allowed_vlans.empty()) {
    member.set();
    member.reset(kMaxVlan + 1);
  }
  for (const uint16_t vlan : options.allowed_vlans) member.set(vlan);
  member.set(options.vlan);
  member.reset(0);
  return member;
}

}  // namespace sluice

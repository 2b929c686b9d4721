// SPDX-License-Identifier: Apache-2.0
// What outlives a switch: out as plain values, and checked on the way back in.

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "host/switch_internal.h"
#include "sluice/base/saved_state.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

absl::Status Refuse(absl::StatusCode code, std::string what, std::string remedy) {
  return ErrorStatus(
      code, {.device = "switch", .stage = "restore", .what = std::move(what), .remedy = std::move(remedy)});
}
absl::Status Invalid(std::string what) {
  return Refuse(absl::StatusCode::kInvalidArgument, std::move(what), "start without the saved state");
}

absl::Status CheckAddress(const LearnedAddress& learned, absl::Duration ageing) {
  const MacAddress& mac = learned.address;
  if (mac.is_multicast() || mac.is_zero()) return Invalid(absl::StrCat("learned ", mac.ToString()));
  if (learned.vlan < 1 || learned.vlan > 4094) return Invalid(absl::StrCat("learned in VLAN ", learned.vlan));
  if (learned.age < absl::ZeroDuration()) {
    return Invalid(absl::StrCat(mac.ToString(), " seen in the future"));
  }
  return learned.age <= ageing ? absl::OkStatus() : Invalid(absl::StrCat(mac.ToString(), " is too old"));
}

// All ports, and the addresses on them, as if they were added one by one.
absl::Status CheckState(const SwitchState& state, const SwitchOptions& owner) {
  std::vector<SwitchPort> ports;
  std::map<PortId, std::bitset<kVlanIds>> members;
  for (const SwitchPort& port : state.ports) {
    if (port.id.value() >= owner.max_ports || members.contains(port.id)) {
      return Invalid(absl::StrCat("port ", port.id.value(), " is above max_ports, or there twice"));
    }
    if (absl::Status status = CheckPort(port.options, ports, owner); !status.ok()) return status;
    members[port.id] = MembershipOf(port.options);
    ports.push_back(port);
  }
  for (const LearnedAddress& learned : state.addresses) {
    if (absl::Status status = CheckAddress(learned, owner.ageing); !status.ok()) return status;
    const auto member = members.find(learned.port);
    if (member == members.end() || !member->second[learned.vlan]) {
      return Invalid(absl::StrCat(learned.address.ToString(), " is on a port that has not its VLAN"));
    }
  }
  return absl::OkStatus();
}

// A bit for each VLAN.
using VlanMap = std::array<uint8_t, kVlanIds / 8>;

VlanMap MapOf(const std::vector<uint16_t>& vlans) {
  VlanMap map{};
  for (const uint16_t vlan : vlans) map[vlan / 8] |= static_cast<uint8_t>(1 << vlan % 8);
  return map;
}

std::vector<uint16_t> VlansOf(const VlanMap& map) {
  std::vector<uint16_t> vlans;
  for (uint16_t vlan = 0; vlan < kVlanIds; ++vlan) {
    if ((map[vlan / 8] >> vlan % 8 & 1) != 0) vlans.push_back(vlan);
  }
  return vlans;
}

std::vector<uint8_t> BytesOf(const std::vector<MacAddress>& addresses) {
  std::vector<uint8_t> bytes;
  for (const MacAddress& mac : addresses) bytes.insert(bytes.end(), mac.bytes().begin(), mac.bytes().end());
  return bytes;
}

std::vector<MacAddress> AddressesOf(const std::vector<uint8_t>& bytes) {
  std::vector<MacAddress> addresses;
  for (size_t at = 0; at + MacAddress::kSize <= bytes.size(); at += MacAddress::kSize) {
    std::array<uint8_t, MacAddress::kSize> mac;
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), mac.size(), mac.begin());
    addresses.emplace_back(mac);
  }
  return addresses;
}

}  // namespace

void SwitchPort::Save(StateWriter& out) const {
  out.Put(1, id);
  out.Put(2, options.name);
  out.Put(3, options.vlan_mode);
  out.Put(4, options.vlan);
  if (!options.allowed_vlans.empty()) out.Put(5, MapOf(options.allowed_vlans));
  out.Put(6, options.inserts_vlan);
  out.Put(7, options.max_addresses);
  out.Put(8, BytesOf(options.allowed_sources));
}

void SwitchPort::Load(StateReader& in) {
  VlanMap allowed{};
  std::vector<uint8_t> sources;
  in.Read(1, id);
  in.Read(2, options.name);
  in.Read(3, options.vlan_mode, VlanMode::kTrunk);
  in.Read(4, options.vlan);
  if (in.Has(5)) in.Read(5, allowed);
  in.Read(6, options.inserts_vlan);
  in.Read(7, options.max_addresses);
  in.Read(8, sources);
  options.allowed_vlans = VlansOf(allowed);
  options.allowed_sources = AddressesOf(sources);
  if (sources.size() % MacAddress::kSize != 0) in.Refuse("half an allowed source address");
}

void LearnedAddress::Save(StateWriter& out) const {
  out.Put(1, vlan);
  out.Put(2, address.bytes());
  out.Put(3, port);
  out.Put(4, absl::ToInt64Seconds(age));
}

void LearnedAddress::Load(StateReader& in) {
  std::array<uint8_t, MacAddress::kSize> bytes{};
  int64_t seconds = 0;
  in.Read(1, vlan);
  in.Read(2, bytes);
  in.Read(3, port);
  in.Read(4, seconds);
  address = MacAddress(bytes);
  age = absl::Seconds(seconds);
}

void SwitchState::Save(StateWriter& out) const {
  out.Put(1, ports);
  out.Put(2, addresses);
}

void SwitchState::Load(StateReader& in) {
  in.Read(1, ports);
  in.Read(2, addresses);
}

SwitchState Switch::state() const { return {.ports = ports(), .addresses = addresses()}; }

absl::Status Switch::Restore(const SwitchState& state) {
  const std::lock_guard lock(control_->mutex);
  if (!control_->published->all.empty()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, "there are ports", "restore before AddPort");
  }
  if (absl::Status status = CheckState(state, options_); !status.ok()) return status;

  for (const SwitchPort& port : state.ports) PutPort(port.id, port.options);
  Publish();
  const AddressTable::Learner learner(control_->table, AddressTable::kWait);
  const Tick now = TickNow(*options_.clock);
  for (const LearnedAddress& learned : state.addresses) {
    control_->table.Restore({.key = MakeAddressKey(learned.vlan, RawMac(learned.address)),
                             .port = learned.port,
                             .age = static_cast<Tick>(absl::ToInt64Seconds(learned.age))},
                            now);
  }
  return absl::OkStatus();
}

}  // namespace sluice

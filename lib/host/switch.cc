// SPDX-License-Identifier: Apache-2.0
// Control of the switch: ports come, change and go.

#include "sluice/host/switch.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/asymmetric_fence_internal.h"
#include "host/switch_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

absl::Status Refuse(absl::StatusCode code, std::string what, std::string remedy) {
  return ErrorStatus(
      code, {.device = "switch", .stage = "configure", .what = std::move(what), .remedy = std::move(remedy)});
}

std::vector<uint64_t> SortedSources(const SwitchPortOptions& options) {
  std::vector<uint64_t> sources;
  for (const MacAddress& mac : options.allowed_sources) sources.push_back(RawMac(mac));
  std::sort(sources.begin(), sources.end());
  return sources;
}

bool SameVlans(const SwitchPortOptions& a, const SwitchPortOptions& b) {
  return a.vlan_mode == b.vlan_mode && a.vlan == b.vlan && a.allowed_vlans == b.allowed_vlans;
}

void AddCounters(const CounterSet<SwitchCounter, kSwitchCounterCount>& counters, SwitchStats& stats) {
  stats.copies += counters[SwitchCounter::kCopies];
  stats.learned += counters[SwitchCounter::kLearned];
  stats.moved += counters[SwitchCounter::kMoved];
  stats.evicted += counters[SwitchCounter::kEvicted];
  stats.expired += counters[SwitchCounter::kExpired];
  stats.learn_busy += counters[SwitchCounter::kLearnBusy];
  stats.learn_full += counters[SwitchCounter::kLearnFull];
  stats.unknown += counters[SwitchCounter::kUnknown];
  stats.multicast += counters[SwitchCounter::kMulticast];
  stats.reserved += counters[SwitchCounter::kReserved];
  const uint64_t stray = counters[SwitchCounter::kStray];
  stats.received += stray;
  stats.drops[DropReason::kPortRemoved] += stray;
  stats.retired_drops[DropReason::kPortRemoved] += stray;
}

uint64_t RandomSeed() {
  std::random_device random;
  return uint64_t{random()} << 32 | random();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Switch>> Switch::Create(const SwitchOptions& options) {
  if (absl::Status status = CheckSwitch(options); !status.ok()) return status;
  return std::unique_ptr<Switch>(new Switch(options));
}

Switch::Switch(const SwitchOptions& options)
    : options_(options),
      seats_(std::make_unique<Seat[]>(options.workers)),
      control_(std::make_unique<Control>(
          AddressTable::Options{.max_addresses = options.max_addresses,
                                .max_ports = options.max_ports,
                                .ageing = static_cast<uint16_t>(absl::ToInt64Seconds(options.ageing)),
                                .seed = RandomSeed()})) {
  for (uint16_t i = 0; i < options.workers; ++i) {
    seats_[i].index = i;
    seats_[i].waiting.resize((options.max_ports + size_t{63}) / 64);
  }
  Publish();
}

Switch::~Switch() = default;

std::vector<SwitchPort> Switch::Control::List() const {
  std::vector<SwitchPort> ports;
  for (const Slot& slot : slots) {
    if (slot.port != nullptr) ports.push_back({slot.port->id, slot.options});
  }
  return ports;
}

absl::StatusOr<PortId> Switch::AddPort(const SwitchPortOptions& options) {
  const std::lock_guard lock(control_->mutex);
  if (absl::Status status = CheckPort(options, control_->List(), options_); !status.ok()) return status;
  std::vector<Control::Slot>& slots = control_->slots;
  const auto free = std::find_if(slots.begin(), slots.end(),
                                 [](const Control::Slot& slot) { return slot.port == nullptr; });
  if (free == slots.end()) {
    return Refuse(absl::StatusCode::kResourceExhausted,
                  absl::StrCat("all ", slots.size(), " ports are taken"), "raise SwitchOptions::max_ports");
  }
  const PortId id(static_cast<uint16_t>(free - slots.begin()));
  PutPort(id, options);
  Publish();
  return id;
}

// Fills the slot; its lanes stay when it has some.
void Switch::PutPort(PortId id, const SwitchPortOptions& options) {
  Control::Slot& slot = control_->slots[id.value()];
  if (slot.lanes == nullptr) slot.lanes = std::make_unique<Lane[]>(options_.workers);
  slot.options = options;
  if (options.name.empty()) slot.options.name = absl::StrCat("port ", id.value());
  auto port = std::make_unique<Port>();
  port->id = id;
  port->vlan = options.vlan;
  port->trunk = options.vlan_mode == VlanMode::kTrunk;
  port->inserts_vlan = options.inserts_vlan;
  port->lanes = slot.lanes.get();
  port->sources = SortedSources(options);
  port->member = MembershipOf(options);
  slot.port = std::move(port);
  AddressTable& table = control_->table;
  const AddressTable::Learner learner(table, AddressTable::kWait);
  table.SetBound(id, options.max_addresses);
}

absl::Status Switch::UpdatePort(PortId id, const SwitchPortOptions& options) {
  const std::lock_guard lock(control_->mutex);
  Control::Slot* slot = control_->Find(id);
  if (slot == nullptr) return NoSuchPort(id);
  std::vector<SwitchPort> others = control_->List();
  std::erase_if(others, [id](const SwitchPort& other) { return other.id == id; });
  if (absl::Status status = CheckPort(options, others, options_); !status.ok()) return status;
  const bool same_vlans = SameVlans(slot->options, options);
  const std::unique_ptr<Port> before = std::move(slot->port);  // turns may use it until Publish returns
  PutPort(id, options);
  Publish();
  if (!same_vlans) Forget(id);
  return absl::OkStatus();
}

absl::Status Switch::RemovePort(PortId id) {
  const std::lock_guard lock(control_->mutex);
  Control::Slot* slot = control_->Find(id);
  if (slot == nullptr) return NoSuchPort(id);
  const std::unique_ptr<Port> before = std::move(slot->port);
  Publish();
  Forget(id);

  Control::Retired& retired = control_->retired;
  for (uint16_t worker = 0; worker < options_.workers; ++worker) {
    Lane& lane = slot->lanes[worker];
    lane.drops.Add(DropReason::kPortRemoved, lane.egress.size());
    lane.egress.Clear();
    retired.received += lane.received.value();
    retired.sent += lane.sent.value();
    retired.drops += lane.drops.Read();
  }
  *slot = Control::Slot();
  return absl::OkStatus();
}

size_t Switch::ForgetAddresses(PortId id) {
  const std::lock_guard lock(control_->mutex);
  return control_->Find(id) != nullptr ? Forget(id) : 0;
}

size_t Switch::Forget(PortId id) {
  AddressTable& table = control_->table;
  const AddressTable::Learner learner(table, AddressTable::kWait);
  return table.Forget(id);
}

// Shows turns the ports as they are now, and returns when none sees the ports as they were.
void Switch::Publish() {
  auto ports = std::make_unique<Ports>();
  for (const Control::Slot& slot : control_->slots) {
    ports->by_id.push_back(slot.port.get());
    if (slot.port != nullptr) ports->all.push_back(slot.port.get());
  }
  ports_.store(ports.get(), std::memory_order_release);
  WaitForTurns();
  control_->published = std::move(ports);
}

// A turn that is not seen after the fence will itself see whatever was published before it: see Turn::Begin.
void Switch::WaitForTurns() const {
  HeavyFence();
  for (uint16_t worker = 0; worker < options_.workers; ++worker) {
    const std::atomic<uint64_t>& turn = seats_[worker].turn;
    const uint64_t seen = turn.load(std::memory_order_acquire);
    if (seen % 2 == 0) continue;
    while (turn.load(std::memory_order_acquire) == seen) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
}

absl::Status Switch::NoSuchPort(PortId id) {
  return Refuse(absl::StatusCode::kNotFound, absl::StrCat("no port ", id.value()),
                "ask Switch::ports for those there are");
}

// What there is.
// -----------------------------------------------------------------------------------------------------------
std::vector<SwitchPort> Switch::ports() const {
  const std::lock_guard lock(control_->mutex);
  return control_->List();
}

SwitchPortStats Switch::StatsOf(const Port& port) const {
  SwitchPortStats stats;
  for (uint16_t worker = 0; worker < options_.workers; ++worker) {
    const Lane& lane = port.lanes[worker];
    stats.received += lane.received.value();
    stats.sent += lane.sent.value();
    stats.held += lane.held.value();
    stats.drops += lane.drops.Read();
  }
  const AddressTable::Learner learner(control_->table, AddressTable::kWait);
  stats.addresses = static_cast<uint32_t>(control_->table.size(port.id));
  return stats;
}

absl::StatusOr<SwitchPortStats> Switch::port_stats(PortId id) const {
  const std::lock_guard lock(control_->mutex);
  const Control::Slot* slot = control_->Find(id);
  if (slot == nullptr) return NoSuchPort(id);
  return StatsOf(*slot->port);
}

SwitchStats Switch::stats() const {
  const std::lock_guard lock(control_->mutex);
  SwitchStats stats{.received = control_->retired.received,
                    .sent = control_->retired.sent,
                    .drops = control_->retired.drops,
                    .retired_drops = control_->retired.drops};
  for (const Port* port : control_->published->all) {
    const SwitchPortStats of_port = StatsOf(*port);
    stats.received += of_port.received;
    stats.sent += of_port.sent;
    stats.held += of_port.held;
    stats.drops += of_port.drops;
  }
  for (uint16_t worker = 0; worker < options_.workers; ++worker) {
    AddCounters(seats_[worker].counters, stats);
  }
  return stats;
}

std::vector<LearnedAddress> Switch::addresses() const {
  const std::lock_guard lock(control_->mutex);
  std::vector<LearnedAddress> addresses;
  for (const AddressTable::Entry& entry : control_->table.List(TickNow(*options_.clock))) {
    addresses.push_back(
        {static_cast<uint16_t>(entry.key >> 48), MacOf(entry.key), entry.port, absl::Seconds(entry.age)});
  }
  std::sort(addresses.begin(), addresses.end(), [](const LearnedAddress& a, const LearnedAddress& b) {
    return std::tie(a.vlan, a.address) < std::tie(b.vlan, b.address);
  });
  return addresses;
}

}  // namespace sluice

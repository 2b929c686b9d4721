// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_HOST_SWITCH_INTERNAL_H_
#define SLUICE_HOST_SWITCH_INTERNAL_H_

// What a switch is made of, and who may touch it:
//
//   Control  the control thread that holds its mutex      Slot by port: owns Port and Lanes
//     │ publishes
//   Ports    read by turns, never changed: a change is a new Ports, and the old one goes when no turn uses it
//     └ Port ─▶ Lane by worker: written by that worker's turn
//   Seat     by worker: what a turn has apart from ports
//   Table    the learned addresses: see address_table_internal.h

#include <bitset>
#include <memory>
#include <mutex>
#include <vector>

#include "base/coarse_clock_internal.h"
#include "host/address_table_internal.h"
#include "host/held_loans_internal.h"
#include "sluice/host/switch.h"

namespace sluice {

inline constexpr size_t kVlanIds = 4096;

// A gauge of one writer.
class Gauge {
 public:
  void Set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A port as one worker sees it.
struct alignas(kCacheLine) Switch::Lane {
  Burst egress;
  HeldLoans loans;  // of what stays in it
  Counter received;
  Counter sent;
  Gauge held;
  DropCounters drops;
};

// A port as turns see it.
struct Switch::Port {
  PortId id;
  uint16_t vlan = 0;  // of frames without a tag, in and out; 0 on a trunk without native VLAN
  bool trunk = false;
  bool inserts_vlan = false;
  Lane* lanes = nullptr;          // by worker
  std::vector<uint64_t> sources;  // allowed ones, as RawMac gives them, sorted; empty = any
  std::bitset<kVlanIds> member;   // VLANs that may come in and go out

  // Of a frame with a tag; 0 when the port does not take it.
  uint16_t VlanOf(uint16_t tci) const {
    const uint16_t tagged = tci & 0x0fff;
    if (tagged == 0) return vlan;  // carries a priority only
    return trunk && member[tagged] ? tagged : uint16_t{0};
  }
};

struct Switch::Ports {
  std::vector<const Port*> by_id;  // null where there is none
  std::vector<const Port*> all;

  const Port* Find(PortId id) const { return id.value() < by_id.size() ? by_id[id.value()] : nullptr; }
};

enum class SwitchCounter : uint8_t {
  kCopies,
  kLearned,
  kMoved,
  kEvicted,
  kExpired,
  kLearnBusy,
  kLearnFull,
  kUnknown,
  kMulticast,
  kReserved,
  kStray,  // given to Forward for a port that is not there
};
inline constexpr size_t kSwitchCounterCount = static_cast<size_t>(SwitchCounter::kStray) + 1;

struct alignas(kCacheLine) Switch::Seat {
  // Odd within a turn. Alone on its line but for what the same worker writes.
  std::atomic<uint64_t> turn{0};
  uint16_t index = 0;
  Tick swept = 0;
  std::vector<uint64_t> waiting;  // a bit for each port whose egress may have packets
  CounterSet<SwitchCounter, kSwitchCounterCount> counters;
};

struct Switch::Control {
  // Sums of ports that are gone.
  struct Retired {
    uint64_t received = 0;
    uint64_t sent = 0;
    DropCounts drops;
  };
  struct Slot {
    SwitchPortOptions options;
    std::unique_ptr<Port> port;  // null: free
    std::unique_ptr<Lane[]> lanes;
  };

  explicit Control(const AddressTable::Options& table_options)
      : slots(table_options.max_ports), table(table_options) {}

  // The slot of a port that is there, or null.
  Slot* Find(PortId id) {
    return id.value() < slots.size() && slots[id.value()].port != nullptr ? &slots[id.value()] : nullptr;
  }
  std::vector<SwitchPort> List() const;

  mutable std::mutex mutex;  // control calls, one at a time
  std::vector<Slot> slots;   // by port id
  std::unique_ptr<const Ports> published;
  Retired retired;
  AddressTable table;
};

// kInvalidArgument, kAlreadyExists or kResourceExhausted, naming the option.
absl::Status CheckSwitch(const SwitchOptions& options);
absl::Status CheckPort(const SwitchPortOptions& options, const std::vector<SwitchPort>& others,
                       const SwitchOptions& owner);

std::bitset<kVlanIds> MembershipOf(const SwitchPortOptions& options);

// Six bytes of an address as a number, the first byte lowest: one load in a frame.
inline uint64_t RawMac(const MacAddress& mac) {
  uint64_t raw = 0;
  for (size_t i = 0; i < MacAddress::kSize; ++i) raw |= uint64_t{mac.bytes()[i]} << (8 * i);
  return raw;
}

inline MacAddress MacOf(uint64_t raw) {
  std::array<uint8_t, MacAddress::kSize> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(raw >> (8 * i));
  return MacAddress(bytes);
}

inline Tick TickNow(const Clock& clock) { return static_cast<Tick>(CoarseNow(clock) / 1'000'000'000); }

}  // namespace sluice

#endif  // SLUICE_HOST_SWITCH_INTERNAL_H_

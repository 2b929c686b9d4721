// SPDX-License-Identifier: Apache-2.0
// The data path of the switch: what one worker does with one burst.

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/asymmetric_fence_internal.h"
#include "host/copy_packet_internal.h"
#include "host/switch_internal.h"
#include "host/vlan_tag_internal.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

static_assert(std::endian::native == std::endian::little,
              "addresses are loaded as numbers, first byte lowest");
constexpr uint64_t kMacMask = (uint64_t{1} << 48) - 1;
constexpr uint64_t kGroupBit = 1;
constexpr uint64_t kVlanType = 0x0081;  // 0x8100 as it is loaded

uint64_t Load64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// 01-80-C2-00-00-00 to -0F (IEEE 802.1Q, table 8-1).
bool IsReserved(uint64_t destination) { return (destination & 0xf0ffffffffff) == 0x0000c28001; }

// How many of the packets, from the first on, are such that what was found out about the first is true of them, too.
size_t CountAlike(Packet* const* packets, size_t n) {
  const uint8_t* const first = packets[0]->data();
  const uint64_t addresses = Load64(first);
  const uint64_t addresses_and_type = Load64(first + MacAddress::kSize);
  size_t alike = 1;
  for (; alike < n; ++alike) {
    const Packet& packet = *packets[alike];
    if (alike + 2 < n) __builtin_prefetch(packets[alike + 2]->data());
    if (packet.head_length() < sizeof(EthernetHeader) || HasTagApart(packet) ||
        Load64(packet.data()) != addresses || Load64(packet.data() + MacAddress::kSize) != addresses_and_type)
      break;
  }
  return alike;
}

// How much of the table one worker sweeps a second: all of it in about a minute, long before ages wrap.
constexpr size_t kSweepParts = 64;

}  // namespace

// Frames of a burst that go the same way: one behind the other, of the same addresses, and without a tag; or any one frame.
struct Switch::Turn::Run {
  Packet* const* packets;
  size_t count;
  uint64_t source;       // mixed, with the VLAN
  uint64_t destination;  // likewise; unused when `group`
  uint16_t vlan;
  TagPlace tag;
  bool group;
};

Switch::Turn::Turn(Switch& owner, WorkerId worker)
    : switch_(owner), seat_(owner.seats_[worker.value()]), ports_(Begin(seat_, owner.ports_)) {}

// Either this turn sees what was published, or WaitForTurns sees the turn.
const Switch::Ports& Switch::Turn::Begin(Seat& seat, const std::atomic<const Ports*>& ports) {
  seat.turn.store(seat.turn.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  LightFence();
  return *ports.load(std::memory_order_acquire);
}

Switch::Turn::~Turn() {
  seat_.turn.store(seat_.turn.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void Switch::Turn::Forward(PortId ingress, Burst& burst) {
  if (burst.empty()) return;
  const Port* port = ports_.Find(ingress);
  if (port == nullptr) return DropStray(burst);
  ReadClock();

  // 1. Read the headers; start fetching where the addresses are in the table.
  Run runs[Burst::kCapacity];
  const size_t admitted = Admit(*port, burst, runs);
  // 2. All sources before any destination: by then the lines have come.
  Learn(ingress, runs, admitted);
  // 3. Into the bursts of the egress ports.
  Deliver(*port, runs, admitted);
  burst.DropBack(burst.size());
}

void Switch::Turn::ReadClock() {
  if (clock_read_) return;
  clock_read_ = true;
  now_ = TickNow(*switch_.options_.clock);
  if (seat_.swept == now_) return;
  seat_.swept = now_;
  AddressTable& table = switch_.control_->table;
  if (const AddressTable::Learner learner{table}; learner) {
    seat_.counters.Add(SwitchCounter::kExpired, table.Expire(now_, table.bucket_count() / kSweepParts));
  }
}

size_t Switch::Turn::Admit(const Port& port, const Burst& burst, Run* runs) {
  const AddressTable& table = switch_.control_->table;
  Packet* const* packets = burst.begin();
  const size_t count = burst.size();
  port.lanes[seat_.index].received.Add(count);

  size_t admitted = 0;
  for (size_t i = 0, alike = 1; i < count; i += alike) {
    if (i + 2 < count) __builtin_prefetch(packets[i + 2]->data());
    const Packet& packet = *packets[i];
    alike = 1;
    if (packet.head_length() < sizeof(EthernetHeader)) {
      Drop(port, &packets[i], 1, DropReason::kTooShort);
      continue;
    }
    const uint64_t destination = Load64(packet.data()) & kMacMask;
    const uint64_t source_and_type = Load64(packet.data() + MacAddress::kSize);
    const uint64_t source = source_and_type & kMacMask;

    Run& run = runs[admitted];
    run.packets = packets + i;
    run.tag = TagPlace::kNone;
    run.vlan = port.vlan;
    const bool may_have_tag = source_and_type >> 48 == kVlanType || HasTagApart(packet);
    if (may_have_tag) [[unlikely]] {
      run.tag = FindTag(packet);
      if (run.tag != TagPlace::kNone) run.vlan = port.VlanOf(TagAt(packet, run.tag));
    } else {
      alike = CountAlike(packets + i, count - i);
    }
    run.count = alike;
    if (run.vlan == 0) {
      Drop(port, run, DropReason::kNoVlan);
      continue;
    }
    if ((source & kGroupBit) != 0 || source == 0) {
      Drop(port, run, DropReason::kMalformed);
      continue;
    }
    if (!port.sources.empty() && !std::binary_search(port.sources.begin(), port.sources.end(), source)) {
      Drop(port, run, DropReason::kSpoofed);
      continue;
    }

    run.source = table.Mix(MakeAddressKey(run.vlan, source));
    table.Prefetch(run.source);
    run.group = (destination & kGroupBit) != 0;
    if (!run.group) [[likely]] {
      run.destination = table.Mix(MakeAddressKey(run.vlan, destination));
      table.Prefetch(run.destination);
    } else if (IsReserved(destination)) {
      seat_.counters.Add(SwitchCounter::kReserved, alike);
      Drop(port, run, DropReason::kNoDestination);
      continue;
    }
    ++admitted;
  }
  return admitted;
}

void Switch::Turn::Learn(PortId ingress, const Run* runs, size_t count) {
  AddressTable& table = switch_.control_->table;
  uint16_t unknown[Burst::kCapacity];
  size_t unknowns = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0 && runs[i].source == runs[i - 1].source) continue;
    if (!table.Refresh(runs[i].source, ingress, now_)) unknown[unknowns++] = static_cast<uint16_t>(i);
  }
  if (unknowns != 0) [[unlikely]] {
    LearnNew(ingress, runs, unknown, unknowns);
  }
}

void Switch::Turn::LearnNew(PortId ingress, const Run* runs, const uint16_t* which, size_t count) {
  AddressTable& table = switch_.control_->table;
  const AddressTable::Learner learner(table);
  if (!learner) return seat_.counters.Add(SwitchCounter::kLearnBusy, count);

  uint64_t evicted = 0;
  for (size_t i = 0; i < count; ++i) {
    switch (table.Learn(runs[which[i]].source, ingress, now_, evicted)) {
      case AddressTable::Learned::kNew:
        seat_.counters.Add(SwitchCounter::kLearned);
        break;
      case AddressTable::Learned::kMoved:
        seat_.counters.Add(SwitchCounter::kMoved);
        break;
      case AddressTable::Learned::kNoRoom:
        seat_.counters.Add(SwitchCounter::kLearnFull);
        break;
      case AddressTable::Learned::kKnown:
        break;
    }
  }
  seat_.counters.Add(SwitchCounter::kEvicted, evicted);
}

// Most frames have no tag and stay in the VLAN of both ports.
inline void Switch::Turn::Queue(const Port& port, const Run& run) {
  const bool plain = run.tag == TagPlace::kNone && run.vlan == port.vlan;
  if (!plain) [[unlikely]] {
    for (size_t i = 0; i < run.count; ++i) QueueWithTag(port, run, run.packets[i]);
    return;
  }
  Append(port, run.packets, run.count);
}

// As many as there is room for.
inline void Switch::Turn::Append(const Port& port, Packet* const* packets, size_t count) {
  Burst& egress = port.lanes[seat_.index].egress;
  const size_t fit = std::min(count, egress.room());
  if (egress.empty()) seat_.waiting[port.id.value() / 64] |= uint64_t{1} << (port.id.value() % 64);
  if (count == 1 && fit == 1) {
    egress.PushRaw(*packets);
    return;
  }
  std::copy_n(packets, fit, egress.Extend(fit));
  if (fit < count) [[unlikely]]
    Drop(port, packets + fit, count - fit, DropReason::kTransmitRingFull);
}

void Switch::Turn::QueueWithTag(const Port& port, const Run& run, Packet* packet) {
  if (port.lanes[seat_.index].egress.room() == 0)
    return Drop(port, &packet, 1, DropReason::kTransmitRingFull);
  if (!port.member[run.vlan]) return Drop(port, &packet, 1, DropReason::kNoVlan);
  const bool ready = run.vlan == port.vlan ? RemoveTag(*packet, run.tag)
                                           : SetTag(*packet, run.tag, run.vlan, port.inserts_vlan);
  if (!ready) return Drop(port, &packet, 1, DropReason::kTooLong);
  Append(port, &packet, 1);
}

void Switch::Turn::Deliver(const Port& ingress, const Run* runs, size_t count) {
  const AddressTable& table = switch_.control_->table;
  const Port* port = nullptr;  // null: unknown, or added since this turn began
  uint64_t looked_up = AddressTable::kNoKey;
  for (size_t i = 0; i < count; ++i) {
    const Run& run = runs[i];
    if (run.group) {
      seat_.counters.Add(SwitchCounter::kMulticast, run.count);
      Flood(ingress, run);
      continue;
    }
    if (run.destination != looked_up) {
      looked_up = run.destination;
      const uint32_t found = table.Find(looked_up, now_);
      port = found < ports_.by_id.size() ? ports_.by_id[found] : nullptr;
    }
    if (port == nullptr) {
      seat_.counters.Add(SwitchCounter::kUnknown, run.count);
      Flood(ingress, run);
    } else if (port == &ingress) {
      Drop(ingress, run, DropReason::kSameSegment);
    } else {
      Queue(*port, run);
    }
  }
}

// The last port gets the packets themselves, since by then their copies are made.
void Switch::Turn::Flood(const Port& ingress, const Run& run) {
  const Port* last = nullptr;
  for (const Port* port : ports_.all) {
    if (port == &ingress || !port->member[run.vlan]) continue;
    if (last != nullptr) QueueCopies(*last, run);
    last = port;
  }
  if (last == nullptr) return Drop(ingress, run, DropReason::kNoDestination);
  Queue(*last, run);
}

void Switch::Turn::QueueCopies(const Port& port, const Run& run) {
  Lane& lane = port.lanes[seat_.index];
  seat_.counters.Add(SwitchCounter::kCopies, run.count);
  for (size_t i = 0; i < run.count; ++i) {
    if (lane.egress.room() == 0) return lane.drops.Add(DropReason::kTransmitRingFull, run.count - i);
    Packet* const copy = CopyPacket(*switch_.options_.pool, *run.packets[i]).release();
    if (copy == nullptr) {
      lane.drops.Add(DropReason::kNoBuffer);
      continue;
    }
    Run one = run;
    one.packets = &copy;
    one.count = 1;
    Queue(port, one);
  }
}

void Switch::Turn::Drop(const Port& port, const Run& run, DropReason reason) {
  Drop(port, run.packets, run.count, reason);
}

void Switch::Turn::Drop(const Port& port, Packet* const* packets, size_t count, DropReason reason) {
  port.lanes[seat_.index].drops.Add(reason, count);
  PacketPool::Put(packets, count);
}

void Switch::Turn::DropStray(Burst& burst) {
  seat_.counters.Add(SwitchCounter::kStray, burst.size());
  burst.Clear();
}

// Egress.
// -----------------------------------------------------------------------------------------------------------
Burst* Switch::Turn::NextWaiting(PortId& port, size_t from) {
  for (size_t word = from / 64; word < seat_.waiting.size(); ++word, from = word * 64) {
    uint64_t& bits = seat_.waiting[word];
    for (uint64_t rest = bits >> (from % 64) << (from % 64); rest != 0; rest &= rest - 1) {
      port = PortId(static_cast<uint16_t>(word * 64 + static_cast<size_t>(std::countr_zero(rest))));
      const Port* found = ports_.Find(port);
      if (found != nullptr && !found->lanes[seat_.index].egress.empty()) {
        return &found->lanes[seat_.index].egress;
      }
      bits &= ~(rest & -rest);  // of a port that is gone; what it held was dropped with it
    }
  }
  return nullptr;
}

void Switch::Turn::NoteFlushed(PortId port, size_t before) {
  Lane& lane = ports_.Find(port)->lanes[seat_.index];
  lane.sent.Add(before - lane.egress.size());
  lane.loans.Look(lane.egress, *switch_.options_.clock, lane.drops);
  lane.held.Set(lane.egress.size());
  if (lane.egress.empty()) {
    lane.egress.Clear();
    seat_.waiting[port.value() / 64] &= ~(uint64_t{1} << (port.value() % 64));
  }
}

bool Switch::Turn::holding() const {
  return std::any_of(seat_.waiting.begin(), seat_.waiting.end(), [](uint64_t bits) { return bits != 0; });
}

}  // namespace sluice

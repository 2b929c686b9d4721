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

// How much of the table one worker sweeps a second: all of it in about a minute, long before ages wrap.
constexpr size_t kSweepParts = 64;

}  // namespace

struct Switch::Turn::Frame {
  Packet* packet;
  uint64_t source;       // mixed, with the VLAN
  uint64_t destination;  // likewise; unused when `group`
  uint16_t vlan;
  TagPlace tag;
  bool group;
};

// What the untagged frame of one destination that was looked at last has found: those that follow it are mostly alike.
struct Switch::Turn::Train {
  bool Has(uint64_t of_destination, uint64_t of_source_and_type) const {
    return of_destination == raw_destination && of_source_and_type == raw_source_and_type;
  }
  uint64_t raw_destination = ~uint64_t{0};  // of no frame
  uint64_t raw_source_and_type = 0;
  uint64_t source = 0;  // as in Frame, likewise the next
  uint64_t destination = 0;
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
  Frame frames[Burst::kCapacity];
  const size_t admitted = Admit(*port, burst, frames);
  burst.DropBack(burst.size());
  // 2. All sources before any destination: by then the lines have come.
  Learn(ingress, frames, admitted);
  // 3. Into the bursts of the egress ports.
  Deliver(*port, frames, admitted);
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

size_t Switch::Turn::Admit(const Port& port, Burst& burst, Frame* frames) {
  const AddressTable& table = switch_.control_->table;
  Packet* const* packets = burst.begin();
  const size_t count = burst.size();
  port.lanes[seat_.index].received.Add(count);

  size_t admitted = 0;
  Train train;
  for (size_t i = 0; i < count; ++i) {
    if (i + 2 < count) __builtin_prefetch(packets[i + 2]->data());
    Packet& packet = *packets[i];
    if (packet.head_length() < sizeof(EthernetHeader)) {
      Drop(port, &packet, DropReason::kTooShort);
      continue;
    }
    const uint64_t destination = Load64(packet.data()) & kMacMask;
    const uint64_t source_and_type = Load64(packet.data() + MacAddress::kSize);
    const uint64_t source = source_and_type & kMacMask;

    Frame& frame = frames[admitted];
    frame.packet = &packet;
    frame.tag = TagPlace::kNone;
    frame.vlan = port.vlan;
    const bool tag_apart = packet.vlan_stripped || packet.offload.insert_vlan;
    if (!tag_apart && train.Has(destination, source_and_type)) {
      frame.source = train.source;
      frame.destination = train.destination;
      frame.group = false;
      ++admitted;
      continue;
    }
    const bool may_have_tag = source_and_type >> 48 == kVlanType || tag_apart;
    if (may_have_tag) [[unlikely]] {
      frame.tag = FindTag(packet);
      if (frame.tag != TagPlace::kNone) frame.vlan = port.VlanOf(TagAt(packet, frame.tag));
    }
    if (frame.vlan == 0) {
      Drop(port, &packet, DropReason::kNoVlan);
      continue;
    }
    if ((source & kGroupBit) != 0 || source == 0) {
      Drop(port, &packet, DropReason::kMalformed);
      continue;
    }
    if (!port.sources.empty() && !std::binary_search(port.sources.begin(), port.sources.end(), source)) {
      Drop(port, &packet, DropReason::kSpoofed);
      continue;
    }

    frame.source = table.Mix(MakeAddressKey(frame.vlan, source));
    table.Prefetch(frame.source);
    const bool group = (destination & kGroupBit) != 0;
    frame.group = group;
    if (!group) [[likely]] {
      frame.destination = table.Mix(MakeAddressKey(frame.vlan, destination));
      table.Prefetch(frame.destination);
      if (!may_have_tag) train = {destination, source_and_type, frame.source, frame.destination};
    } else if (IsReserved(destination)) {
      seat_.counters.Add(SwitchCounter::kReserved);
      Drop(port, &packet, DropReason::kNoDestination);
      continue;
    }
    ++admitted;
  }
  return admitted;
}

void Switch::Turn::Learn(PortId ingress, const Frame* frames, size_t count) {
  AddressTable& table = switch_.control_->table;
  uint16_t unknown[Burst::kCapacity];
  size_t unknowns = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0 && frames[i].source == frames[i - 1].source) continue;  // of a train
    if (!table.Refresh(frames[i].source, ingress, now_)) unknown[unknowns++] = static_cast<uint16_t>(i);
  }
  if (unknowns != 0) [[unlikely]] {
    LearnNew(ingress, frames, unknown, unknowns);
  }
}

void Switch::Turn::LearnNew(PortId ingress, const Frame* frames, const uint16_t* which, size_t count) {
  AddressTable& table = switch_.control_->table;
  const AddressTable::Learner learner(table);
  if (!learner) return seat_.counters.Add(SwitchCounter::kLearnBusy, count);

  uint64_t evicted = 0;
  for (size_t i = 0; i < count; ++i) {
    switch (table.Learn(frames[which[i]].source, ingress, now_, evicted)) {
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

// Most frames have no tag and stay in the VLAN of both ports; the burst of their egress has begun and is not full.
inline void Switch::Turn::Queue(const Port& port, const Frame& frame) {
  Lane& lane = port.lanes[seat_.index];
  const bool plain = frame.tag == TagPlace::kNone && frame.vlan == port.vlan;
  if (!plain || lane.egress.empty() || lane.egress.room() == 0) [[unlikely]] {
    return QueueWithCare(port, lane, frame);
  }
  lane.egress.PushRaw(frame.packet);
}

void Switch::Turn::QueueWithCare(const Port& port, Lane& lane, const Frame& frame) {
  if (lane.egress.room() == 0) return Drop(port, frame.packet, DropReason::kTransmitRingFull);
  if (frame.tag != TagPlace::kNone || frame.vlan != port.vlan) {
    if (!port.member[frame.vlan]) return Drop(port, frame.packet, DropReason::kNoVlan);
    const bool ready = frame.vlan == port.vlan
                           ? RemoveTag(*frame.packet, frame.tag)
                           : SetTag(*frame.packet, frame.tag, frame.vlan, port.inserts_vlan);
    if (!ready) return Drop(port, frame.packet, DropReason::kTooLong);
  }
  if (lane.egress.empty()) seat_.waiting[port.id.value() / 64] |= uint64_t{1} << (port.id.value() % 64);
  lane.egress.PushRaw(frame.packet);
}

void Switch::Turn::Deliver(const Port& ingress, const Frame* frames, size_t count) {
  const AddressTable& table = switch_.control_->table;
  const Port* port = nullptr;  // null: unknown, or added since this turn began
  uint64_t looked_up = AddressTable::kNoKey;
  for (size_t i = 0; i < count; ++i) {
    const Frame& frame = frames[i];
    if (frame.group) {
      seat_.counters.Add(SwitchCounter::kMulticast);
      Flood(ingress, frame);
      continue;
    }
    if (frame.destination != looked_up) {  // else of the same train
      looked_up = frame.destination;
      const uint32_t found = table.Find(looked_up, now_);
      port = found < ports_.by_id.size() ? ports_.by_id[found] : nullptr;
    }
    if (port == nullptr) {
      seat_.counters.Add(SwitchCounter::kUnknown);
      Flood(ingress, frame);
    } else if (port == &ingress) {
      Drop(ingress, frame.packet, DropReason::kSameSegment);
    } else {
      Queue(*port, frame);
    }
  }
}

// The last port gets the packet itself, since by then its copies are made.
void Switch::Turn::Flood(const Port& ingress, const Frame& frame) {
  const Port* last = nullptr;
  for (const Port* port : ports_.all) {
    if (port == &ingress || !port->member[frame.vlan]) continue;
    if (last != nullptr) QueueCopy(*last, frame);
    last = port;
  }
  if (last == nullptr) return Drop(ingress, frame.packet, DropReason::kNoDestination);
  Queue(*last, frame);
}

void Switch::Turn::QueueCopy(const Port& port, Frame frame) {
  Lane& lane = port.lanes[seat_.index];
  seat_.counters.Add(SwitchCounter::kCopies);
  if (lane.egress.room() == 0) return lane.drops.Add(DropReason::kTransmitRingFull);
  frame.packet = CopyPacket(*switch_.options_.pool, *frame.packet).release();
  if (frame.packet == nullptr) return lane.drops.Add(DropReason::kNoBuffer);
  Queue(port, frame);
}

void Switch::Turn::Drop(const Port& port, Packet* packet, DropReason reason) {
  port.lanes[seat_.index].drops.Add(reason);
  PacketPool::Put(&packet, 1);
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

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "nic/model/pair_way_internal.h"
#include "nic/offload/first_lines_internal.h"

namespace sluice {
namespace {

// Writes into plain packets where they arrive, up to one that is not; returns how many. Looks at four, then writes into
// them: their addresses are still at hand, and no packet is written into that does not go.
size_t ArrivePlain(Packet* const* packets, size_t n, Packet::Arrival where, FirstLines& lines) {
  constexpr size_t kGroup = 4;
  Packet* const* next = packets;
  for (Packet* const* const groups = next + n / kGroup * kGroup; next != groups; next += kGroup) {
    const std::array group = {next[0], next[1], next[2], next[3]};
    for (const Packet* packet : group) lines.Add(*packet);
    if (lines.any_odd()) [[unlikely]]
      return static_cast<size_t>(next - packets);
    for (Packet* packet : group) packet->Arrive(where);
  }
  for (Packet* const* const end = packets + n; next != end; ++next) {
    lines.Add(**next);
    if (lines.any_odd()) [[unlikely]]
      break;
    (*next)->Arrive(where);
  }
  return static_cast<size_t>(next - packets);
}

}  // namespace

PairWay::LaneSet::LaneSet(uint16_t count, uint32_t ring) {
  for (uint16_t i = 0; i < count; ++i) lanes.push_back(std::make_unique<PairLane>(ring));
  if (count == 1) only = lanes[0].get();
}

// Starts with another lane each time, so that a lane that is always full starves no other.
size_t PairWay::LaneSet::TakeInTurn(Burst& burst) {
  const size_t before = burst.size();
  for (size_t i = 0; i < lanes.size() && burst.room() > 0; ++i) {
    const size_t room = burst.room();
    const size_t taken = lanes[(turn + i) % lanes.size()]->Pop(burst.Extend(room), room);
    burst.DropBack(room - taken);
  }
  ++turn;
  return burst.size() - before;
}

bool PairWay::LaneSet::EmptyBeforeSleep() const {
  return std::all_of(lanes.begin(), lanes.end(), [](const auto& lane) { return lane->EmptyBeforeSleep(); });
}

// The first set has no lanes: there is always one to receive from.
PairWay::PairWay() : sending_(new LaneSet(0, 0)), receiving_(sending_), oldest_(sending_) {}

PairWay::~PairWay() {
  while (oldest_ != nullptr) delete std::exchange(oldest_, oldest_->next.load(std::memory_order_relaxed));
}

void PairWay::OpenSender(uint16_t lanes, uint32_t ring) {
  FreePassed();
  if (sending_->lanes.size() == lanes && sending_->lanes[0]->capacity() == ring) return;
  auto* const fresh = new LaneSet(lanes, ring);
  // Last of all: who sees the new set knows that nothing will be added to the old one.
  sending_->next.store(fresh, std::memory_order_release);
  sending_ = fresh;
}

void PairWay::FreePassed() {
  // Acquire: the receiver is done with all sets before the one it is at.
  const LaneSet* const now = receiving_.load(std::memory_order_acquire);
  while (oldest_ != now) delete std::exchange(oldest_, oldest_->next.load(std::memory_order_relaxed));
}

PairWay::Moved PairWay::PushPlain(uint16_t lane, Burst& burst, uint32_t max_frame) {
  if (!receiver_open_.load(std::memory_order_acquire)) [[unlikely]]
    return {};
  // 1. The packets that will be taken, and no others: who keeps a packet finds it as it was.
  PairLane& to = *sending_->lanes[lane];
  Packet* const* const packets = burst.begin();
  const size_t room = std::min(burst.size(), to.Room(burst.size()));
  const Packet::Arrival arrival = arrival_.load(std::memory_order_relaxed);
  FirstLines lines(max_frame);
  const size_t plain = ArrivePlain(packets, room, arrival, lines);
  if (plain == 0) [[unlikely]]
    return {};

  // 2. On their way.
  const uint64_t bytes = plain == room ? lines.bytes() : BytesOf(packets, plain);
  to.Push(packets, {.packets = static_cast<uint32_t>(plain),
                    .bytes = static_cast<uint32_t>(bytes),
                    .max_frame = max_frame,
                    .arrival = arrival});
  burst.DropFront(plain);
  if (receiver_sleeps_.load(std::memory_order_relaxed)) [[unlikely]]
    Wake();
  return {.packets = plain, .bytes = bytes};
}

absl::Status PairWay::OpenReceiver(const char* device) {
  const std::lock_guard lock(bell_gate_);
  if (absl::Status opened = bell_.Open(device); !opened.ok()) return opened;
  receiver_open_.store(true, std::memory_order_release);
  return absl::OkStatus();
}

void PairWay::CloseReceiver() {
  receiver_open_.store(false, std::memory_order_release);
  receiver_sleeps_.store(false, std::memory_order_relaxed);
  listening_ = false;
  const std::lock_guard lock(bell_gate_);
  bell_.Close();
}

// Nothing was found in the current set. If there is a next one, the sender has left this one for good, and
// one more look shows all that is left in it.
size_t PairWay::ReceiveFromNext(Burst& burst) {
  LaneSet* set = receiving_.load(std::memory_order_relaxed);
  while (LaneSet* const next = set->next.load(std::memory_order_acquire)) {
    if (const size_t taken = set->Take(burst); taken > 0) return taken;
    receiving_.store(next, std::memory_order_release);  // FreePassed
    set = next;
    if (const size_t taken = set->Take(burst); taken > 0) return taken;
  }
  return 0;
}

bool PairWay::Arm() {
  receiver_sleeps_.store(true, std::memory_order_relaxed);
  listening_ = true;
  HeavyFence();
  const LaneSet* const set = receiving_.load(std::memory_order_relaxed);
  if (set->EmptyBeforeSleep() && set->next.load(std::memory_order_acquire) == nullptr) return true;
  StopListening();
  return false;
}

void PairWay::StopListening() {
  listening_ = false;
  if (receiver_sleeps_.exchange(false, std::memory_order_acq_rel)) {
    bell_.TakeIn();
  } else {
    bell_.Expect();  // a sender took the notice down: it has rung, or is about to
  }
}

void PairWay::Wake() {
  if (!receiver_sleeps_.exchange(false, std::memory_order_acq_rel)) return;  // another lane was first
  const std::lock_guard lock(bell_gate_);
  if (bell_.fd() >= 0) bell_.Ring();
}

size_t PairWay::Drain() {
  size_t freed = 0;
  Burst burst;
  while (const size_t taken = Receive(burst)) {
    freed += taken;
    burst.Clear();
  }
  return freed;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "nic/model/pair_way_internal.h"

namespace sluice {
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

absl::Status PairWay::OpenReceiver(const char* device) {
  const std::lock_guard lock(bell_gate_);
  if (absl::Status opened = bell_.Open(device); !opened.ok()) return opened;
  receiver_open_.store(true, std::memory_order_release);
  return absl::OkStatus();
}

void PairWay::CloseReceiver() {
  receiver_open_.store(false, std::memory_order_release);
  terms_.store({}, std::memory_order_relaxed);
  receiver_sleeps_.store(false, std::memory_order_relaxed);
  SetListening(false);
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
    SetListening(listening_);
    set = next;
    if (const size_t taken = set->Take(burst); taken > 0) return taken;
  }
  return 0;
}

bool PairWay::Arm() {
  receiver_sleeps_.store(true, std::memory_order_relaxed);
  SetListening(true);
  HeavyFence();
  const LaneSet* const set = receiving_.load(std::memory_order_relaxed);
  if (set->EmptyBeforeSleep() && set->next.load(std::memory_order_acquire) == nullptr) return true;
  StopListening();
  return false;
}

void PairWay::StopListening() {
  SetListening(false);
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

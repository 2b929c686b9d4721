// SPDX-License-Identifier: Apache-2.0
// From the wire to the rings, for all queues at once.
#include <bit>

#include "nic/model/receiver_internal.h"

namespace sluice {

// Nobody waits for the lock, and it is held for one burst. Acquire and release: what the last pumper wrote
// (rings, counters, tables) is now this one's.
bool ModelReceiver::TakePump() {
  return !pumping_.load(std::memory_order_relaxed) && !pumping_.exchange(true, std::memory_order_acquire);
}
void ModelReceiver::LetPumpGo() { pumping_.store(false, std::memory_order_release); }

bool ModelReceiver::Pump() {
  if (!TakePump()) return true;
  const bool more = PumpBurst();
  if (sleepers_.load(std::memory_order_relaxed) != 0) [[unlikely]]
    ArmForSleepers();
  LetPumpGo();
  return more;
}

// Whether more may be behind what the wire gave, or there was no ring for it.
bool ModelReceiver::PumpBurst() {
  if (tables_->changing()) [[unlikely]]
    tables_->Advance(clock_);
  bool filled = false;
  if (arrivals_.empty() && wire_.Receive(arrivals_) > 0) {
    filled = arrivals_.room() == 0;
    InspectBurst(arrivals_);
  }
  if (!arrivals_.empty()) Distribute();
  return filled || !arrivals_.empty();
}

// 1. Each packet to its ring, where nobody sees it yet. 2. The rings made visible, one write for each.
void ModelReceiver::Distribute() {
  uint64_t touched = 0;
  for (; !arrivals_.empty(); arrivals_.DropFront(1)) {
    Packet& packet = arrivals_[0];
    ModelRxQueue& queue = *queues_[packet.ingress_queue.value()];
    if (queue.Stage(&packet)) {
      touched |= queue.bit();
    } else if (lossless_) {
      break;  // stays in front until there is room
    } else {
      queue.Drop(&packet, queue.full());
    }
  }
  Publish(touched);
}

void ModelReceiver::Publish(uint64_t touched) {
  for (uint64_t left = touched; left != 0; left &= left - 1) queues_[std::countr_zero(left)]->Publish();
  const uint64_t asleep = sleepers_.load(std::memory_order_relaxed) & touched;
  if (asleep != 0) [[unlikely]]
    Wake(asleep);
}

void ModelReceiver::Wake(uint64_t queues) {
  for (uint64_t left = queues; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    if (Rise(uint64_t{1} << i)) queues_[i]->Ring();
  }
}

bool ModelReceiver::Sleep(uint64_t bit, const PacketRing& ring) {
  if (!wire_.traits().sleeps) return false;
  sleepers_.fetch_or(bit, std::memory_order_relaxed);
  HeavyFence();
  if (!ring.EmptyBeforeSleep() || !TakePump()) return false;
  // Arrivals that wait for room on another ring come on when its poller makes room, and wake this queue then.
  const bool armed = !arrivals_.empty() || wire_.Arm();
  LetPumpGo();
  return armed;
}

// Somebody sleeps, and this poller may not be back for long: it leaves the wire armed. What arrives
// meanwhile is pumped; when it does not end, the sleepers have to help.
void ModelReceiver::ArmForSleepers() {
  constexpr int kRounds = 4;
  for (int round = 0; round < kRounds; ++round) {
    if (!arrivals_.empty() || wire_.Arm()) return;
    PumpBurst();
  }
  Wake(sleepers_.load(std::memory_order_relaxed));
}

}  // namespace sluice

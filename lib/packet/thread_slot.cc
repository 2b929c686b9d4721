// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <atomic>
#include <bit>

#include "packet/thread_slot_internal.h"

namespace sluice {
namespace {

constexpr uint32_t kWordBits = 64;
constexpr uint32_t kUnassigned = kThreadSlots;
constexpr uint32_t kEnding = kThreadSlots + 1;

constinit std::array<std::atomic<uint64_t>, kThreadSlots / kWordBits> slots_in_use{};

// The lowest free slot, so that caches in use stay together; kUnassigned when there is none.
uint32_t TakeLowest() {
  for (uint32_t word = 0; word < slots_in_use.size(); ++word) {
    for (uint64_t used = slots_in_use[word].load(std::memory_order_relaxed); used != ~uint64_t{0};
         used = slots_in_use[word].load(std::memory_order_relaxed)) {
      const uint32_t slot = word * kWordBits + static_cast<uint32_t>(std::countr_one(used));
      if (ClaimThreadSlot(slot)) return slot;
    }
  }
  return kUnassigned;
}

// Made on the first use of a slot only, so that the fast path reads a plain number with no guard.
struct SlotHolder {
  ~SlotHolder() {
    if (thread_slot < kThreadSlots) ReleaseThreadSlot(thread_slot);
    thread_slot = kEnding;
  }
  bool made = false;
};
thread_local SlotHolder slot_holder;

}  // namespace

constinit thread_local uint32_t thread_slot = kUnassigned;

uint32_t AssignThreadSlot() {
  if (thread_slot == kEnding) return kEnding;
  thread_slot = TakeLowest();
  slot_holder.made = true;
  return thread_slot;
}

// Acquire pairs with the release below: whoever gets a slot sees the caches as its last holder left them.
bool ClaimThreadSlot(uint32_t slot) {
  const uint64_t bit = uint64_t{1} << (slot % kWordBits);
  return (slots_in_use[slot / kWordBits].fetch_or(bit, std::memory_order_acquire) & bit) == 0;
}

void ReleaseThreadSlot(uint32_t slot) {
  const uint64_t bit = uint64_t{1} << (slot % kWordBits);
  slots_in_use[slot / kWordBits].fetch_and(~bit, std::memory_order_release);
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_THREAD_SLOT_INTERNAL_H_
#define SLUICE_PACKET_THREAD_SLOT_INTERNAL_H_

// A small number for each running thread, by which every pool finds that thread's cache. Taken on first use,
// given back when the thread ends, and then given to another: what a pool keeps for the slot passes to the
// next thread that has it, so neither threads nor pools need to know of each other's end.
//
// The one piece of process-wide state in the library: threads outlive and outnumber any object that could
// hold it.

#include <cstdint>

namespace sluice {

inline constexpr uint32_t kThreadSlots = 128;

// Of the calling thread, or kThreadSlots and more while there are more threads than slots, or while the
// thread is ending. Read by ThreadSlot only.
extern constinit thread_local uint32_t thread_slot;

// Takes a slot for the calling thread; the same values.
uint32_t AssignThreadSlot();

inline uint32_t ThreadSlot() {
  const uint32_t slot = thread_slot;
  return slot < kThreadSlots ? slot : AssignThreadSlot();
}

// Takes a given slot that no thread has, so that what it left can be collected; false if a thread has it.
bool ClaimThreadSlot(uint32_t slot);
void ReleaseThreadSlot(uint32_t slot);

}  // namespace sluice

#endif  // SLUICE_PACKET_THREAD_SLOT_INTERNAL_H_

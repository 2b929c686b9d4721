// SPDX-License-Identifier: Apache-2.0
#include "nic/verbs/mlx5_receiver_internal.h"

namespace sluice {

void Mlx5Receiver::Prepare(uint32_t bytes, uint32_t key, uint8_t* first, uint32_t apart) {
  for (uint32_t i = 0; i < rings_.segment_count; ++i) {
    Segment(i) = {
        .bytes = bytes, .key = key, .address = reinterpret_cast<uintptr_t>(first) + uint64_t{apart} * i};
  }
}

uint32_t Mlx5Receiver::Drain() {
  constexpr uint32_t kFiller = 1u << 31;
  uint32_t frames = 0;
  for (Mlx5Arrival arrival; Next(arrival);) {
    if (OpcodeOf(arrival.owner) == Mlx5Opcode::kReceived && (arrival.bytes & kFiller) == 0) ++frames;
  }
  Release();
  return frames;
}

uint32_t Mlx5Receiver::Restart() {
  const uint32_t frames = Drain();
  posted_ = 0;
  TellMlx5(*rings_.segment_record, 0);
  return frames;
}

// The card takes an asking once, by its number, and only if nothing came since the place that it names.
void Mlx5Receiver::Arm() {
  const uint32_t asked = (events_ & 3) << 28 | (released_ & kReadMask);
  TellMlx5(rings_.completion_records[1], asked);
  Mlx5OrderRegisters();
  const Be64 doorbell(uint64_t{asked} << 32 | rings_.completion_queue);
  __atomic_store_n(rings_.event_register, std::bit_cast<uint64_t>(doorbell), __ATOMIC_RELAXED);
  Mlx5OrderRegisters();
}

}  // namespace sluice

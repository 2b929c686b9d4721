// SPDX-License-Identifier: Apache-2.0
#include "nic/verbs/mlx5_receiver_internal.h"

namespace sluice {

void Mlx5Receiver::Prepare(uint32_t bytes, uint32_t key) {
  for (uint32_t i = 0; i < rings_.segment_count; ++i) {
    rings_.segments[i] = {.bytes = bytes, .key = key, .address = 0};
  }
}

uint32_t Mlx5Receiver::Restart() {
  uint32_t frames = 0;
  for (Mlx5Arrival arrival; Next(arrival);) {
    if (OpcodeOf(arrival.said->owner) == Mlx5Opcode::kReceived) ++frames;
  }
  Release();
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

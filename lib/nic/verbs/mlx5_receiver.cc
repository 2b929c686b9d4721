// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "nic/verbs/mlx5_receiver_internal.h"

namespace sluice {

void Mlx5Receiver::Prepare(uint32_t bytes, uint32_t key) {
  for (uint32_t i = 0; i < rings_.segment_count; ++i) {
    rings_.segments[i] = {.bytes = bytes, .key = key, .address = 0};
  }
}

bool Mlx5Receiver::OpenBlock(const Mlx5Completion& title) {
  const uint32_t members = title.bytes.get();
  spoilt_ = members < 2 || members > rings_.completion_count;
  if (spoilt_) return false;
  in_block_ = members;
  of_block_ = 0;
  return true;
}

// The title stays as it is until the block was read: the card may write there only when it was released.
bool Mlx5Receiver::NextOfBlock(Mlx5Arrival& arrival) {
  const Mlx5Completion& title = PlaceOf(read_);
  const uint32_t block = of_block_ < Mlx5Block::kMinis ? 1 : of_block_ - of_block_ % Mlx5Block::kMinis;
  Mlx5MiniCompletion mini;
  std::memcpy(&mini,
              reinterpret_cast<const uint8_t*>(&PlaceOf(read_ + block)) +
                  of_block_ % Mlx5Block::kMinis * sizeof(mini),
              sizeof(mini));
  arrival = {.said = &title,
             .bytes = mini.bytes.get(),
             .hash = mini.hash.get(),
             .counter = static_cast<uint16_t>(title.counter.get() + of_block_)};
  if (++of_block_ == in_block_) CloseBlock();
  return true;
}

void Mlx5Receiver::CloseBlock() {
  for (uint32_t i = 1; i < in_block_; ++i) {
    PlaceOf(read_ + i).owner = Mlx5Owner(Mlx5Opcode::kNothing, RoundOf(read_ + i));
  }
  read_ += in_block_;
  in_block_ = 0;
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

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MLX5_RECEIVER_INTERNAL_H_
#define SLUICE_NIC_VERBS_MLX5_RECEIVER_INTERNAL_H_

// The rings of one receive queue of an mlx5 card, read and written here and not by libmlx5. Has met no card.
//
//   Post ──▶ work ring ──▶ card ──▶ completion ring ──Next──▶ Mlx5Arrival     Release: the card may write there again
//
// Who reads many works on a copy, which he puts back: what is read next then stays in registers.
// Threads: one at a time. No call but Arm leaves memory for the card's registers, and none is a system call.

#include <cstdint>
#include <cstring>

#include "nic/verbs/mlx5_ring_internal.h"
#include "sluice/packet/packet.h"

namespace sluice {

// Where the rings are, as mlx5dv_init_obj(3) tells.
struct Mlx5Rings {
  Mlx5Completion* completions = nullptr;
  uint32_t completion_count = 0;           // of these two, powers of two
  uint32_t* completion_records = nullptr;  // how far they were read; when to send an event
  uint64_t* event_register = nullptr;
  uint32_t completion_queue = 0;  // its number

  Mlx5Segment* segments = nullptr;
  uint32_t segment_count = 0;  // a power of two
  uint32_t segment_step = 1;   // segments from one request to the next, of which the last is used
  uint32_t* segment_record = nullptr;
};

// What came, and what of it each member of a block has for itself.
struct Mlx5Arrival {
  const Mlx5Completion* said;  // until Release
  uint32_t bytes;
  uint32_t hash;
  uint16_t counter;
  uint8_t owner;
};

class Mlx5Receiver {
 public:
  Mlx5Receiver() = default;
  explicit Mlx5Receiver(const Mlx5Rings& rings) : rings_(rings) {}

  // Each segment that is posted from now on is as long, and has this key; number i starts `apart` * i behind `first`.
  void Prepare(uint32_t bytes, uint32_t key, uint8_t* first = nullptr, uint32_t apart = 0);

  // Whether something came, which Next gives.
  bool HasNext() const {
    const uint8_t owner = OwnerOf(PlaceOf(read_));
    return OpcodeOf(owner) != Mlx5Opcode::kNothing && (owner & kMlx5Round) == RoundOf(read_);
  }
  bool in_block() const { return in_block_ != 0; }

  // What came next; false when nothing has, or the ring is spoilt.
  [[gnu::always_inline]] bool Next(Mlx5Arrival& arrival) {
    if (in_block_ != 0) return NextOfBlock(arrival);
    const Mlx5Completion& place = PlaceOf(read_);
    const uint8_t owner = OwnerOf(place);
    if (owner != Mlx5Owner(Mlx5Opcode::kReceived, RoundOf(read_))) {
      if (OpcodeOf(owner) == Mlx5Opcode::kNothing || (owner & kMlx5Round) != RoundOf(read_)) return false;
      if ((owner & kMlx5FormatMask) == kMlx5FormatMask) return OpenBlock(place) && NextOfBlock(arrival);
    }
    ++read_;
    arrival = {.said = &place,
               .bytes = place.bytes.get(),
               .hash = place.hash.get(),
               .counter = place.counter.get(),
               .owner = owner};
    return true;
  }
  // What Next gave last, and which was of no block, is what it gives next.
  void Unread() { --read_; }
  // A block says that it has none, one, or more than fit: where the next completion is, nobody knows.
  bool spoilt() const { return spoilt_; }

  // Whether an arrival is of the request of that number, counted since Restart.
  bool IsOf(const Mlx5Arrival& arrival, uint64_t number) const {
    return ((arrival.counter ^ static_cast<uint32_t>(number)) & (rings_.segment_count - 1)) == 0;
  }

  // The card may write where what was read is.
  void Release() {
    if (read_ == released_) return;
    released_ = read_;
    TellMlx5(rings_.completion_records[0], released_ & kReadMask);
  }

  // One doorbell for all, each `headroom` behind the start of its buffer; there is room.
  void Post(Packet* const* packets, uint32_t count, uint32_t headroom) {
    for (uint32_t i = 0; i < count; ++i) {
      Segment(posted_ + i).address = reinterpret_cast<uintptr_t>(packets[i]->buffer()) + headroom;
    }
    PostAgain(count);
  }
  // The next segments as they are.
  void PostAgain(uint32_t count) {
    posted_ += count;
    TellMlx5(*rings_.segment_record, posted_ & kPostedMask);
  }

  // Passes over what came. Returns how many frames that were, of a striding queue without fillers.
  uint32_t Drain();
  // Of a queue in reset: the same, and begins anew.
  uint32_t Restart();

  // Asks for an event when there is more than was released (mlx5_arm_cq of rdma-core). Each event that came is to be told.
  void Arm();
  void CountEvents(uint32_t events) { events_ += events; }

 private:
  static constexpr uint32_t kReadMask = (1 << 24) - 1;
  static constexpr uint32_t kPostedMask = (1 << 16) - 1;

  Mlx5Completion& PlaceOf(uint32_t number) const {
    return rings_.completions[number & (rings_.completion_count - 1)];
  }
  uint8_t RoundOf(uint32_t number) const { return (number & rings_.completion_count) != 0 ? kMlx5Round : 0; }
  Mlx5Segment& Segment(uint32_t number) const {
    const uint32_t request = number & (rings_.segment_count - 1);
    return rings_.segments[(request + 1) * rings_.segment_step - 1];
  }
  bool OpenBlock(const Mlx5Completion& title) {
    const uint32_t members = title.bytes.get();
    spoilt_ = members < 2 || members > rings_.completion_count;
    if (spoilt_) return false;
    in_block_ = members;
    of_block_ = 0;
    return true;
  }
  // The title stays as it is until the block was read: the card may write there only when it was released.
  [[gnu::always_inline]] bool NextOfBlock(Mlx5Arrival& arrival) {
    const Mlx5Completion& title = PlaceOf(read_);
    const uint32_t at = of_block_ % Mlx5Block::kMinis;
    const uint32_t minis = of_block_ < Mlx5Block::kMinis ? 1 : of_block_ - at;
    Mlx5MiniCompletion mini;
    std::memcpy(&mini, reinterpret_cast<const uint8_t*>(&PlaceOf(read_ + minis)) + at * sizeof(mini),
                sizeof(mini));
    arrival = {.said = &title,
               .bytes = mini.bytes.get(),
               .hash = mini.hash.get(),
               .counter = static_cast<uint16_t>(title.counter.get() + of_block_),
               .owner = title.owner};
    if (++of_block_ == in_block_) CloseBlock();
    return true;
  }
  void CloseBlock() {
    for (uint32_t i = 1; i < in_block_; ++i) {
      PlaceOf(read_ + i).owner = Mlx5Owner(Mlx5Opcode::kNothing, RoundOf(read_ + i));
    }
    read_ += in_block_;
    in_block_ = 0;
  }

  Mlx5Rings rings_;
  uint32_t read_ = 0;  // completions ever; of a block, when all of it was
  uint32_t released_ = 0;
  uint32_t in_block_ = 0;  // completions of the block that is being read; 0 = none is
  uint32_t of_block_ = 0;  // how many of them were read
  uint32_t posted_ = 0;    // segments since Restart
  uint32_t events_ = 0;
  bool spoilt_ = false;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MLX5_RECEIVER_INTERNAL_H_

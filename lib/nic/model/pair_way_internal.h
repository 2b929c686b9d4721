// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_PAIR_WAY_INTERNAL_H_
#define SLUICE_NIC_MODEL_PAIR_WAY_INTERNAL_H_

// One direction of a pair wire: the sender's lanes, and what the receiver needs to sleep beside them.
//
//   oldest ─▶ set ─next─▶ set ─next─▶ set      a set of lanes for each shape that the sender was opened with
//              ▲ receiving             ▲ sending
//
// The sender appends, the receiver empties a set before it walks on, the sender frees what was passed: either
// side may be closed and opened again while the other is at work, and no frame is lost or overtaken by it.
//
// One look for both ends: a sender that looks at each packet anyway (PushPlain) writes into it where it arrives, and
// tells the receiver what it found, so that the receiver need not touch it (ReceiveKnown). Either end may do without.

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "nic/model/doorbell_internal.h"
#include "nic/model/pair_lane_internal.h"
#include "sluice/nic/wire.h"
#include "sluice/packet/burst.h"

namespace sluice {

class PairWay {
 public:
  struct Moved {
    size_t packets = 0;
    uint64_t bytes = 0;
  };

  PairWay();
  ~PairWay();

  // Sender.
  // -----------------------------------------------------------------------------------------------------
  // Makes the lanes ready. Control thread, with no lane in use.
  void OpenSender(uint16_t lanes, uint32_t ring);

  // Takes from the front of `burst` what fits; nothing while the receiver is closed.
  size_t Push(uint16_t lane, Burst& burst) {
    if (!receiver_open_.load(std::memory_order_acquire)) [[unlikely]]
      return 0;
    const size_t taken = sending_->lanes[lane]->Push(burst.begin(), burst.size());
    burst.DropFront(taken);
    if (receiver_sleeps_.load(std::memory_order_relaxed)) [[unlikely]]
      Wake();
    return taken;
  }

  // The same for plain frames: no longer than `max_frame`, and asking for nothing. Stops at one that is not, or up to
  // three in front of it.
  Moved PushPlain(uint16_t lane, Burst& burst, uint32_t max_frame);

  // Receiver.
  // ---------------------------------------------------------------------------------------------------
  absl::Status OpenReceiver(const char* device);
  void CloseReceiver();
  bool receiver_open() const { return receiver_open_.load(std::memory_order_acquire); }

  size_t Receive(Burst& burst) {
    if (listening_) [[unlikely]]
      StopListening();
    const size_t taken = receiving_.load(std::memory_order_relaxed)->Take(burst);
    return taken > 0 ? taken : ReceiveFromNext(burst);
  }
  bool Arm();
  int fd() const { return bell_.fd(); }

  // Where its packets arrive, for senders to write into them. Control thread.
  void TellArrival(Packet::Arrival where) { arrival_.store(where, std::memory_order_relaxed); }
  // Receives of what waits in front the packets to which nothing is left to be done: they arrived where was told last, and
  // none is longer than `max_frame`. None may be, while others wait, which Receive takes.
  Moved ReceiveKnown(Burst& burst, uint32_t max_frame);

  // Frees what is under way and returns how many; as the receiver, or with neither side open.
  size_t Drain();

 private:
  struct LaneSet {
    LaneSet(uint16_t count, uint32_t ring);
    size_t Take(Burst& burst);
    size_t TakeInTurn(Burst& burst);
    bool EmptyBeforeSleep() const;

    std::vector<std::unique_ptr<PairLane>> lanes;
    PairLane* only = nullptr;  // where there is one
    size_t turn = 0;           // the lane to start with; receiver
    std::atomic<LaneSet*> next{nullptr};
  };

  size_t ReceiveFromNext(Burst& burst);
  void Wake();
  void StopListening();
  void FreePassed();

  // The receiver's notices to senders. Rarely written.
  std::atomic<bool> receiver_open_{false};
  std::atomic<bool> receiver_sleeps_{false};
  std::atomic<Packet::Arrival> arrival_{};
  LaneSet* sending_;

  alignas(kCacheLine) std::atomic<LaneSet*> receiving_;
  bool listening_ = false;  // receiver_sleeps_ was set and not yet looked at again

  LaneSet* oldest_;       // sender's control thread
  std::mutex bell_gate_;  // a sender that rings against a receiver that closes
  Doorbell bell_;
};

inline size_t PairWay::LaneSet::Take(Burst& burst) {
  if (lanes.size() != 1) return TakeInTurn(burst);
  const size_t room = burst.room();
  const size_t taken = lanes[0]->Pop(burst.Extend(room), room);
  burst.DropBack(room - taken);
  return taken;
}

inline PairWay::Moved PairWay::ReceiveKnown(Burst& burst, uint32_t max_frame) {
  Moved moved;
  PairLane* const lane = receiving_.load(std::memory_order_relaxed)->only;
  if (lane == nullptr || listening_) [[unlikely]]
    return moved;
  const Packet::Arrival here = arrival_.load(std::memory_order_relaxed);
  while (const Manifest* const next = lane->Next()) {
    const size_t packets = next->packets;
    if (packets > burst.room() || next->max_frame > max_frame || next->arrival != here) [[unlikely]]
      break;
    moved.packets += packets;
    moved.bytes += next->bytes;
    lane->Pop(burst.Extend(packets), *next);
  }
  return moved;
}

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_PAIR_WAY_INTERNAL_H_

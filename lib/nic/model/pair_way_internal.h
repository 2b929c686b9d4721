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

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "nic/model/doorbell_internal.h"
#include "nic/model/pair_lane_internal.h"
#include "nic/offload/first_lines_internal.h"
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
  // seven in front of it; takes none where the receiver told no terms.
  Moved PushPlain(PairLane& lane, Burst& burst, uint32_t max_frame);
  // For PushPlain; until OpenSender is called again.
  PairLane& lane(uint16_t i) { return *sending_->lanes[i]; }

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

  // What senders may do for it, until it is closed. Control thread.
  void Tell(Terms terms) { terms_.store(terms, std::memory_order_relaxed); }
  // Receives of what waits in front the packets to which nothing is left to be done: they came on the terms that were told
  // last. None may be, while others wait, which Receive takes.
  Moved ReceiveKnown(Burst& burst);

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

  static size_t ArrivePlain(Packet* const* packets, size_t n, Packet::Arrival where, FirstLines& lines);
  size_t ReceiveFromNext(Burst& burst);
  void SetListening(bool listening) {
    listening_ = listening;
    quick_ = listening ? nullptr : receiving_.load(std::memory_order_relaxed)->only;
  }
  void Wake();
  void StopListening();
  void FreePassed();

  // The receiver's notices to senders. Rarely written.
  std::atomic<bool> receiver_open_{false};
  std::atomic<bool> receiver_sleeps_{false};
  std::atomic<Terms> terms_{};
  LaneSet* sending_;

  alignas(kCacheLine) std::atomic<LaneSet*> receiving_;
  PairLane* quick_ = nullptr;  // of ReceiveKnown: the only lane, but for null while listening
  bool listening_ = false;     // receiver_sleeps_ was set and not yet looked at again

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

// Writes into plain packets where they arrive, up to one that is not; returns how many. Looks at eight, then writes into
// them: their addresses are still at hand, and no packet is written into that does not go.
inline size_t PairWay::ArrivePlain(Packet* const* packets, size_t n, Packet::Arrival where,
                                   FirstLines& lines) {
  constexpr size_t kGroup = 8;
  Packet* const* next = packets;
  for (Packet* const* const groups = next + n / kGroup * kGroup; next != groups; next += kGroup) {
    const std::array group = {next[0], next[1], next[2], next[3], next[4], next[5], next[6], next[7]};
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

// Part of its only caller, a queue's Send, for which a call is a notable part of a burst.
[[gnu::always_inline]] inline PairWay::Moved PairWay::PushPlain(PairLane& lane, Burst& burst,
                                                                uint32_t max_frame) {
  const Terms terms = terms_.load(std::memory_order_acquire);
  if (terms.max_frame() == 0) [[unlikely]]
    return {};
  // 1. The packets that will be taken, and no others: who keeps a packet finds it as it was.
  Packet* const* const packets = burst.begin();
  const size_t room = std::min(burst.size(), lane.Room(burst.size()));
  FirstLines lines(std::min(max_frame, terms.max_frame()));
  const size_t plain = ArrivePlain(packets, room, terms.arrival(), lines);
  if (plain == 0) [[unlikely]]
    return {};

  // 2. On their way.
  const uint64_t bytes = plain == room ? lines.bytes() : BytesOf(packets, plain);
  lane.Push(packets,
            {.terms = terms, .packets = static_cast<uint32_t>(plain), .bytes = static_cast<uint32_t>(bytes)});
  burst.DropFront(plain);
  if (receiver_sleeps_.load(std::memory_order_relaxed)) [[unlikely]]
    Wake();
  return {.packets = plain, .bytes = bytes};
}

inline PairWay::Moved PairWay::ReceiveKnown(Burst& burst) {
  Moved moved;
  PairLane* const lane = quick_;
  if (lane == nullptr) [[unlikely]]
    return moved;
  const Terms terms = terms_.load(std::memory_order_relaxed);
  while (const Manifest* const next = lane->Next()) {
    const size_t packets = next->packets;
    if (packets > burst.room() || next->terms != terms) [[unlikely]]
      break;
    moved.packets += packets;
    moved.bytes += next->bytes;
    lane->Pop(burst.Extend(packets), *next);
  }
  return moved;
}

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_PAIR_WAY_INTERNAL_H_

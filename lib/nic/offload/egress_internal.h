// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_OFFLOAD_EGRESS_INTERNAL_H_
#define SLUICE_NIC_OFFLOAD_EGRESS_INTERNAL_H_

// The software path at egress, the same for every Nic: what a packet asks for and the device does not do is
// done here, and the device gets frames.
//
//   Burst ──▶ queue's Send ──(nothing odd)──────────────────────────▶ ring of the device
//                  └─(odd)─▶ Egress::Send ──▶ finish, cut ──▶ Outlet ──▶ │
//                               ▲    those there is no room for │
//                               └──────── Resume ◀── wait here ◀┘
//
// A queue looks over each burst in the pass that it makes anyway (Look, AnyOdd), and comes here only with one
// that has something odd in it. A packet that is cut is taken whole, and counts as one, sent or dropped; those
// of its segments that there is no room for wait here, and nothing overtakes them.
//
// Threads: as the queue.

#include <optional>

#include "nic/offload/finisher_internal.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/segment.h"

namespace sluice {

// The transmit queue that frames leave by.
class Outlet {
 public:
  // Takes finished frames from the front, in order, as many as there is room for. A reason means that what is
  // left is not to wait for room: it is dropped.
  virtual std::optional<DropReason> Put(Burst& frames) = 0;
  virtual void CountSent(uint64_t packets, uint64_t bytes) = 0;
  virtual void CountDrops(DropReason reason, uint64_t packets) = 0;

 protected:
  ~Outlet() = default;
};

class Egress {
 public:
  explicit Egress(const FinisherOptions& options) : finisher_(options), segmenter_(finisher_.segmenting()) {}

  FirstLines Look() const { return finisher_.Look(); }
  uint32_t max_frame() const { return finisher_.max_frame(); }
  bool InReach(const Packet& packet) const { return finisher_.InReach(packet); }
  // Whether a burst has to go through Send, for itself or for what it would overtake.
  bool AnyOdd(const FirstLines& burst) const { return finisher_.AnyOdd(burst) || cutting_; }

  // As TxQueue::Send.
  size_t Send(Burst& burst, Outlet& outlet);

  // Segments of the last packet wait for room.
  bool waiting() const { return cutting_; }
  // How many packets were begun to be cut.
  uint64_t cuts() const { return cuts_; }
  // Sends them. False when there is room for some only.
  bool Resume(Outlet& outlet);
  // Drops them, and with them their packet.
  void GiveUp(DropReason reason, Outlet& outlet);

 private:
  template <typename OnDrop>
  void Finish(Burst& burst, OnDrop on_drop);
  static bool PutRun(Burst& run, Outlet& outlet);
  void BeginCut(PacketPtr packet, Outlet& outlet);
  void NextSegments();
  void EndCut(Outlet& outlet);

  const Finisher finisher_;
  bool cutting_ = false;
  uint64_t cuts_ = 0;
  uint64_t cut_bytes_ = 0;               // of the packet that is being cut
  std::optional<DropReason> cut_short_;  // why some of its segments were lost
  Burst segments_;                       // cut and finished, and not yet gone
  Segmenter segmenter_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_OFFLOAD_EGRESS_INTERNAL_H_

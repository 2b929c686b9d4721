// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_TX_INTERNAL_H_
#define SLUICE_NIC_VHOST_TX_INTERNAL_H_

// Transmit side of a port: into its share of the guest's receiveqs.
//
//   Burst ──Send──▶ receiveq of the flow          as many rings as queues, or more: each queue has its own
//            └─(odd)─▶ Egress ──Put──▶ as above    fewer: some queues have one in common, and meet in its gate
//
// What the guest takes unfinished changes with the guest, and so does the share: both are looked at anew when they have.

#include <array>
#include <cstdint>
#include <optional>

#include "nic/offload/egress_internal.h"
#include "nic/vhost/guest_rings_internal.h"
#include "sluice/base/clock.h"
#include "sluice/base/counters.h"
#include "sluice/nic/nic.h"
#include "sluice/nic/queue.h"
#include "sluice/packet/rss.h"

namespace sluice {

class FaultBell;

// Lives as long as its Nic, for its statistics go on.
class VhostTxQueue final : public TxQueue, private Outlet {
 public:
  VhostTxQueue(QueueId id, GuestRings& rings, FaultBell& faults) : rings_(rings), faults_(faults), id_(id) {}

  // Control thread, nobody sending.
  void Open(const QueueOptions& queues, uint32_t max_frame, bool defers, const Clock& clock);
  void Close();

  size_t Send(Burst& burst) override;
  size_t Reclaim() override;
  absl::Duration due() const override;
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

 private:
  std::optional<DropReason> Put(Burst& frames) override;
  void CountSent(uint64_t packets, uint64_t bytes) override;
  void CountDrops(DropReason reason, uint64_t packets) override { drops_.Add(reason, packets); }

  bool HasRing();
  bool CutForTooLong();
  void LookAnew(uint64_t features, uint64_t receiving);
  void Share(uint64_t receiving);
  template <typename Do>
  void ForEachRing(Do act) const;
  size_t DropAll(Burst& burst);
  RingTraffic Stage(Burst& frames);
  RingTraffic Spread(Burst& frames);
  RingTraffic Write(uint8_t pair, Burst& frames);

  GuestRings& rings_;
  FaultBell& faults_;
  const QueueId id_;
  uint16_t queues_ = 1;  // that the port has
  uint32_t max_frame_ = 0;
  bool defers_ = false;  // rings may have copy engines
  PacketPool* pool_ = nullptr;

  uint64_t receiving_ = 0;                               // rings that the share is of
  uint64_t features_ = 0;                                // what egress_ is made for
  std::array<uint8_t, GuestRings::kMostPairs> pairs_{};  // its share
  uint16_t count_ = 0;
  std::optional<RssConfig> spread_;  // over those, where there are several
  std::optional<Egress> egress_;
  const Clock* clock_ = nullptr;
  uint64_t cut_ = 0;           // of egress_->cuts(), the one that waits
  Nanoseconds cut_since_ = 0;  // that it was seen to
  RingTraffic lost_;           // dropped by a ring behind Egress, which counts them as sent

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_TX_INTERNAL_H_

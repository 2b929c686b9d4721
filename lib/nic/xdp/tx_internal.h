// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_TX_INTERNAL_H_
#define SLUICE_NIC_XDP_TX_INTERNAL_H_

// Transmit side of a port.
//
//   Burst ──Send──▶ transmit ring ──doorbell──▶ kernel ──▶ completion ring ──Reap──▶ pool
//             └─(odd)─▶ Egress ──Put──▶ as above
//
// At most a ring's length of packets is under way, so that there is always room for their completions. The
// kernel takes finished frames in one piece, from the pool's region: all else is made to be that (Egress).

#include <atomic>
#include <mutex>
#include <optional>

#include "nic/offload/egress_internal.h"
#include "nic/xdp/held_packets_internal.h"
#include "nic/xdp/link_internal.h"
#include "nic/xdp/socket_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/queue.h"

namespace sluice {

// Lives as long as its Nic, for its statistics go on; a socket comes with Start and goes with Stop.
class XdpTxQueue final : public TxQueue, private Outlet {
 public:
  XdpTxQueue(QueueId id, XdpLink& link) : id_(id), link_(link) {}

  void Attach(XdpSocket& socket, const QueueOptions& options, uint32_t max_frame);
  // Waits a little for what is under way; what is left unsent counts as stopped. The kernel still holds
  // packets until the socket is closed.
  void Detach();
  // After that.
  void ReturnPackets() { held_.reset(); }

  size_t Send(Burst& burst) override;
  size_t Reclaim() override;
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

  uint64_t copies() const { return copies_.value(); }

 private:
  std::optional<DropReason> Put(Burst& frames) override;
  void CountSent(uint64_t packets, uint64_t bytes) override { Account(packets, bytes); }
  void CountDrops(DropReason reason, uint64_t packets) override { drops_.Add(reason, packets); }

  bool LinkIsDown();
  size_t DropAll(Burst& burst);
  bool AnyOdd(const Burst& burst) const;
  uint64_t Stage(Burst& frames);
  void RingDoorbell();
  size_t Reap();
  void Account(uint64_t packets, uint64_t bytes);

  const QueueId id_;
  XdpLink& link_;
  XdpSocket* socket_ = nullptr;
  std::optional<HeldPackets> held_;
  std::optional<Egress> egress_;
  uint32_t ring_ = 0;
  uint64_t lost_counted_ = 0;  // of the socket's lost frames, those already in drops_
  uint64_t debt_ = 0;  // frames in drops_ that were counted as sent before: taken off the next ones sent

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  Counter copies_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_TX_INTERNAL_H_

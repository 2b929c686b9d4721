// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_RX_INTERNAL_H_
#define SLUICE_NIC_VHOST_RX_INTERNAL_H_

// Receive side of a port: what its share of the guest's transmitqs brings.
//
//   transmitq 0 ─┐
//   transmitq 2 ─┼─▶ Receive          sleeping: kick of each ─┐
//   transmitq 4 ─┘                              the bell ─────┴─▶ fd
//
// The bell is rung for loans that come home, for rings that come and go, and for announcements.

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "base/unique_fd_internal.h"
#include "nic/vhost/guest_rings_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/nic.h"
#include "sluice/nic/queue.h"

namespace sluice {

class FaultBell;

// Lives as long as its Nic, for its statistics go on.
class VhostRxQueue final : public RxQueue {
 public:
  VhostRxQueue(QueueId id, GuestRings& rings, FaultBell& faults) : rings_(rings), faults_(faults), id_(id) {}

  // Control thread, nobody polling. `queues` is how many there are.
  absl::Status Open(const char* device, const QueueOptions& queues);
  void Close();

  // Control thread. A transmitq of its share starts or stops to be served.
  void Watch(const VhostFd& kick) const;
  void Unwatch(const VhostFd& kick) const;
  // What a sleeper has to look at again.
  void Ring() const;
  const std::shared_ptr<const UniqueFd>& bell() const { return bell_; }
  DropCounters& drops() { return drops_; }  // of its sources, which it alone polls
  // Hands over a packet as if the guest had sent it; null: one that nobody received.
  PacketPtr Announce(PacketPtr packet) {
    return PacketPtr(announcement_.exchange(packet.release(), std::memory_order_acq_rel));
  }

  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return epoll_.get(); }
  QueueId id() const override { return id_; }
  QueueStats stats() const override;
  // Times that it was woken by a kick, and there was nothing.
  uint64_t idle_kicks() const { return idle_kicks_.value(); }

 private:
  void ReceiveFrom(int pair, Burst& burst);
  void Discard(GuestRing& ring);
  void ReceiveAnnouncement(Burst& burst);
  bool ArmRing(GuestRing& ring) const;
  bool Wake();
  void CountWakeup(bool kicked, bool came);

  GuestRings& rings_;
  FaultBell& faults_;
  const QueueId id_;
  uint64_t share_ = 0;  // pairs whose transmitq it polls, a bit each
  int next_ = 0;        // pair to begin with
  bool armed_ = false;
  UniqueFd epoll_;
  std::shared_ptr<const UniqueFd> bell_;
  std::atomic<Packet*> announcement_{nullptr};

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  Counter copied_;  // of those, what was not left with the guest
  Counter wakeups_;
  Counter idle_kicks_;
  Counter unheard_;  // announcements that nobody received; the control thread's
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_RX_INTERNAL_H_

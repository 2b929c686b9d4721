// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_RX_INTERNAL_H_
#define SLUICE_NIC_XDP_RX_INTERNAL_H_

// Receive side of a port.
//
//   pool ──Refill──▶ fill ring ──▶ kernel ──▶ receive ring ──Receive──▶ Burst
//
// As many buffers as the ring has entries are with the kernel at all times, in either ring or in the driver,
// so that neither ring ever overflows: what nobody polls in time finds no buffer.

#include <atomic>
#include <mutex>
#include <optional>

#include "nic/xdp/held_packets_internal.h"
#include "nic/xdp/socket_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/queue.h"

namespace sluice {

// Lives as long as its Nic, for its statistics go on; a socket comes with Start and goes with Stop.
class XdpRxQueue final : public RxQueue {
 public:
  explicit XdpRxQueue(QueueId id) : id_(id) {}

  // Takes buffers for the whole ring. False when the pool, or the owner's allowance, has not so many.
  bool Attach(XdpSocket& socket, const QueueOptions& options, bool busy_poll);
  // Frames that nobody received count as stopped. The kernel still holds buffers until the socket is closed.
  void Detach();
  // After that.
  void ReturnPackets() { held_.reset(); }

  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return socket_ == nullptr ? -1 : socket_->fd(); }
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

 private:
  Packet* Describe(const xdp_desc& arrival);
  size_t ReceiveNothing();
  void Account(size_t packets, uint64_t bytes);
  void Refill();
  void Post(Burst& fresh);
  void ReadKernelDrops() const;

  const QueueId id_;
  XdpSocket* socket_ = nullptr;
  std::optional<HeldPackets> held_;
  OwnerId owner_;
  PortId port_;
  uint32_t ring_ = 0;
  uint32_t refill_batch_ = 0;
  bool busy_poll_ = false;
  bool armed_ = false;
  std::atomic<bool> pool_dry_{false};

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  Counter wakeups_;
  DropCounters drops_;

  // What the kernel dropped, by reason; moved on when somebody asks.
  mutable std::mutex kernel_mutex_;  // also of socket_ against stats() on other threads
  mutable xdp_statistics kernel_seen_{};
  mutable DropCounts kernel_drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_RX_INTERNAL_H_

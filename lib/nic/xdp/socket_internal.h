// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_SOCKET_INTERNAL_H_
#define SLUICE_NIC_XDP_SOCKET_INTERNAL_H_

// The AF_XDP sockets of a started port: one a hardware queue, all on one UMEM, which is the pool's region.

#include <linux/if_xdp.h>
#include <xdp/xsk.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/nic/xdp_nic.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

// A bound socket with its four rings. Each ring belongs to the one queue that works on it; what is said to be
// for any thread touches only words that the kernel shares.
class XdpSocket {
 public:
  XdpSocket() = default;
  ~XdpSocket();
  XdpSocket(const XdpSocket&) = delete;
  XdpSocket& operator=(const XdpSocket&) = delete;

  int fd() const { return fd_; }
  bool zero_copy() const { return zero_copy_; }

  xsk_ring_cons rx{};
  xsk_ring_prod tx{};
  xsk_ring_prod fill{};
  xsk_ring_cons completion{};

  // Any thread.
  // --------------------------------------------------------------------------------------------------
  // What the kernel counted since the socket was made; zeros when it cannot say.
  xdp_statistics Statistics() const;

  // How many frames wait in the transmit ring for the kernel to take them.
  uint32_t unsent() const {
    if (tx.ring == nullptr) return 0;
    return __atomic_load_n(tx.producer, __ATOMIC_ACQUIRE) - __atomic_load_n(tx.consumer, __ATOMIC_ACQUIRE);
  }
  // Whether they wait for a doorbell: a driver that is at work takes them by itself.
  bool WantsDoorbell() const { return unsent() != 0 && xsk_ring_prod__needs_wakeup(&tx) != 0; }
  // The transmit doorbell. Returns 0 when the kernel took what there was, EAGAIN when it wants to be asked
  // again later, else errno, and then the link is the suspect.
  int SendUnsent();
  // The receive doorbell: runs or wakes the driver's receive work.
  void DriveReceive();

  // Frames that the kernel took and then threw away, and system calls made.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }
  uint64_t doorbells() const { return doorbells_.load(std::memory_order_relaxed); }
  uint64_t retries() const { return retries_.load(std::memory_order_relaxed); }

 private:
  friend class XdpSockets;

  int Ring();

  xsk_socket* socket_ = nullptr;
  int fd_ = -1;
  bool zero_copy_ = false;
  // Two writers only where the receiving thread rings for the sending one before it sleeps.
  std::atomic<uint64_t> lost_{0};
  std::atomic<uint64_t> doorbells_{0};
  std::atomic<uint64_t> retries_{0};
};

class XdpSockets {
 public:
  struct Plan {
    std::string device;     // for messages
    std::string interface;  // by its present name
    uint32_t rx_queues = 1;
    uint32_t tx_queues = 1;
    uint32_t rx_ring = 1024;
    uint32_t tx_ring = 1024;
    PacketPool* pool = nullptr;
    XdpNicOptions options = {};
  };

  // Opens and binds socket i on hardware queue i. A queue that its last owner let go of a moment ago is
  // waited for.
  static absl::StatusOr<std::unique_ptr<XdpSockets>> Open(const Plan& plan);
  ~XdpSockets();
  XdpSockets(const XdpSockets&) = delete;
  XdpSockets& operator=(const XdpSockets&) = delete;

  size_t size() const { return sockets_.size(); }
  XdpSocket& operator[](size_t i) { return *sockets_[i]; }
  const ModeInForce& busy_poll() const { return busy_poll_; }

  // Bytes in front of a frame that arrives in a buffer of `pool`.
  static uint32_t Headroom(const PacketPool& pool);

 private:
  XdpSockets() = default;
  absl::Status OpenAll(const Plan& plan);
  int Register(const Plan& plan);              // 0 or errno
  int Bind(const Plan& plan, uint32_t queue);  // 0 or errno
  absl::Status SetBusyPoll(const Plan& plan);

  xsk_umem* umem_ = nullptr;
  std::vector<std::unique_ptr<XdpSocket>> sockets_;
  ModeInForce busy_poll_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_SOCKET_INTERNAL_H_

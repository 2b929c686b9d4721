// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VIRTIO_USER_QUEUE_H_
#define SLUICE_TESTS_NIC_VIRTIO_USER_QUEUE_H_

// The two queues of a pair of virtqueues as a driver runs them (virtio 1.2, 5.1.6), frames copied into and out of the guest's
// pages. Strict: what a device must not do throws std::logic_error.
//
// Threads: as RxQueue and TxQueue, and beside them one thread that sets up.

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/unique_fd_internal.h"
#include "nic/offload/egress_internal.h"
#include "nic/wire/virtio_net_header_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/nic.h"
#include "tests/nic/driver_ring.h"
#include "tests/nic/guest_regions.h"

namespace sluice::testing {

// How a driver lays frames out.
struct GuestLayout {
  uint32_t rx_buffer = 2048;  // bytes of each piece that is posted, at most a page
  uint32_t tx_piece = 4096;   // bytes of each piece of a frame that is sent, at most a page
  bool header_apart = false;  // sent frames have their header in a piece of its own
};

struct GuestQueueSetup {
  uint64_t features = 0;  // negotiated
  DriverRingOptions ring = {};
  SharedMemory memory = {};  // of the ring
  std::vector<GuestPage> pages = {};
  GuestLayout layout = {};
  QueueOptions queues = {};
  bool strict = true;  // also in what devices at large get wrong and drivers forgive

  bool Has(uint64_t feature) const { return (features & feature) != 0; }
  bool mergeable() const;
  size_t header_bytes() const;
  size_t rx_chain_bytes() const;  // header included, of each chain that is posted
  size_t rx_chain_pieces() const;
  // Pages that fill the ring.
  size_t RxPages() const;
  size_t TxPages() const;
};

// What both queues have: a ring and pages, under a lock. Names that begin with On are called with it.
class GuestQueue {
 public:
  GuestQueue();
  virtual ~GuestQueue() = default;

  void SetUp(const GuestQueueSetup& setup);
  void TakeDown();

  // For messages to the device, once it is set up.
  RingParts parts() const;
  uint32_t size() const;
  uint32_t BaseFromUsed();  // takes what was used first
  uint16_t outstanding();   // likewise: chains that the device has
  int kick_fd() const { return kick_.get(); }
  int call_fd() const { return call_.get(); }
  // For chains that another device was told of.
  void Kick();

  // More memory, and less: pages of what goes are not used again, and are all home when this says so.
  void AddPages(const std::vector<GuestPage>& pages);
  bool RetirePages(uint64_t guest, uint64_t bytes);

 protected:
  struct Chain {
    std::vector<GuestPage> pages = {};
    std::vector<DriverPiece> pieces = {};
  };
  struct UsedOne {
    Chain chain = {};
    uint32_t written = 0;
  };

  virtual void OnSetUp() = 0;
  virtual void OnTakeDown() = 0;
  virtual void OnHarvest() = 0;  // takes the used chains

  std::optional<GuestPage> TakePage();
  void ReturnPages(const std::vector<GuestPage>& pages);
  bool Add(Chain& chain);  // takes it over where there is room for it
  std::optional<UsedOne> TakeChain();
  void PublishAndKick();

  mutable std::mutex mutex_;
  GuestQueueSetup setup_;
  std::unique_ptr<DriverRing> ring_;  // null: taken down

 private:
  bool IsRetired(const GuestPage& page) const;

  const UniqueFd kick_, call_;
  std::vector<GuestPage> free_;
  std::vector<Chain> chains_;                           // by token
  std::vector<size_t> tokens_;                          // that are free
  std::vector<std::pair<uint64_t, uint64_t>> retired_;  // guest's address, bytes
};

class VirtioUserRxQueue final : public RxQueue, public GuestQueue {
 public:
  explicit VirtioUserRxQueue(QueueId id) : id_(id) {}

  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return call_fd(); }
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

 private:
  void OnSetUp() override;
  void OnTakeDown() override;
  void OnHarvest() override;
  void Disarm();
  void Refill();
  std::optional<Chain> FreshChain();
  void TakeFrame(Burst& burst);
  size_t CountChains() const;
  std::optional<DropReason> ReadFrame(size_t chains, PacketPtr& packet) const;

  const QueueId id_;
  std::deque<UsedOne> arrived_;
  bool armed_ = false;
  Counter packets_, bytes_, wakeups_;
  DropCounters drops_;
};

class VirtioUserTxQueue final : public TxQueue, public GuestQueue, private Outlet {
 public:
  explicit VirtioUserTxQueue(QueueId id) : id_(id) {}

  // Frames are dropped as kLinkDown while it is down.
  void SetLink(bool up);

  size_t Send(Burst& burst) override;
  size_t Reclaim() override;
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

 private:
  class Writer;

  void OnSetUp() override;
  void OnTakeDown() override;
  void OnHarvest() override;
  std::optional<DropReason> Put(Burst& frames) override;
  void CountSent(uint64_t packets, uint64_t bytes) override;
  void CountDrops(DropReason reason, uint64_t packets) override { drops_.Add(reason, packets); }
  bool PutOne(const Packet& frame, const VirtioNetHeader& header);
  bool Write(const Packet& frame, const VirtioNetHeader& header, Chain& chain);

  const QueueId id_;
  bool up_ = false;
  std::optional<Egress> egress_;
  size_t reaped_ = 0;
  Counter packets_, bytes_;
  DropCounters drops_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VIRTIO_USER_QUEUE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PACKET_POOL_H_
#define SLUICE_PACKET_PACKET_POOL_H_

// A fixed number of packets with their buffers, made once, in one region that devices register once.
//
//   region (memfd, huge pages if free)    │ buffer 0 │ buffer 1 │ ...    2 KiB each, and aligned to that
//   metadata (private to this process)    │ Packet 0 │ Packet 1 │ ...    128 B each
//
// A free goes to the freeing thread's cache and from there, in batches, to the depot that all threads share:
// a packet comes home to the pool, and so to the NUMA node, that it was made in, whichever thread frees it.
//
// Threads: any thread gets and frees, without registering.
// Cost: a burst of 32 got and freed touches one line a packet; the depot is entered about once in 64 packets, without a lock.
// Limits: free packets in the caches of other threads cannot be got by this one: make a pool larger than its rings by
//   kThreadCache packets for each thread that uses it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/base/export.h"
#include "sluice/base/region.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet.h"

namespace sluice {

class BudgetBook;

struct PacketPoolOptions {
  std::string name = "packets";
  uint32_t packets = 16384;                   // how many; at least 1
  uint32_t buffer_size = 2048;                // bytes, a power of two from 256 to 65536, headroom included
  uint32_t headroom = 128;                    // bytes kept free in front of a fresh frame
  HugePages huge_pages = HugePages::kPrefer;  // for the region
  NodeId node = kUnknownNode;                 // where the region lives
  BudgetBook* budget = nullptr;               // who is charged by Get with an owner; outlives the pool
};

class SLUICE_EXPORT alignas(kCacheLine) PacketPool {
 public:
  // The most free packets that one thread keeps to itself.
  static constexpr size_t kThreadCache = 256;

  // kInvalidArgument for an option out of range, kResourceExhausted when memory is short; each says what to
  // change.
  static absl::StatusOr<std::unique_ptr<PacketPool>> Create(const PacketPoolOptions& options);

  // Every packet must have been freed: a packet that outlives its pool is a use after free. Debug builds
  // check.
  ~PacketPool();
  PacketPool(const PacketPool&) = delete;
  PacketPool& operator=(const PacketPool&) = delete;

  // Appends up to `n` (<= burst.room()) empty packets and returns how many: fewer only when the pool runs
  // dry. Their headroom is at least PacketPoolOptions::headroom, their metadata of line 0 is zero.
  size_t Get(Burst& burst, size_t n);
  // The same, each buffer charged to `owner` in the pool's budget until it is freed; fewer also when the
  // owner's allowance does not reach. For kNobody, or in a pool without a budget, nothing is charged.
  size_t Get(Burst& burst, size_t n, OwnerId owner);
  // The same for `n` buffers that are charged already, by a BudgetWaiter that was granted them. For those that
  // it does not return, the pool was dry: they stay charged, to be asked for again or released.
  size_t GetGranted(Burst& burst, size_t n, OwnerId owner);
  // One packet, or null when the pool is dry.
  PacketPtr GetOne();
  // For drivers: `n` <= Burst::kCapacity packets as their last holders left them, to be made fresh by
  // Packet::Restart when a frame is in them. Touches no packet, and so costs a third of Get.
  size_t GetRaw(Packet** to, size_t n);
  // Those of GetRaw that no frame came for, back to this pool; at most Burst::kCapacity, untouched again.
  void PutRaw(Packet* const* packets, size_t n);

  // Charges each buffer of `packet` to `owner`, in place of whoever was charged before and in the budget of the
  // pool that it came from; in a pool without one nobody is. False, and nothing changed, when the allowance
  // does not reach. kNobody only ends the charge.
  [[nodiscard]] static bool Recharge(Packet& packet, OwnerId owner);

  // Frees `n` packets of any pools, with fragments, loans and charges.
  static void Put(Packet* const* packets, size_t n);

  const PacketPoolOptions& options() const { return options_; }
  const Region& region() const { return *region_; }

  // Between buffers and packets, for devices that name a buffer by its place in the region.
  // ------------------------------------------------------------------------------------------------------
  uint32_t IndexOf(const Packet& packet) const;
  Packet& At(uint32_t index);  // any state; the caller knows that it owns the packet
  uint64_t OffsetOf(const uint8_t* data) const { return static_cast<uint64_t>(data - region_->data()); }

  // Free packets now, caches included; exact when nobody gets or frees. Any thread.
  size_t available() const;

 private:
  struct Stock;  // the free packets: a cache for each thread, and the depot
  class Homecoming;
  // Where the frame of a fresh packet starts: at (the packet's address << shift) + start, for buffers stand in the region in
  // the order of their packets.
  struct Fresh {
    int shift;
    uint64_t start;
  };

  PacketPool(const PacketPoolOptions& options, std::unique_ptr<Region> region, Packet* packets);
  Fresh FreshData() const;
  Packet* Make(uint32_t index);

  void CopyFresh(Packet* const* from, size_t n, Packet** to) const;
  Packet* const* FindCached(size_t n);
  Packet** OpenCached(size_t n);
  size_t TakeSlowly(Packet** to, size_t n);
  size_t TakeUncached(Packet** to, size_t n);
  bool CollectIdleCaches();

  bool PutPlain(Packet* const* packets, size_t n);
  static void PutSlowly(Packet* const* packets, size_t n);
  static void PutEncumbered(Packet* const* packets, size_t n);
  void PutRawSlowly(Packet* const* packets, size_t n);
  static bool ChargeBuffer(const Packet& piece, OwnerId owner);
  static void ReleaseBuffer(const Packet& piece, OwnerId owner);

  static void Bury(Packet* const* packets, size_t n);
  static void Exhume(Packet* const* packets, size_t n);

  const PacketPoolOptions options_;
  const std::unique_ptr<Region> region_;
  Packet* const packets_;
  const Fresh fresh_;
  const std::unique_ptr<Stock> stock_;
};

}  // namespace sluice

#endif  // SLUICE_PACKET_PACKET_POOL_H_

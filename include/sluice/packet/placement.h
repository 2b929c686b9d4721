// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PLACEMENT_H_
#define SLUICE_PACKET_PLACEMENT_H_

// Where a transmit buffer should lie on a machine with several memories. The sender writes it, the NIC reads
// it, and on the wrong node either goes through the link between the sockets:
//
//      node 0                         node 1                      policy           buffer
//   ┌───────────────┐              ┌───────────────┐              near NIC         pool 1
//   │ application   │── distance ──│ NIC           │              near application pool 0
//   │ pool 0        │      21      │ pool 1        │              large near NIC,  by the frame's size
//   └───────────────┘              └───────────────┘                small near application
//
// Where several NICs could send it, buffer and NIC are chosen as a pair. A pool that has nothing left is passed
// over for the next by distance; a pool that is not registered with the NIC is never chosen. The buffer stays
// valid when the application moves to another node, only slower.
//
// With one memory there is one pool and nothing to choose: then use a PacketPool.
//
// Threads: a PlacementMap is a constant value; TransmitPools may be used by any thread.
// Cost: Choose compares NICs times pools, a few nanoseconds each; with one pool it compares nothing.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/base/topology.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

struct PlacementPolicy {
  // What is near is asked in the order given; ties go to the first NIC, then to the first pool.
  enum class Kind : uint8_t {
    kNearNic,          // buffer near the NIC, then near the application: cheap DMA
    kNearApplication,  // buffer near the application, then near the NIC: cheap writes
    kBetween,          // least sum of both distances, weighted, then near the NIC
    kBySize,           // as kNearNic from `large` bytes on, below as kNearApplication
    kLocal,  // NIC near the application, then buffer near the application: no link crossed if possible
  };

  Kind kind = Kind::kNearNic;
  uint8_t nic_weight = 50;  // for kBetween: percent that the distance to the NIC counts, 0 to 100
  uint32_t large = 4096;    // for kBySize: bytes of frame; raise it where DMA across the link is cheap
};

struct PlacementRequest {
  NodeId application = kUnknownNode;  // where the sender runs; unknown: all nodes are alike to it
  uint32_t bytes = 0;                 // of the frame to come
  uint64_t nics = ~uint64_t{0};       // bit i: NIC i could carry it
};

struct PlacementChoice {
  size_t pool = 0;
  size_t nic = 0;
  bool spilled = false;  // another pair would have been chosen had its pool had buffers

  bool operator==(const PlacementChoice&) const = default;
};

// Which pools and NICs there are and how far apart.
class SLUICE_EXPORT PlacementMap {
 public:
  static constexpr size_t kMost = 64;  // pools, and NICs

  struct Nic {
    NodeId node = kUnknownNode;
    uint64_t pools = 0;  // bit i: pool i is registered with it, so that it can read buffers there
  };

  // `pool_nodes[i]` is where pool i lies. Nodes that `topology` does not know are as far as can be from all.
  // kInvalidArgument for no pool, no NIC, too many of either, or a NIC registered with a pool that is not.
  static absl::StatusOr<PlacementMap> Create(const Topology& topology, const std::vector<NodeId>& pool_nodes,
                                             const std::vector<Nic>& nics);

  // The pair that `policy` prefers among usable NICs and pools with buffers (bit i of `with_buffers`: pool i
  // has some), or nothing when there is none. A pure function.
  std::optional<PlacementChoice> Choose(const PlacementPolicy& policy, const PlacementRequest& request,
                                        uint64_t with_buffers) const;

  // Of `nics`, those that can send from the one pool where all lie in one place, and any choice is as good as
  // another; none where there is something to choose.
  uint64_t AlikeAmong(uint64_t nics) const { return one_place_ ? nics & with_pool_0_ : 0; }

  size_t pools() const { return pools_; }

 private:
  PlacementMap(const Topology& topology, const std::vector<NodeId>& pool_nodes, const std::vector<Nic>& nics);
  const uint8_t* DistancesFrom(NodeId node) const;

  size_t pools_;
  bool one_place_;                    // one pool, and all NICs on one node: the policy has nothing to decide
  uint64_t with_pool_0_ = 0;          // NICs that pool 0 is registered with
  std::vector<uint64_t> registered_;  // by NIC: its pools
  // Distances, which fit a byte: from each NIC to each pool; and from each node, the unknown one last, to each pool
  // and then each NIC.
  std::vector<uint8_t> from_nic_;
  std::vector<uint8_t> from_node_;
  std::vector<NodeId> nodes_;  // ascending
};

struct PlacementStats {
  uint64_t spilled =
      0;  // bursts that got their buffers from another pair than the preferred, for want of them
  uint64_t exhausted = 0;  // bursts that got none
};

// One pool for each memory, and the choice among them.
class SLUICE_EXPORT TransmitPools {
 public:
  // `pools[i]` is pool i of `map`; they outlive this. kInvalidArgument when their numbers differ, or for a
  // policy out of range.
  static absl::StatusOr<std::unique_ptr<TransmitPools>> Create(PlacementMap map,
                                                               std::vector<PacketPool*> pools,
                                                               const PlacementPolicy& policy);

  // Appends up to `n` (<= burst.room()) empty packets, all of one pool, sets `nic` to the one to send them
  // with, and returns how many: fewer when the chosen pool had no more (ask again for the rest), and zero
  // when no registered pool had any. A free brings each home to its own pool, whichever thread frees it.
  size_t Get(Burst& burst, size_t n, const PlacementRequest& request, size_t& nic) {
    if (const uint64_t nics = map_.AlikeAmong(request.nics); nics != 0) [[likely]] {
      nic = static_cast<size_t>(std::countr_zero(nics));
      if (const size_t got = alike_->Get(burst, n); got > 0) [[likely]]
        return got;
    }
    return GetChosen(burst, n, request, nic);
  }

  // For requests from now on; what was got stays where it is. kInvalidArgument for a policy out of range.
  absl::Status SetPolicy(const PlacementPolicy& policy);
  PlacementPolicy policy() const;

  PlacementStats stats() const;

 private:
  TransmitPools(PlacementMap map, std::vector<PacketPool*> pools, const PlacementPolicy& policy);
  size_t GetChosen(Burst& burst, size_t n, const PlacementRequest& request, size_t& nic);

  const PlacementMap map_;
  const std::vector<PacketPool*> pools_;
  PacketPool* const alike_;       // of NICs that AlikeAmong gives
  std::atomic<uint64_t> policy_;  // packed, so that a request sees one policy or the other, never a mixture
  std::atomic<uint64_t> spilled_{0};
  std::atomic<uint64_t> exhausted_{0};
};

}  // namespace sluice

#endif  // SLUICE_PACKET_PLACEMENT_H_

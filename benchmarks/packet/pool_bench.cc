// SPDX-License-Identifier: Apache-2.0
// Buffers out of a pool and back, 32 at a time, as every received and freed burst needs them.

#include <memory>

#include "benchmarks/dpdk/peers.h"
#include "benchmarks/paired.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::bench {
namespace {

// Bare, as a driver takes them to have them filled: pointers move, and nothing is touched, as with a mempool's objects.
absl::StatusOr<Sampler> GetRawPut() {
  absl::StatusOr<std::unique_ptr<PacketPool>> made = PacketPool::Create({});
  if (!made.ok()) return made.status();
  return NanosecondsPer([pool = std::shared_ptr<PacketPool>(*std::move(made))](size_t n) {
    Packet* packets[dpdk::kBurst];
    for (size_t done = 0; done < n; done += dpdk::kBurst) {
      const size_t got = pool->GetRaw(packets, dpdk::kBurst);
      MustBeInMemory(packets);
      pool->PutRaw(packets, got);
    }
  });
}

// Empty packets, ready to be filled by anybody.
absl::StatusOr<Sampler> GetPut() {
  absl::StatusOr<std::unique_ptr<PacketPool>> made = PacketPool::Create({});
  if (!made.ok()) return made.status();
  return NanosecondsPer([pool = std::shared_ptr<PacketPool>(*std::move(made))](size_t n) {
    Burst burst;
    for (size_t done = 0; done < n; done += dpdk::kBurst) {
      pool->Get(burst, dpdk::kBurst);
      MustBeInMemory(&burst);
      burst.Clear();
    }
  });
}

const Registration get_put({.work = "packet/pool/get_put",
                            .peer = "rte_mempool",
                            .peer_mode = "cache 256, bulk 32",
                            .goal = 0.5,
                            .open = [] { return MakePair(GetRawPut(), dpdk::MempoolGetPut()); }});

const Registration alloc_free({.work = "packet/pool/alloc_free",
                               .peer = "rte_pktmbuf",
                               .peer_mode = "alloc_bulk + free_bulk, 32",
                               .goal = 4,
                               .open = [] { return MakePair(GetPut(), dpdk::MbufAllocFree()); }});

}  // namespace
}  // namespace sluice::bench

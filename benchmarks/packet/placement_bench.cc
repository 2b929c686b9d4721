// SPDX-License-Identifier: Apache-2.0
// What the choice of a transmit buffer's place costs where there is nothing to choose: one node, one pool.

#include <memory>
#include <utility>

#include "benchmarks/paired.h"
#include "sluice/packet/placement.h"

namespace sluice::bench {
namespace {

constexpr size_t kBurst = 32;

struct OnePlace {
  std::unique_ptr<PacketPool> pool;
  std::unique_ptr<TransmitPools> placed;
};

absl::StatusOr<std::shared_ptr<OnePlace>> MakePlace() {
  auto place = std::make_shared<OnePlace>();
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({});
  if (!pool.ok()) return pool.status();
  place->pool = *std::move(pool);
  Topology topology;
  topology.nodes.push_back({.id = NodeId{0}, .distances = {10}});
  absl::StatusOr<PlacementMap> map = PlacementMap::Create(topology, {NodeId{0}}, {{NodeId{0}, 1}});
  if (!map.ok()) return map.status();
  absl::StatusOr<std::unique_ptr<TransmitPools>> placed =
      TransmitPools::Create(*std::move(map), {place->pool.get()}, {});
  if (!placed.ok()) return placed.status();
  place->placed = *std::move(placed);
  return place;
}

// Bursts that `get` fills out of one place, given back as they are.
template <typename Get>
absl::StatusOr<Sampler> GetAndFree(Get get) {
  absl::StatusOr<std::shared_ptr<OnePlace>> place = MakePlace();
  if (!place.ok()) return place.status();
  return NanosecondsPer([place = *std::move(place), get](size_t n) {
    Burst burst;
    for (size_t done = 0; done < n; done += kBurst) {
      get(*place, burst);
      MustBeInMemory(&burst);
      burst.Clear();
    }
  });
}

absl::StatusOr<Sampler> Placed() {
  return GetAndFree([](OnePlace& place, Burst& burst) {
    size_t nic = 0;
    place.placed->Get(burst, kBurst, {.application = NodeId{0}, .bytes = 60}, nic);
    MustBeInMemory(&nic);
  });
}

absl::StatusOr<Sampler> Plain() {
  return GetAndFree([](OnePlace& place, Burst& burst) { place.pool->Get(burst, kBurst); });
}

const Registration one_node({.work = "packet/placement/one_node",
                             .peer = "PacketPool::Get",
                             .peer_mode = "the pool itself, burst 32",
                             .goal = 0.9,
                             .open = [] { return MakePair(Placed(), Plain()); }});

}  // namespace
}  // namespace sluice::bench

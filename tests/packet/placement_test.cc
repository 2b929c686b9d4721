// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/placement.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <thread>
#include <vector>

#include "tests/packet/packet_queue.h"
#include "tests/packet/small_pool.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // NOLINT: the fixtures' words
using Kind = PlacementPolicy::Kind;

constexpr NodeId kNode0{0};
constexpr NodeId kNode1{1};
constexpr uint64_t kAll = ~uint64_t{0};

Topology MadeUp(const std::vector<std::vector<uint32_t>>& distances) {
  Topology topology;
  for (size_t i = 0; i < distances.size(); ++i) {
    topology.nodes.push_back({.id = NodeId(static_cast<int16_t>(i)), .distances = distances[i]});
  }
  return topology;
}

Topology OneNode() { return MadeUp({{10}}); }
Topology TwoNodes() { return MadeUp({{10, 21}, {21, 10}}); }
// A ring of four sockets: the opposite one is two links away.
Topology FourNodes() {
  return MadeUp({{10, 16, 32, 18}, {16, 10, 18, 32}, {32, 18, 10, 16}, {18, 32, 16, 10}});
}

// A machine, its pools and its NICs.
struct Machine {
  const char* name;
  Topology topology;
  std::vector<NodeId> pools;
  std::vector<PlacementMap::Nic> nics;

  PlacementMap Map() const {
    auto map = PlacementMap::Create(topology, pools, nics);
    if (!map.ok()) FAIL(map.status().ToString());
    return *std::move(map);
  }
};

std::vector<Machine> Machines() {
  const NodeId n0{0}, n1{1}, n2{2}, n3{3};
  return {
      {"one node", OneNode(), {n0}, {{n0, 1}}},
      {"one node, three NICs of which one is not registered", OneNode(), {n0}, {{n0, 0}, {n0, 1}, {n0, 1}}},
      {"one node, two pools", OneNode(), {n0, n0}, {{n0, 0b11}, {n0, 0b10}}},
      {"two nodes, a NIC on the second", TwoNodes(), {n0, n1}, {{n1, 0b11}}},
      {"two nodes, a NIC on each", TwoNodes(), {n0, n1}, {{n0, 0b11}, {n1, 0b11}}},
      {"two nodes, each NIC registered at home only", TwoNodes(), {n0, n1}, {{n0, 0b01}, {n1, 0b10}}},
      {"two nodes, one pool, NICs apart", TwoNodes(), {n1}, {{n0, 1}, {n1, 1}}},
      {"two nodes, a NIC whose node nobody knows", TwoNodes(), {n0, n1}, {{kUnknownNode, 0b11}}},
      {"four nodes, one NIC", FourNodes(), {n0, n1, n2, n3}, {{n2, 0b1111}}},
      {"four nodes, two NICs", FourNodes(), {n0, n1, n2, n3}, {{n1, 0b1011}, {n3, 0b1110}}},
      {"four nodes, a pool missing", FourNodes(), {n3, n1, n0}, {{n0, 0b111}, {n2, 0b011}}},
  };
}

std::vector<PlacementPolicy> Policies() {
  return {{.kind = Kind::kNearNic},
          {.kind = Kind::kNearApplication},
          {.kind = Kind::kBetween, .nic_weight = 0},
          {.kind = Kind::kBetween, .nic_weight = 30},
          {.kind = Kind::kBetween, .nic_weight = 50},
          {.kind = Kind::kBetween, .nic_weight = 100},
          {.kind = Kind::kBySize, .large = 1000},
          {.kind = Kind::kLocal}};
}

// The stupid twin: writes every pair down with what counts, sorts, and takes the first.
struct Pair {
  double first;
  double then;
  size_t nic;
  size_t pool;
  auto operator<=>(const Pair&) const = default;
};

std::vector<Pair> PairsByPreference(const Machine& m, const PlacementPolicy& policy,
                                    const PlacementRequest& r) {
  std::vector<Pair> pairs;
  for (size_t nic = 0; nic < m.nics.size(); ++nic) {
    for (size_t pool = 0; pool < m.pools.size(); ++pool) {
      if ((r.nics >> nic & 1) == 0 || (m.nics[nic].pools >> pool & 1) == 0) continue;
      const double dma = m.topology.Distance(m.nics[nic].node, m.pools[pool]);
      const double write = m.topology.Distance(r.application, m.pools[pool]);
      const double nic_away = m.topology.Distance(r.application, m.nics[nic].node);
      const double weight = policy.nic_weight / 100.0;
      const bool large = r.bytes >= policy.large;
      if (policy.kind == Kind::kNearNic || (policy.kind == Kind::kBySize && large)) {
        pairs.push_back({dma, write, nic, pool});
      } else if (policy.kind == Kind::kNearApplication || policy.kind == Kind::kBySize) {
        pairs.push_back({write, dma, nic, pool});
      } else if (policy.kind == Kind::kBetween) {
        pairs.push_back({std::round(1000 * (weight * dma + (1 - weight) * write)), dma, nic, pool});
      } else {
        pairs.push_back({nic_away, write, nic, pool});
      }
    }
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

std::optional<PlacementChoice> Oracle(const Machine& machine, const PlacementPolicy& policy,
                                      const PlacementRequest& request, uint64_t with_buffers) {
  const std::vector<Pair> pairs = PairsByPreference(machine, policy, request);
  for (const Pair& pair : pairs) {
    if ((with_buffers >> pair.pool & 1) == 0) continue;
    return PlacementChoice{pair.pool, pair.nic, pair != pairs.front()};
  }
  return std::nullopt;
}

// Every occupancy of the pools, every set of usable NICs, every place of the application, both sizes.
template <typename Check>
void ForEachCase(const Machine& machine, Check check) {
  std::vector<NodeId> places = {kUnknownNode, NodeId(99)};
  for (const NumaNode& node : machine.topology.nodes) places.push_back(node.id);
  for (const NodeId application : places) {
    for (uint64_t nics = 0; nics < uint64_t{1} << machine.nics.size(); ++nics) {
      for (uint64_t with = 0; with < uint64_t{1} << machine.pools.size(); ++with) {
        for (const uint32_t bytes : {60u, 9000u}) {
          check(PlacementRequest{.application = application, .bytes = bytes, .nics = nics}, with);
        }
      }
    }
  }
}

TEST_CASE("for every topology, policy and occupancy the choice is the oracle's") {
  for (const Machine& machine : Machines()) {
    INFO(machine.name);
    const PlacementMap map = machine.Map();
    for (const PlacementPolicy& policy : Policies()) {
      INFO("policy " << static_cast<int>(policy.kind) << " weight " << int{policy.nic_weight});
      ForEachCase(machine, [&](const PlacementRequest& request, uint64_t with_buffers) {
        INFO("application on " << request.application.value() << ", NICs " << request.nics << ", pools "
                               << with_buffers << ", bytes " << request.bytes);
        REQUIRE(map.Choose(policy, request, with_buffers) == Oracle(machine, policy, request, with_buffers));
      });
    }
  }
}

TEST_CASE("a pool that is not registered with the chosen NIC is never chosen") {
  for (const Machine& machine : Machines()) {
    const PlacementMap map = machine.Map();
    for (const PlacementPolicy& policy : Policies()) {
      ForEachCase(machine, [&](const PlacementRequest& request, uint64_t with_buffers) {
        const auto choice = map.Choose(policy, request, with_buffers);
        if (!choice.has_value()) return;
        REQUIRE((machine.nics[choice->nic].pools >> choice->pool & 1) == 1);
        REQUIRE((request.nics >> choice->nic & 1) == 1);
      });
    }
  }
}

TEST_CASE("a choice is found exactly when a usable NIC has a registered pool with buffers") {
  for (const Machine& machine : Machines()) {
    const PlacementMap map = machine.Map();
    ForEachCase(machine, [&](const PlacementRequest& request, uint64_t with_buffers) {
      bool possible = false;
      for (size_t nic = 0; nic < machine.nics.size(); ++nic) {
        possible |= (request.nics >> nic & 1) != 0 && (machine.nics[nic].pools & with_buffers) != 0;
      }
      REQUIRE(map.Choose({.kind = Kind::kLocal}, request, with_buffers).has_value() == possible);
    });
  }
}

// The words of the policies, on two nodes with the application on node 0 and a NIC on node 1.
PlacementChoice Chosen(const PlacementPolicy& policy, uint32_t bytes = 60) {
  const Machine machine{"", TwoNodes(), {kNode0, kNode1}, {{kNode1, 0b11}}};
  return machine.Map().Choose(policy, {.application = kNode0, .bytes = bytes}, kAll).value();
}

TEST_CASE("near the NIC, near the application, and by size mean what they say") {
  CHECK(Chosen({.kind = Kind::kNearNic}).pool == 1);
  CHECK(Chosen({.kind = Kind::kNearApplication}).pool == 0);
  CHECK(Chosen({.kind = Kind::kBySize, .large = 4096}, 4096).pool == 1);
  CHECK(Chosen({.kind = Kind::kBySize, .large = 4096}, 4095).pool == 0);
  CHECK(Chosen({.kind = Kind::kBetween, .nic_weight = 51}).pool == 1);
  CHECK(Chosen({.kind = Kind::kBetween, .nic_weight = 49}).pool == 0);
  CHECK(Chosen({.kind = Kind::kLocal}).pool == 0);
}

TEST_CASE("local picks the NIC beside the application and buffers beside both") {
  const Machine machine{"", TwoNodes(), {kNode0, kNode1}, {{kNode0, 0b11}, {kNode1, 0b11}}};
  const auto choice = machine.Map().Choose({.kind = Kind::kLocal}, {.application = kNode1}, kAll);
  CHECK(choice == PlacementChoice{1, 1, false});
}

TEST_CASE("empty pools are passed over in the order of their distance") {
  const Machine machine{"", FourNodes(), {kNode0, kNode1, NodeId(2), NodeId(3)}, {{kNode0, 0b1111}}};
  const PlacementMap map = machine.Map();
  uint64_t with_buffers = 0b1111;
  std::vector<size_t> order;
  while (const auto choice = map.Choose({.kind = Kind::kNearNic}, {.application = kNode0}, with_buffers)) {
    CHECK(choice->spilled == !order.empty());
    order.push_back(choice->pool);
    with_buffers &= ~(uint64_t{1} << choice->pool);
  }
  CHECK(order == std::vector<size_t>{0, 1, 3, 2});  // at 10, 16, 18, 32
}

TEST_CASE("maps and policies out of range are refused by the placement") {
  const auto refused = [](std::vector<NodeId> pools, std::vector<PlacementMap::Nic> nics) {
    return PlacementMap::Create(OneNode(), pools, nics).status().code() == absl::StatusCode::kInvalidArgument;
  };
  CHECK(refused({}, {{kNode0, 0}}));
  CHECK(refused({kNode0}, {}));
  CHECK(refused({kNode0}, {{kNode0, 0b10}}));
  CHECK(refused(std::vector<NodeId>(65, kNode0), {{kNode0, 1}}));
  CHECK_FALSE(refused(std::vector<NodeId>(64, kNode0), {{kNode0, kAll}}));
}

TEST_CASE("on a machine of one node every policy gives the same, so that none has anything to decide") {
  const Machine machine{"", OneNode(), {kNode0}, {{kNode0, 1}, {kNode0, 1}}};
  const PlacementMap map = machine.Map();
  ForEachCase(machine, [&](const PlacementRequest& request, uint64_t with_buffers) {
    const auto choice = map.Choose({}, request, with_buffers);
    for (const PlacementPolicy& policy : Policies())
      REQUIRE(map.Choose(policy, request, with_buffers) == choice);
    REQUIRE_FALSE((choice.has_value() && choice->spilled));
  });
}

// With real pools.
// ------------------------------------------------------------------------------------------------------

// Two nodes with a pool and a NIC each.
class Host {
 public:
  explicit Host(uint32_t packets = 64, const PlacementPolicy& policy = {}) {
    for (int i = 0; i < 2; ++i) owned_.push_back(SmallPool({.packets = packets, .buffer_size = 256}));
    const Machine machine{"", TwoNodes(), {kNode0, kNode1}, {{kNode0, 0b11}, {kNode1, 0b11}}};
    pools_ = TransmitPools::Create(machine.Map(), {owned_[0].get(), owned_[1].get()}, policy).value();
  }
  TransmitPools& operator*() { return *pools_; }
  TransmitPools* operator->() { return pools_.get(); }
  PacketPool& pool(size_t i) { return *owned_[i]; }

 private:
  std::vector<std::unique_ptr<PacketPool>> owned_;
  std::unique_ptr<TransmitPools> pools_;
};

constexpr PlacementRequest kFromNode0ByNic1{.application = kNode0, .bytes = 60, .nics = 0b10};

TEST_CASE("buffers come from the preferred node while it has any, then from the next, and that is counted") {
  Host host(64, {.kind = Kind::kNearApplication});
  size_t nic = 99;
  Burst first;
  CHECK(host->Get(first, 64, kFromNode0ByNic1, nic) == 64);
  CHECK(first[0].pool() == &host.pool(0));
  CHECK(nic == 1);
  CHECK(host->stats().spilled == 0);

  Burst second;
  CHECK(host->Get(second, 64, kFromNode0ByNic1, nic) == 64);
  CHECK(second[0].pool() == &host.pool(1));
  CHECK(nic == 1);
  CHECK(host->stats().spilled == 1);

  Burst third;
  CHECK(host->Get(third, 1, kFromNode0ByNic1, nic) == 0);
  CHECK(third.empty());
  CHECK(host->stats().exhausted == 1);
}

TEST_CASE("with the preferred node empty the pair changes to the NIC beside the next buffer where it may") {
  Host host(64, {.kind = Kind::kNearNic});
  Burst all;
  host.pool(0).Get(all, 64);
  size_t nic = 99;
  Burst burst;
  CHECK(host->Get(burst, 8, {.application = kNode0}, nic) == 8);
  CHECK(burst[0].pool() == &host.pool(1));
  CHECK(nic == 1);
}

TEST_CASE("a policy changed at run time decides about new requests and leaves the old where they are") {
  Host host(64, {.kind = Kind::kNearApplication});
  size_t nic = 0;
  Burst before;
  host->Get(before, 4, kFromNode0ByNic1, nic);
  REQUIRE(host->SetPolicy({.kind = Kind::kNearNic}).ok());
  Burst after;
  host->Get(after, 4, kFromNode0ByNic1, nic);

  CHECK(before[0].pool() == &host.pool(0));
  CHECK(after[0].pool() == &host.pool(1));
  CHECK(host->SetPolicy({.kind = Kind::kBetween, .nic_weight = 101}).code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(host->policy().kind == Kind::kNearNic);
}

TEST_CASE("a policy comes back as it was set") {
  Host host;
  const PlacementPolicy policy{.kind = Kind::kBySize, .nic_weight = 73, .large = 0xFFFFFFFF};
  REQUIRE(host->SetPolicy(policy).ok());
  CHECK(host->policy().kind == policy.kind);
  CHECK(host->policy().nic_weight == policy.nic_weight);
  CHECK(host->policy().large == policy.large);
}

TEST_CASE("a map made for other pools is refused") {
  const Machine machine{"", TwoNodes(), {kNode0, kNode1}, {{kNode0, 0b11}}};
  auto pool = SmallPool();
  CHECK(TransmitPools::Create(machine.Map(), {pool.get()}, {}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("after a stress run with frees on other threads each pool has its initial count: nothing drifted") {
  constexpr uint32_t kPackets = 400;
  Host host(kPackets);
  const uint64_t seed = PrintedSeed();
  PacketQueue queue;
  constexpr int kBursts = 1'500;
  std::atomic<bool> refused{false};
  std::vector<std::thread> senders;
  for (uint64_t t = 0; t < 2; ++t) {
    senders.emplace_back([&, t] {
      Random random(seed + t);
      for (int i = 0; i < kBursts; ++i) {
        size_t nic = 0;
        Burst burst;
        const NodeId application(static_cast<int16_t>(Below(random, 2)));
        host->Get(burst, 1 + Below(random, 64), {.application = application}, nic);
        refused = refused || !host->SetPolicy({.kind = static_cast<Kind>(Below(random, 5))}).ok();
        queue.Push(burst);
      }
    });
  }
  for (int i = 0; i < 2 * kBursts; ++i) queue.Pop();
  for (std::thread& sender : senders) sender.join();
  CHECK_FALSE(refused);
  CHECK(host.pool(0).available() == kPackets);
  CHECK(host.pool(1).available() == kPackets);
}

TEST_CASE("getting placed buffers allocates nothing") {
  Host host(100);
  size_t nic = 0;
  const AllocationCounter counter;
  for (int i = 0; i < 10; ++i) {
    Burst burst;
    Burst more;
    host->Get(burst, 64, kFromNode0ByNic1, nic);
    host->Get(more, 64, kFromNode0ByNic1, nic);
  }
  CHECK(counter.allocations() == 0);
}

}  // namespace
}  // namespace sluice

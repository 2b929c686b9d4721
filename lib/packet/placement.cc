// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/placement.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

using Kind = PlacementPolicy::Kind;

absl::Status Refuse(std::string what, std::string remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument, {.device = "transmit pools",
                                                          .stage = "check options",
                                                          .what = std::move(what),
                                                          .remedy = std::move(remedy)});
}

// The lowest `n` bits.
uint64_t Mask(size_t n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

absl::Status CheckMap(size_t pools, const std::vector<PlacementMap::Nic>& nics) {
  if (pools == 0 || pools > PlacementMap::kMost) {
    return Refuse(absl::StrCat(pools, " pools"), absl::StrCat("give 1 to ", PlacementMap::kMost));
  }
  if (nics.empty() || nics.size() > PlacementMap::kMost) {
    return Refuse(absl::StrCat(nics.size(), " NICs"), absl::StrCat("give 1 to ", PlacementMap::kMost));
  }
  for (size_t i = 0; i < nics.size(); ++i) {
    if ((nics[i].pools & ~Mask(pools)) == 0) continue;
    return Refuse(absl::StrCat("NIC ", i, " is registered with a pool that is not among the ", pools),
                  "set only bits of pools that are given");
  }
  return absl::OkStatus();
}

absl::Status CheckPolicy(const PlacementPolicy& policy) {
  if (policy.kind > Kind::kLocal) {
    return Refuse(absl::StrCat("kind is ", static_cast<int>(policy.kind)), "use an enumerator");
  }
  if (policy.nic_weight > 100) {
    return Refuse(absl::StrCat("nic_weight is ", policy.nic_weight), "use 0 to 100 percent");
  }
  return absl::OkStatus();
}

uint8_t Distance(const Topology& topology, NodeId from, NodeId to) {
  return static_cast<uint8_t>(std::min(topology.Distance(from, to), kNoDistance));
}

uint64_t Pack(const PlacementPolicy& policy) {
  return uint64_t{policy.large} << 32 | uint64_t{policy.nic_weight} << 8 | static_cast<uint8_t>(policy.kind);
}

PlacementPolicy Unpack(uint64_t packed) {
  return {.kind = static_cast<Kind>(packed & 0xFF),
          .nic_weight = static_cast<uint8_t>(packed >> 8),
          .large = static_cast<uint32_t>(packed >> 32)};
}

// How far the three are apart.
struct Distances {
  uint64_t nic_pool;
  uint64_t application_pool;
  uint64_t application_nic;
};

// What counts first is the high half.
uint64_t CostOf(Kind kind, uint64_t nic_weight, const Distances& d) {
  const auto first_then = [](uint64_t first, uint64_t then) { return first << 32 | then; };
  switch (kind) {
    case Kind::kNearApplication:
      return first_then(d.application_pool, d.nic_pool);
    case Kind::kBetween:
      return first_then(nic_weight * d.nic_pool + (100 - nic_weight) * d.application_pool, d.nic_pool);
    case Kind::kLocal:
      return first_then(d.application_nic, d.application_pool);
    default:
      return first_then(d.nic_pool, d.application_pool);
  }
}

constexpr uint64_t kNoCost = std::numeric_limits<uint64_t>::max();

// The first of the cheapest.
struct Best {
  uint64_t cost = kNoCost;
  size_t pool = 0;
  size_t nic = 0;

  void Consider(uint64_t its_cost, size_t its_pool, size_t its_nic) {
    if (its_cost < cost) *this = {its_cost, its_pool, its_nic};
  }
};

Kind KindFor(const PlacementPolicy& policy, uint32_t bytes) {
  if (policy.kind != Kind::kBySize) return policy.kind;
  return bytes >= policy.large ? Kind::kNearNic : Kind::kNearApplication;
}

}  // namespace

absl::StatusOr<PlacementMap> PlacementMap::Create(const Topology& topology,
                                                  const std::vector<NodeId>& pool_nodes,
                                                  const std::vector<Nic>& nics) {
  if (absl::Status status = CheckMap(pool_nodes.size(), nics); !status.ok()) return status;
  return PlacementMap(topology, pool_nodes, nics);
}

PlacementMap::PlacementMap(const Topology& topology, const std::vector<NodeId>& pool_nodes,
                           const std::vector<Nic>& nics)
    : pools_(pool_nodes.size()), one_place_(pools_ == 1) {
  for (const Nic& nic : nics) {
    one_place_ = one_place_ && nic.node == nics[0].node;
    with_pool_0_ |= (nic.pools & 1) << registered_.size();
    registered_.push_back(nic.pools);
    for (const NodeId pool : pool_nodes) from_nic_.push_back(Distance(topology, nic.node, pool));
  }
  for (const NumaNode& node : topology.nodes) nodes_.push_back(node.id);
  std::vector<NodeId> from = nodes_;
  from.push_back(kUnknownNode);
  for (const NodeId node : from) {
    for (const NodeId pool : pool_nodes) from_node_.push_back(Distance(topology, node, pool));
    for (const Nic& nic : nics) from_node_.push_back(Distance(topology, node, nic.node));
  }
}

const uint8_t* PlacementMap::DistancesFrom(NodeId node) const {
  const auto at = std::lower_bound(nodes_.begin(), nodes_.end(), node);
  const bool known = at != nodes_.end() && *at == node;
  const size_t row = known ? static_cast<size_t>(at - nodes_.begin()) : nodes_.size();
  return from_node_.data() + row * (pools_ + registered_.size());
}

std::optional<PlacementChoice> PlacementMap::Choose(const PlacementPolicy& policy,
                                                    const PlacementRequest& request,
                                                    uint64_t with_buffers) const {
  const uint64_t nics = request.nics & Mask(registered_.size());
  const Kind kind = KindFor(policy, request.bytes);
  const uint8_t* const from_application = DistancesFrom(request.application);
  Best preferred;  // of all pairs
  Best best;       // of those with buffers
  for (uint64_t left = nics; left != 0; left &= left - 1) {
    const auto nic = static_cast<size_t>(std::countr_zero(left));
    for (uint64_t pools = registered_[nic]; pools != 0; pools &= pools - 1) {
      const auto pool = static_cast<size_t>(std::countr_zero(pools));
      const uint64_t cost = CostOf(kind, policy.nic_weight,
                                   {.nic_pool = from_nic_[nic * pools_ + pool],
                                    .application_pool = from_application[pool],
                                    .application_nic = from_application[pools_ + nic]});
      preferred.Consider(cost, pool, nic);
      if ((with_buffers >> pool & 1) != 0) best.Consider(cost, pool, nic);
    }
  }
  if (best.cost == kNoCost) return std::nullopt;
  return PlacementChoice{best.pool, best.nic, best.pool != preferred.pool || best.nic != preferred.nic};
}

absl::StatusOr<std::unique_ptr<TransmitPools>> TransmitPools::Create(PlacementMap map,
                                                                     std::vector<PacketPool*> pools,
                                                                     const PlacementPolicy& policy) {
  if (map.pools() != pools.size()) {
    return Refuse(absl::StrCat(pools.size(), " pools, and a map of ", map.pools()),
                  "give the pools that the map was made for");
  }
  if (absl::Status status = CheckPolicy(policy); !status.ok()) return status;
  return std::unique_ptr<TransmitPools>(new TransmitPools(std::move(map), std::move(pools), policy));
}

TransmitPools::TransmitPools(PlacementMap map, std::vector<PacketPool*> pools, const PlacementPolicy& policy)
    : map_(std::move(map)), pools_(std::move(pools)), alike_(pools_[0]), policy_(Pack(policy)) {}

// A pool is known to be dry only once it was asked: counting its free packets would cost more than asking.
size_t TransmitPools::GetChosen(Burst& burst, size_t n, const PlacementRequest& request, size_t& nic) {
  const PlacementPolicy policy = this->policy();
  uint64_t with_buffers = Mask(pools_.size());
  while (const auto choice = map_.Choose(policy, request, with_buffers)) {
    if (const size_t got = pools_[choice->pool]->Get(burst, n); got > 0) {
      nic = choice->nic;
      if (choice->spilled) spilled_.fetch_add(1, std::memory_order_relaxed);
      return got;
    }
    with_buffers &= ~(uint64_t{1} << choice->pool);
  }
  exhausted_.fetch_add(1, std::memory_order_relaxed);
  return 0;
}

absl::Status TransmitPools::SetPolicy(const PlacementPolicy& policy) {
  if (absl::Status status = CheckPolicy(policy); !status.ok()) return status;
  policy_.store(Pack(policy), std::memory_order_relaxed);  // one word, and nothing else goes with it
  return absl::OkStatus();
}

PlacementPolicy TransmitPools::policy() const { return Unpack(policy_.load(std::memory_order_relaxed)); }

PlacementStats TransmitPools::stats() const {
  return {.spilled = spilled_.load(std::memory_order_relaxed),
          .exhausted = exhausted_.load(std::memory_order_relaxed)};
}

}  // namespace sluice

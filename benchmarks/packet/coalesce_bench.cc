// SPDX-License-Identifier: Apache-2.0
// Segments of many flows into big packets. rte_gro looks at no checksum: so a device's verdict is on ours too, but in the
// row that says "verified".

#include <memory>
#include <utility>

#include "benchmarks/dpdk/gro.h"
#include "benchmarks/packet/coalesce_load.h"
#include "benchmarks/packet/coalesce_packets.h"
#include "benchmarks/paired.h"
#include "sluice/packet/coalesce.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::bench {
namespace {

class OurSide {
 public:
  OurSide(const CoalesceLoad& load, std::unique_ptr<PacketPool> pool, std::unique_ptr<Coalescer> coalescer)
      : load_(load), packets_(load, std::move(pool)), coalescer_(std::move(coalescer)) {}

  void Make(size_t from, size_t n) { packets_.Make(from, n); }
  void Work(size_t from) {
    for (Burst& burst : packets_.in()) {
      from += burst.size();
      while (!burst.empty()) coalescer_->Add(burst, 0, packets_.Room());
      if (!load_.EndsRound(from - 1)) continue;
      while (coalescer_->waiting() != 0) coalescer_->FlushAll(packets_.Room());
    }
  }
  size_t Free() { return packets_.Free(); }

 private:
  const CoalesceLoad load_;
  CoalescePackets packets_;
  const std::unique_ptr<Coalescer> coalescer_;
};

absl::StatusOr<Sampler> Ours(const CoalesceLoad& load) {
  auto pool = PacketPool::Create({.packets = 49152});
  if (!pool.ok()) return pool.status();
  auto coalescer = Coalescer::Create({});
  if (!coalescer.ok()) return coalescer.status();
  auto side = std::make_shared<OurSide>(load, *std::move(pool), *std::move(coalescer));
  return [load, side] { return CostOfRounds(load, *side); };
}

using Peer = absl::StatusOr<Sampler> (*)(const CoalesceLoad& load);

Case Row(const char* work, const char* mode, Peer peer, double goal, const CoalesceLoad& load) {
  return {.work = work, .peer = "rte_gro", .peer_mode = mode, .goal = goal, .open = [peer, load] {
            return MakePair(Ours(load), peer(load));
          }};
}
Case Row(const char* work, double goal, const CoalesceLoad& load) {
  return Row(work, "context", dpdk::Gro, goal, load);
}

// Of one burst from one poll, for which the peer has a mode of its own. Ours has but one, as the peer's context.
constexpr CoalesceLoad kFew = {.flows = 4, .segments = 8};
const Registration few(Row("packet/coalesce/4", "burst", dpdk::GroInBursts, 2.5, kFew));
const Registration few_context(Row("packet/coalesce/4_context", 0, kFew));
// The same in longer packets: the difference is what it costs to begin and end one.
const Registration few_long(Row("packet/coalesce/4_of_32", 0, {.flows = 4, .segments = 32}));
const Registration many(Row("packet/coalesce/256", 25, {.flows = 256, .segments = 32}));
const Registration most(Row("packet/coalesce/1024", 70, {.flows = 1024, .segments = 32}));
const Registration vxlan(Row("packet/coalesce/vxlan_256", 80, {.flows = 256, .segments = 32, .vxlan = true}));
const Registration verified(Row("packet/coalesce/256_verified", "context, which verifies nothing", dpdk::Gro,
                                10, {.flows = 256, .segments = 32, .verify = true}));

}  // namespace
}  // namespace sluice::bench

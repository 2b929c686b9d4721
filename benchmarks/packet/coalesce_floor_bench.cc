// SPDX-License-Identifier: Apache-2.0
// No coalescer, but what none can do without, over the packets of packet/coalesce/*: so far down could one come.
//
//   of each packet           read: first line of its metadata, its headers      written: that line, for it begins later now
//   of the one before        written: its link
//   of the flow              read: a copy of the headers                        written: which packet is the last
//
// Which flow a packet is of is known beforehand, whether the headers are alike is found out and no matter, and nothing is
// summed: no hash, look-up, counters, checksums, nor ends.

#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "benchmarks/packet/coalesce_load.h"
#include "benchmarks/packet/coalesce_packets.h"
#include "benchmarks/paired.h"
#include "sluice/base/counters.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::bench {
namespace {

class FloorSide {
 public:
  FloorSide(const CoalesceLoad& load, std::unique_ptr<PacketPool> pool)
      : load_(load), packets_(load, std::move(pool)), flows_(load.flows) {}

  void Make(size_t from, size_t n) { packets_.Make(from, n); }
  void Work(size_t) {
    for (Burst& burst : packets_.in()) {
      for (Packet* packet : burst) {
        Join(*packet, flows_[next_]);
        next_ = next_ + 1 == flows_.size() ? 0 : next_ + 1;
      }
      burst.DropFront(burst.size());
    }
    MustBeInMemory(&differing_);
  }
  size_t Free() { return packets_.Free(); }

 private:
  // Both lines of headers, of either load.
  using Block = uint64_t __attribute__((vector_size(32)));
  using Headers = std::array<Block, 4>;

  struct alignas(kCacheLine) Flow {
    Headers headers;
    Packet* first = nullptr;
    Packet* last = nullptr;
    size_t joined = 0;
  };

  static Headers HeadersOf(const Packet& packet) {
    Headers headers;
    std::memcpy(headers.data(), packet.data(), sizeof(headers));
    return headers;
  }

  void Join(Packet& packet, Flow& flow) {
    if (flow.joined++ == 0) {
      flow.first = &packet;
      flow.headers = HeadersOf(packet);
    } else {
      const Headers headers = HeadersOf(packet);
      for (size_t i = 0; i < headers.size(); ++i) differing_ |= headers[i] ^ flow.headers[i];
      packet.TrimFront(static_cast<uint32_t>(load_.length() - CoalesceLoad::kPayload));
      flow.last->Link(PacketPtr(&packet));
    }
    flow.last = &packet;
    if (flow.joined != load_.segments) return;
    flow.joined = 0;
    packets_.Room().PushRaw(flow.first);
  }

  const CoalesceLoad load_;
  CoalescePackets packets_;
  std::vector<Flow> flows_;
  size_t next_ = 0;
  Block differing_{};
};

absl::StatusOr<Sampler> Floor(const CoalesceLoad& load) {
  auto pool = PacketPool::Create({.packets = 49152});
  if (!pool.ok()) return pool.status();
  auto side = std::make_shared<FloorSide>(load, *std::move(pool));
  return [load, side] { return CostOfRounds(load, *side); };
}

Case Row(const char* work, const CoalesceLoad& load) {
  return {.work = work, .goal = 0, .open = [load] { return MakePair(Floor(load), Sampler()); }};
}

const Registration few(Row("packet/coalesce/floor_4", {.flows = 4, .segments = 8}));
const Registration many(Row("packet/coalesce/floor_256", {.flows = 256, .segments = 32}));
const Registration most(Row("packet/coalesce/floor_1024", {.flows = 1024, .segments = 32}));
const Registration vxlan(Row("packet/coalesce/floor_vxlan_256",
                             {.flows = 256, .segments = 32, .vxlan = true}));

}  // namespace
}  // namespace sluice::bench

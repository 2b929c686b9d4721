// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_PACKET_COALESCE_PACKETS_H_
#define SLUICE_BENCHMARKS_PACKET_COALESCE_PACKETS_H_

// The packets of a CoalesceLoad as ours: in bursts on their way in, and where to put what comes out.

#include <memory>
#include <utility>
#include <vector>

#include "benchmarks/dpdk/peers.h"
#include "benchmarks/packet/coalesce_load.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/parse.h"

namespace sluice::bench {

class CoalescePackets {
 public:
  CoalescePackets(const CoalesceLoad& load, std::unique_ptr<PacketPool> pool)
      : load_(load), pool_(std::move(pool)) {}

  // What a Side of CostOfRounds does before and after its work.
  void Make(size_t from, size_t n) {
    for (size_t i = from; i < from + n; i += dpdk::kBurst) {
      Burst& burst = in_.emplace_back();
      pool_->Get(burst, dpdk::kBurst);
      for (size_t k = 0; k < dpdk::kBurst; ++k) Fill(burst[k], i + k);
    }
  }
  size_t Free() {
    size_t freed = 0;
    for (const Burst& burst : out_) freed += burst.size();
    in_.clear();
    out_.clear();
    return freed;
  }

  std::vector<Burst>& in() { return in_; }
  // A burst with room for two.
  Burst& Room() {
    if (out_.empty() || out_.back().room() < 2) out_.emplace_back();
    return out_.back();
  }

 private:
  void Fill(Packet& packet, size_t i) {
    load_.Write(i, packet.data());
    packet.SetLength(static_cast<uint32_t>(load_.length()));
    Parse(packet);
    if (!load_.verify) packet.l4_checksum = ChecksumVerdict::kGood;
    if (load_.verify) FillL4Checksum(packet, LayerSet::kInnermost);
  }

  const CoalesceLoad load_;
  const std::unique_ptr<PacketPool> pool_;
  std::vector<Burst> in_;
  std::vector<Burst> out_;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_PACKET_COALESCE_PACKETS_H_

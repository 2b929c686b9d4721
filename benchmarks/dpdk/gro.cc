// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/gro.h"

#include <rte_gro.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <array>
#include <memory>
#include <vector>

#include "benchmarks/dpdk/eal.h"
#include "benchmarks/dpdk/peers.h"

namespace sluice::bench::dpdk {
namespace {

constexpr unsigned kBuffers = 40960;
constexpr uint64_t kTypes = RTE_GRO_TCP_IPV4 | RTE_GRO_IPV4_VXLAN_TCP_IPV4;

class GroSide {
 public:
  GroSide(const CoalesceLoad& load, rte_mempool* pool, void* context)
      : load_(load), pool_(pool), context_(context) {}
  ~GroSide() {
    if (context_ != nullptr) rte_gro_ctx_destroy(context_);
  }
  GroSide(const GroSide&) = delete;
  GroSide& operator=(const GroSide&) = delete;

  // Nothing comes out in place of packets that the pool could not give, which the count then tells.
  void Make(size_t from, size_t n) {
    in_.resize(n);
    out_.resize(2 * n + load_.flows);
    made_ = out_count_ = 0;
    if (rte_pktmbuf_alloc_bulk(pool_, in_.data(), static_cast<unsigned>(n)) != 0) return;
    made_ = n;
    for (size_t i = 0; i < n; ++i) Fill(*in_[i], from + i);
  }

  void Work(size_t from) {
    for (size_t i = 0; i < made_; i += kBurst) {
      if (context_ == nullptr) {
        Keep(&in_[i], rte_gro_reassemble_burst(&in_[i], kBurst, &params_));
        continue;
      }
      Keep(&in_[i], rte_gro_reassemble(&in_[i], kBurst, context_));
      if (load_.EndsRound(from + i + kBurst - 1)) Flush();
    }
  }

  size_t Free() {
    rte_pktmbuf_free_bulk(out_.data(), static_cast<unsigned>(out_count_));
    return out_count_;
  }

  static rte_gro_param Params(const CoalesceLoad& load) {
    return {.gro_types = load.vxlan ? RTE_GRO_IPV4_VXLAN_TCP_IPV4 : RTE_GRO_TCP_IPV4,
            .max_flow_num = static_cast<uint16_t>(load.flows),
            .max_item_per_flow = static_cast<uint16_t>(load.segments),
            .socket_id = static_cast<uint16_t>(rte_socket_id())};
  }

 private:
  void Keep(rte_mbuf** packets, size_t n) {
    std::copy_n(packets, n, &out_[out_count_]);
    out_count_ += n;
  }

  void Flush() {
    constexpr uint16_t kMost = 64;
    while (const uint16_t n = rte_gro_timeout_flush(context_, 0, kTypes, &out_[out_count_], kMost))
      out_count_ += n;
  }

  void Fill(rte_mbuf& packet, size_t i) {
    load_.Write(i, rte_pktmbuf_mtod(&packet, uint8_t*));
    packet.data_len = static_cast<uint16_t>(load_.length());
    packet.pkt_len = packet.data_len;
    packet.l2_len = sizeof(EthernetHeader);
    packet.l3_len = sizeof(Ipv4Header);
    packet.l4_len = CoalesceLoad::kTcp;
    packet.packet_type = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_TCP;
    if (!load_.vxlan) return;
    packet.outer_l2_len = sizeof(EthernetHeader);
    packet.outer_l3_len = sizeof(Ipv4Header);
    packet.l2_len = sizeof(UdpHeader) + sizeof(VxlanHeader) + sizeof(EthernetHeader);
    packet.packet_type = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_UDP | RTE_PTYPE_TUNNEL_VXLAN |
                         RTE_PTYPE_INNER_L2_ETHER | RTE_PTYPE_INNER_L3_IPV4 | RTE_PTYPE_INNER_L4_TCP;
  }

  const CoalesceLoad load_;
  rte_mempool* const pool_;
  void* const context_;  // null: burst mode
  const rte_gro_param params_ = Params(load_);
  std::vector<rte_mbuf*> in_;
  std::vector<rte_mbuf*> out_;
  size_t made_ = 0;
  size_t out_count_ = 0;
};

absl::StatusOr<rte_mempool*> Buffers() {
  static const absl::StatusOr<rte_mempool*> buffers = []() -> absl::StatusOr<rte_mempool*> {
    if (absl::Status status = StartEalBesideOurs(); !status.ok()) return status;
    return MakeBuffers("gro", kBuffers);
  }();
  return buffers;
}

Sampler SamplerOf(const CoalesceLoad& load, rte_mempool* pool, void* context) {
  auto side = std::make_shared<GroSide>(load, pool, context);
  return [load, side] { return CostOfRounds(load, *side); };
}

}  // namespace

absl::StatusOr<Sampler> Gro(const CoalesceLoad& load) {
  absl::StatusOr<rte_mempool*> pool = Buffers();
  if (!pool.ok()) return pool.status();
  const rte_gro_param params = GroSide::Params(load);
  void* const context = rte_gro_ctx_create(&params);
  if (context == nullptr) return EalError("rte_gro_ctx_create");
  return SamplerOf(load, *pool, context);
}

absl::StatusOr<Sampler> GroInBursts(const CoalesceLoad& load) {
  absl::StatusOr<rte_mempool*> pool = Buffers();
  if (!pool.ok()) return pool.status();
  return SamplerOf(load, *pool, nullptr);
}

}  // namespace sluice::bench::dpdk

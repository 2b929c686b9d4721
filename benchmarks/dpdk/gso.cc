// SPDX-License-Identifier: Apache-2.0
#define ALLOW_EXPERIMENTAL_API  // rte_ipv4_udptcp_cksum_mbuf, of 22.11

#include "benchmarks/dpdk/gso.h"

#include <rte_ethdev.h>
#include <rte_gso.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <algorithm>
#include <cstring>

#include "benchmarks/dpdk/eal.h"

namespace sluice::bench::dpdk {
namespace {

constexpr uint16_t kMostSegments = 64;
constexpr uint32_t kMostPieces = 64;

absl::StatusOr<rte_mempool*> GsoBuffers() {
  static const absl::StatusOr<rte_mempool*> buffers = []() -> absl::StatusOr<rte_mempool*> {
    if (absl::Status status = StartEalBesideOurs(); !status.ok()) return status;
    return MakeBuffers("gso", 4096);
  }();
  return buffers;
}

// Whatever the buffers hold is the payload. Null when the pool is dry.
rte_mbuf* MakeFrame(const GsoFrame& frame, rte_mempool* pool) {
  constexpr uint32_t kPiece = RTE_MBUF_DEFAULT_BUF_SIZE - RTE_PKTMBUF_HEADROOM;
  rte_mbuf* pieces[kMostPieces];
  const auto total = static_cast<uint32_t>(frame.headers.size()) + frame.payload;
  const uint32_t count = (total + kPiece - 1) / kPiece;
  if (count > kMostPieces || rte_pktmbuf_alloc_bulk(pool, pieces, count) != 0) return nullptr;
  for (uint32_t i = 0; i < count; ++i) {
    pieces[i]->data_len = static_cast<uint16_t>(std::min(kPiece, total - i * kPiece));
    pieces[i]->next = i + 1 < count ? pieces[i + 1] : nullptr;
  }
  rte_mbuf* const head = pieces[0];
  head->pkt_len = total;
  head->nb_segs = static_cast<uint16_t>(count);
  std::memcpy(rte_pktmbuf_mtod(head, uint8_t*), frame.headers.data(), frame.headers.size());
  return head;
}

void AskForGso(const GsoFrame& frame, rte_mbuf& packet) {
  packet.ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
  packet.l2_len = frame.outer_l3 & 0x7f;
  packet.l3_len = sizeof(rte_ipv4_hdr);
  packet.l4_len = (frame.headers.size() - frame.l4) & 0xff;
  if (!frame.vxlan) return;
  packet.ol_flags |= RTE_MBUF_F_TX_TUNNEL_VXLAN | RTE_MBUF_F_TX_OUTER_IPV4;
  packet.outer_l2_len = frame.outer_l3 & 0x7f;
  packet.outer_l3_len = sizeof(rte_ipv4_hdr);
  packet.l2_len = (frame.inner_l3 - frame.outer_l3 - sizeof(rte_ipv4_hdr)) & 0x7f;
}

void FinishChecksums(const GsoFrame& frame, rte_mbuf& segment) {
  auto* const tcp = rte_pktmbuf_mtod_offset(&segment, rte_tcp_hdr*, frame.l4);
  for (const uint16_t l3 : {frame.outer_l3, frame.inner_l3}) {
    auto* const ip = rte_pktmbuf_mtod_offset(&segment, rte_ipv4_hdr*, l3);
    ip->hdr_checksum = 0;
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    if (frame.outer_l3 == frame.inner_l3) break;
  }
  const auto* const ip = rte_pktmbuf_mtod_offset(&segment, const rte_ipv4_hdr*, frame.inner_l3);
  tcp->cksum = 0;
  tcp->cksum = rte_ipv4_udptcp_cksum_mbuf(&segment, ip, frame.l4);
}

// Returns how many segments; 0 when it failed. The frame is ours to free still.
uint16_t Cut(const GsoFrame& frame, const rte_gso_ctx& context) {
  rte_mbuf* segments[kMostSegments];
  rte_mbuf* const big = MakeFrame(frame, context.direct_pool);
  if (big == nullptr) return 0;
  AskForGso(frame, *big);
  const int made = rte_gso_segment(big, &context, segments, kMostSegments);
  rte_pktmbuf_free(big);
  if (made <= 1) return 0;
  const auto count = static_cast<uint16_t>(made);
  if (frame.finish_checksums) {
    for (uint16_t i = 0; i < count; ++i) FinishChecksums(frame, *segments[i]);
  }
  MustBeInMemory(segments);
  rte_pktmbuf_free_bulk(segments, count);
  return count;
}

}  // namespace

absl::StatusOr<Sampler> Gso(const GsoFrame& frame) {
  absl::StatusOr<rte_mempool*> pool = GsoBuffers();
  if (!pool.ok()) return pool.status();
  rte_gso_ctx context{};
  context.direct_pool = context.indirect_pool = *pool;
  context.gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_VXLAN_TNL_TSO;
  context.gso_size = static_cast<uint16_t>(frame.headers.size() + frame.size);
  const uint32_t expected = (frame.payload + frame.size - 1) / frame.size;
  if (Cut(frame, context) != expected) return EalError("rte_gso_segment");
  return NanosecondsPer([frame, context](size_t n) {
    for (size_t done = 0; done < n;) {
      const size_t made = Cut(frame, context);
      if (made == 0) return;
      done += made;
    }
  });
}

}  // namespace sluice::bench::dpdk

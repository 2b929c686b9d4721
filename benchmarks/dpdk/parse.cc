// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/parse.h"

#include <rte_mbuf.h>
#include <rte_net.h>

#include <algorithm>
#include <array>
#include <memory>

#include "absl/strings/str_cat.h"
#include "benchmarks/dpdk/eal.h"
#include "benchmarks/dpdk/peers.h"

namespace sluice::bench::dpdk {
namespace {

struct Mbufs {
  std::array<rte_mbuf*, kBurst> mbufs;
  size_t size = 0;
};

absl::StatusOr<rte_mempool*> ParseBuffers() {
  static const absl::StatusOr<rte_mempool*> buffers = []() -> absl::StatusOr<rte_mempool*> {
    if (absl::Status status = StartEalBesideOurs(); !status.ok()) return status;
    return MakeBuffers("parse", 1024);
  }();
  return buffers;
}

absl::Status Fill(rte_mempool* buffers, absl::Span<const std::vector<uint8_t>> frames, Mbufs& to) {
  for (const std::vector<uint8_t>& frame : frames) {
    rte_mbuf* const mbuf = rte_pktmbuf_alloc(buffers);
    if (mbuf == nullptr) return EalError("rte_pktmbuf_alloc");
    char* const data = rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size()));
    if (data == nullptr) return EalError("rte_pktmbuf_append");
    std::copy(frame.begin(), frame.end(), data);
    to.mbufs[to.size++] = mbuf;
  }
  return absl::OkStatus();
}

void TypeOf(const rte_mbuf* mbuf, rte_net_hdr_lens& lengths) {
  const uint32_t type = rte_net_get_ptype(mbuf, &lengths, RTE_PTYPE_ALL_MASK);
  asm volatile("" : : "r"(type));
}

void TypesOf(rte_mbuf* mbuf, uint16_t inner, rte_net_hdr_lens& lengths) {
  TypeOf(mbuf, lengths);
  if (inner == 0) return;
  mbuf->data_off = static_cast<uint16_t>(mbuf->data_off + inner);
  mbuf->data_len = static_cast<uint16_t>(mbuf->data_len - inner);
  TypeOf(mbuf, lengths);
  mbuf->data_off = static_cast<uint16_t>(mbuf->data_off - inner);
  mbuf->data_len = static_cast<uint16_t>(mbuf->data_len + inner);
}

}  // namespace

absl::StatusOr<Sampler> PacketTypes(absl::Span<const std::vector<uint8_t>> frames, uint16_t inner) {
  absl::StatusOr<rte_mempool*> buffers = ParseBuffers();
  if (!buffers.ok()) return buffers.status();
  const auto burst = std::make_shared<Mbufs>();
  if (absl::Status status = Fill(*buffers, frames, *burst); !status.ok()) return status;
  return NanosecondsPer([burst, inner](size_t n) {
    rte_net_hdr_lens lengths;
    for (size_t done = 0; done < n; done += burst->size) {
      for (size_t i = 0; i < burst->size; ++i) TypesOf(burst->mbufs[i], inner, lengths);
      MustBeInMemory(&lengths);
    }
  });
}

}  // namespace sluice::bench::dpdk

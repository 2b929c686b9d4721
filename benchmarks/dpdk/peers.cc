// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/peers.h"

#include <rte_dev.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "benchmarks/dpdk/eal.h"
#include "benchmarks/ends.h"

namespace sluice::bench::dpdk {
namespace {

constexpr unsigned kBuffers = 16384;
constexpr uint16_t kBigBurst = 64;  // as much as our side takes at a time where nothing limits it

// What every pair here uses, made once.
absl::StatusOr<rte_mempool*> SharedBuffers() {
  static const absl::StatusOr<rte_mempool*> buffers = []() -> absl::StatusOr<rte_mempool*> {
    if (absl::Status status = StartEalBesideOurs(); !status.ok()) return status;
    return MakeBuffers("buffers", kBuffers);
  }();
  return buffers;
}

// `n` packets through the port: what is received is sent again, as testpmd's io mode does.
template <uint16_t kSize>
void Forward(uint16_t port, size_t n) {
  rte_mbuf* burst[kSize];
  for (size_t done = 0; done < n;) {
    const uint16_t got = rte_eth_rx_burst(port, 0, burst, kSize);
    const uint16_t sent = rte_eth_tx_burst(port, 0, burst, got);
    if (sent < got) rte_pktmbuf_free_bulk(burst + sent, got - sent);
    done += sent;
  }
}

absl::StatusOr<uint16_t> MakeRingPort(rte_mempool* buffers) {
  rte_ring* ring =
      rte_ring_create("loop", 1024, static_cast<int>(rte_socket_id()), RING_F_SP_ENQ | RING_F_SC_DEQ);
  if (ring == nullptr) return EalError("rte_ring_create");
  const int port = rte_eth_from_rings("loop", &ring, 1, &ring, 1, rte_socket_id());
  if (port < 0) return EalError("rte_eth_from_rings");
  const auto id = static_cast<uint16_t>(port);
  if (absl::Status status = StartPort(id, buffers); !status.ok()) return status;
  return id;
}

// Puts the burst that will circulate into the ring.
absl::Status Prime(uint16_t port, rte_mempool* buffers) {
  rte_mbuf* burst[kBurst];
  if (rte_pktmbuf_alloc_bulk(buffers, burst, kBurst) != 0) return EalError("rte_pktmbuf_alloc_bulk");
  for (rte_mbuf* packet : burst) packet->data_len = static_cast<uint16_t>(packet->pkt_len = 64);
  if (rte_eth_tx_burst(port, 0, burst, kBurst) != kBurst) return EalError("the ring is too small");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Sampler> MempoolGetPut() {
  absl::StatusOr<rte_mempool*> buffers = SharedBuffers();
  if (!buffers.ok()) return buffers.status();
  return NanosecondsPer([pool = *buffers](size_t n) {
    void* objects[kBurst];
    for (size_t done = 0; done < n; done += kBurst) {
      if (rte_mempool_get_bulk(pool, objects, kBurst) != 0) return;
      MustBeInMemory(objects);
      rte_mempool_put_bulk(pool, objects, kBurst);
    }
  });
}

absl::StatusOr<Sampler> MbufAllocFree() {
  absl::StatusOr<rte_mempool*> buffers = SharedBuffers();
  if (!buffers.ok()) return buffers.status();
  return NanosecondsPer([pool = *buffers](size_t n) {
    rte_mbuf* packets[kBurst];
    for (size_t done = 0; done < n; done += kBurst) {
      if (rte_pktmbuf_alloc_bulk(pool, packets, kBurst) != 0) return;
      MustBeInMemory(packets);
      rte_pktmbuf_free_bulk(packets, kBurst);
    }
  });
}

absl::StatusOr<Sampler> RingPortIo() {
  absl::StatusOr<rte_mempool*> buffers = SharedBuffers();
  if (!buffers.ok()) return buffers.status();
  absl::StatusOr<uint16_t> port = MakeRingPort(*buffers);
  if (!port.ok()) return port.status();
  if (absl::Status status = Prime(*port, *buffers); !status.ok()) return status;
  return NanosecondsPer([id = *port](size_t n) { Forward<kBurst>(id, n); });
}

absl::StatusOr<Sampler> NullPortIo() {
  absl::StatusOr<rte_mempool*> buffers = SharedBuffers();
  if (!buffers.ok()) return buffers.status();
  if (rte_eal_hotplug_add("vdev", "net_null0", "size=64,copy=0") != 0) return EalError("net_null");
  uint16_t port = 0;
  if (rte_eth_dev_get_port_by_name("net_null0", &port) != 0) return EalError("net_null");
  if (absl::Status status = StartPort(port, *buffers); !status.ok()) return status;
  return NanosecondsPer([port](size_t n) { Forward<kBigBurst>(port, n); });
}

absl::StatusOr<std::string> Command(const PortEnd& end) {
  return absl::StrCat(BenchProgram("dpdk_port_end"), " --mode=", end.mode, " --vdev=", end.vdev,
                      " --cpu=", end.cpu, " --length=", end.length, " --huge-dir=", end.huge_dir,
                      end.busy ? " --busy" : "");
}

absl::StatusOr<std::string> Command(const PortPair& pair) {
  return absl::StrCat(BenchProgram("dpdk_port_pair"), " --mode=", pair.mode, " --vdev=", pair.vdevs[0],
                      " --vdev=", pair.vdevs[1], " --cpu=", pair.cpu, " --length=", pair.length,
                      " --huge-dir=", pair.huge_dir, " --under-way=", pair.under_way, " --room=", pair.room,
                      pair.tso ? " --tso" : "", pair.feeds ? " --seconds=0" : "");
}

std::string HugeDir() {
  const char* named = std::getenv("SLUICE_BENCH_HUGE_DIR");
  return named == nullptr ? "" : named;
}

}  // namespace sluice::bench::dpdk

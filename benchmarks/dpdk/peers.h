// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_DPDK_PEERS_H_
#define SLUICE_BENCHMARKS_DPDK_PEERS_H_

// DPDK's side of the pairs that run in this process: one lcore, huge pages where ours has them too. Where the
// build found no DPDK each of these answers kUnavailable with the package (absent.cc).

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "benchmarks/paired.h"

namespace sluice::bench::dpdk {

inline constexpr size_t kBurst = 32;

absl::StatusOr<Sampler> MempoolGetPut();  // 32 objects at a time out of the lcore's cache of 256
absl::StatusOr<Sampler> MbufAllocFree();  // 32 mbufs at a time, reset as a driver needs them
absl::StatusOr<Sampler>
RingPortIo();  // a burst of 32 around a net_ring port: rte_eth_rx_burst, rte_eth_tx_burst
absl::StatusOr<Sampler> NullPortIo();  // net_null: a mbuf of 64 bytes made and freed per packet, 64 at a time

// The command of an end of a connection that stands on a DPDK port (port_end.cc, ends.h).
struct PortEnd {
  std::string mode;  // "send", "receive" or "forward"
  std::string vdev;  // as for testpmd's --vdev
  int cpu = 0;
  uint32_t length = 64;
  std::string huge_dir{};  // where hugetlbfs is mounted; empty = plain pages
  bool busy = false;       // measures its work apart from its waiting
};
absl::StatusOr<std::string> Command(const PortEnd& end);

// The same of two ports in one process (port_pair.cc).
struct PortPair {
  std::string mode;  // "circle" or "bridge"
  std::array<std::string, 2> vdevs;
  int cpu = 0;
  uint32_t length = 64;
  std::string huge_dir{};
  bool feeds = false;  // measures nothing, and goes on until it is ended
  bool tso = false;    // frames are TCP segments that are still to be cut
  uint32_t under_way = 512;
  uint32_t room = 2048;  // bytes that a buffer holds
};
absl::StatusOr<std::string> Command(const PortPair& pair);

// Where run.sh has mounted hugetlbfs; empty when it has not.
std::string HugeDir();

}  // namespace sluice::bench::dpdk

#endif  // SLUICE_BENCHMARKS_DPDK_PEERS_H_

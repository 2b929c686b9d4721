// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/dpdk/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "absl/strings/str_cat.h"
#include "benchmarks/machine.h"

namespace sluice::bench::dpdk {

absl::Status EalError(const std::string& what) {
  return absl::InternalError(absl::StrCat("DPDK: ", what, ": ", rte_strerror(rte_errno)));
}

absl::Status StartEal(int cpu, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "sluice_bench", "--no-pci", "--no-telemetry",        "-m",
      "256",          "--lcores", absl::StrCat("0@", cpu), "--log-level=*:error"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) return EalError("rte_eal_init");
  return absl::OkStatus();
}

absl::Status StartEalBesideOurs() {
  static const absl::Status started = [] {
    constexpr size_t kPagesForBoth = 256;
    if (FreeHugePages() >= kPagesForBoth) return StartEal(MeasuringCpu(), {"--in-memory"});
    return StartEal(MeasuringCpu(), {"--no-huge", "--no-shconf"});
  }();
  return started;
}

absl::StatusOr<rte_mempool*> MakeBuffers(const std::string& name, unsigned count, uint32_t room) {
  rte_mempool* pool =
      rte_pktmbuf_pool_create(name.c_str(), count, 256, 0, static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + room),
                              static_cast<int>(rte_socket_id()));
  if (pool == nullptr) return EalError("rte_pktmbuf_pool_create");
  return pool;
}

absl::Status StartPort(uint16_t id, rte_mempool* buffers, bool uncut) {
  constexpr uint16_t kDescriptors = 2048;
  rte_eth_conf wanted{};
  rte_eth_dev_info can{};
  if (uncut && rte_eth_dev_info_get(id, &can) == 0) {
    wanted.rxmode.offloads =
        can.rx_offload_capa &
        (RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_SCATTER);
    wanted.txmode.offloads =
        can.tx_offload_capa &
        (RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
  }
  const unsigned socket = rte_socket_id();
  if (rte_eth_dev_configure(id, 1, 1, &wanted) != 0) return EalError("rte_eth_dev_configure");
  if (rte_eth_rx_queue_setup(id, 0, kDescriptors, socket, nullptr, buffers) != 0) return EalError("rx queue");
  if (rte_eth_tx_queue_setup(id, 0, kDescriptors, socket, nullptr) != 0) return EalError("tx queue");
  if (rte_eth_dev_start(id) != 0) return EalError("rte_eth_dev_start");
  return absl::OkStatus();
}

}  // namespace sluice::bench::dpdk

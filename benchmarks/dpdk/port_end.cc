// SPDX-License-Identifier: Apache-2.0
// One end of a connection, on a DPDK port: what testpmd does in its rxonly, txonly and io modes, without its
// options. See ends.h for what an end prints.
//
//   dpdk_port_end --mode=receive --vdev=net_memif0,role=server,... [--cpu=1] [--length=64] [--seconds=0.5]
//   [--huge-dir=DIR] [--busy]
//
//   send      gets a mbuf per packet, writes its first 64 bytes, and sends it
//   receive   frees what comes in; measures
//   forward   sends what comes in out of the same port, addresses swapped; measures what was sent
//   --busy    send and receive measure their work apart from their waiting

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "benchmarks/dpdk/eal.h"
#include "benchmarks/machine.h"
#include "benchmarks/measuring_end.h"

namespace sluice::bench::dpdk {
namespace {

constexpr uint16_t kBurst = 32;

struct Options {
  std::string mode;
  std::string vdev;
  std::string huge_dir;
  int cpu = MeasuringCpu();
  uint32_t length = 64;
  double seconds = 0.5;
  bool busy = false;
};

bool ParseOne(absl::string_view argument, Options& options) {
  const auto text = [&argument](absl::string_view name, std::string& value) {
    if (!absl::ConsumePrefix(&argument, name)) return false;
    value = std::string(argument);
    return true;
  };
  if (text("--mode=", options.mode) || text("--vdev=", options.vdev) || text("--huge-dir=", options.huge_dir))
    return true;
  if (argument == "--busy") return options.busy = true;
  if (absl::ConsumePrefix(&argument, "--cpu=")) return absl::SimpleAtoi(argument, &options.cpu);
  if (absl::ConsumePrefix(&argument, "--length=")) return absl::SimpleAtoi(argument, &options.length);
  return absl::ConsumePrefix(&argument, "--seconds=") && absl::SimpleAtod(argument, &options.seconds);
}

absl::Status StartEalOf(const Options& options) {
  std::vector<std::string> arguments = {"--vdev", options.vdev,
                                        absl::StrCat("--file-prefix=sluice", getpid()),
                                        "--force-max-simd-bitwidth=512"};
  if (options.huge_dir.empty()) {
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf"});
  } else {
    // Memory that a memif peer can map: files, few of them.
    arguments.insert(arguments.end(),
                     {absl::StrCat("--huge-dir=", options.huge_dir), "--single-file-segments"});
  }
  return StartEal(options.cpu, arguments);
}

bool LinkUp(uint16_t port) {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void Fill(rte_mbuf* packet, uint32_t length) {
  std::memcpy(rte_pktmbuf_mtod(packet, void*), kTestFrame, sizeof kTestFrame);
  packet->data_len = static_cast<uint16_t>(length);
  packet->pkt_len = length;
}

// Endless.
void Send(uint16_t port, rte_mempool* buffers, uint32_t length) {
  rte_mbuf* burst[kBurst];
  uint16_t waiting = 0;
  while (true) {
    if (waiting == 0 && rte_pktmbuf_alloc_bulk(buffers, burst, kBurst) == 0) {
      for (rte_mbuf* packet : burst) Fill(packet, length);
      waiting = kBurst;
    }
    const uint16_t sent = rte_eth_tx_burst(port, 0, burst, waiting);
    std::memmove(burst, burst + sent, (waiting - sent) * sizeof burst[0]);
    waiting = static_cast<uint16_t>(waiting - sent);
  }
}

void Receive(uint16_t port, MeasuringEnd& measuring) {
  rte_mbuf* burst[kBurst];
  while (!measuring.Done()) {
    const uint16_t got = rte_eth_rx_burst(port, 0, burst, kBurst);
    for (uint16_t i = 0; i < got; ++i)
      measuring.Check(rte_pktmbuf_mtod(burst[i], const uint8_t*), burst[i]->pkt_len);
    rte_pktmbuf_free_bulk(burst, got);
    measuring.Count(got);
  }
}

void SendBusy(uint16_t port, rte_mempool* buffers, uint32_t length, MeasuringEnd& measuring) {
  rte_mbuf* burst[kBurst];
  uint16_t left = 0;
  while (!measuring.Done()) {
    measuring.Begin();
    if (rte_pktmbuf_alloc_bulk(buffers, burst + left, kBurst - left) == 0) {
      for (uint16_t i = left; i < kBurst; ++i) Fill(burst[i], length);
      left = kBurst;
    }
    const uint16_t sent = rte_eth_tx_burst(port, 0, burst, left);
    std::memmove(burst, burst + sent, (left - sent) * sizeof burst[0]);
    left = static_cast<uint16_t>(left - sent);
    measuring.End(sent, kBurst);
  }
}

void ReceiveBusy(uint16_t port, MeasuringEnd& measuring) {
  rte_mbuf* burst[kBurst];
  while (!measuring.Done()) {
    measuring.Begin();
    const uint16_t got = rte_eth_rx_burst(port, 0, burst, kBurst);
    for (uint16_t i = 0; i < got; ++i)
      measuring.Check(rte_pktmbuf_mtod(burst[i], const uint8_t*), burst[i]->pkt_len);
    rte_pktmbuf_free_bulk(burst, got);
    measuring.End(got, kBurst);
  }
}

void SwapAddresses(uint8_t* frame) {
  uint8_t destination[6];
  std::memcpy(destination, frame, 6);
  std::memcpy(frame, frame + 6, 6);
  std::memcpy(frame + 6, destination, 6);
}

void Forward(uint16_t port, MeasuringEnd& measuring) {
  rte_mbuf* burst[kBurst];
  while (!measuring.Done()) {
    const uint16_t got = rte_eth_rx_burst(port, 0, burst, kBurst);
    for (uint16_t i = 0; i < got; ++i) {
      measuring.Check(rte_pktmbuf_mtod(burst[i], const uint8_t*), burst[i]->pkt_len);
      SwapAddresses(rte_pktmbuf_mtod(burst[i], uint8_t*));
    }
    const uint16_t sent = rte_eth_tx_burst(port, 0, burst, got);
    rte_pktmbuf_free_bulk(burst + sent, got - sent);
    measuring.Count(sent);
  }
}

absl::Status Run(const Options& options) {
  if (absl::Status status = StartEalOf(options); !status.ok()) return status;
  absl::StatusOr<rte_mempool*> buffers = MakeBuffers("buffers", 16384);
  if (!buffers.ok()) return buffers.status();
  if (absl::Status status = StartPort(0, *buffers); !status.ok()) return status;
  SayReady();
  const bool sends = options.mode == "send";
  while (sends && !LinkUp(0)) usleep(1000);
  if (sends && !options.busy) Send(0, *buffers, options.length);
  MeasuringEnd measuring(options.length, options.seconds);
  if (options.busy) {
    sends ? SendBusy(0, *buffers, options.length, measuring) : ReceiveBusy(0, measuring);
  } else {
    options.mode == "forward" ? Forward(0, measuring) : Receive(0, measuring);
  }
  measuring.Print();
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    if (!ParseOne(argv[i], options)) return std::fprintf(stderr, "bad option %s\n", argv[i]), 2;
  }
  const absl::Status status = Run(options);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  // Not rte_eal_cleanup: the other end may be in the middle of our memory.
  std::fflush(stdout);
  _exit(status.ok() ? 0 : 1);
}

}  // namespace
}  // namespace sluice::bench::dpdk

int main(int argc, char** argv) { return sluice::bench::dpdk::Main(argc, argv); }

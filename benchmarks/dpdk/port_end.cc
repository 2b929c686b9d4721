// SPDX-License-Identifier: Apache-2.0
// One end of a connection, on a DPDK port: what testpmd does in its rxonly, txonly and io modes, without its
// options. See end.h for those it has.
//
//   send      gets a mbuf per packet, writes its first 64 bytes, and sends it
//   receive   frees what comes in; measures
//   forward   sends what comes in out of the same port, addresses swapped; measures what was sent
//   --busy    send and receive measure their work apart from their waiting

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <cstring>

#include "benchmarks/dpdk/end.h"
#include "benchmarks/measuring_end.h"

namespace sluice::bench::dpdk {
namespace {

constexpr uint16_t kBurst = 32;

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

absl::Status Run(const EndOptions& options) {
  absl::StatusOr<rte_mempool*> buffers = StartEnd(options);
  if (!buffers.ok()) return buffers.status();
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

}  // namespace
}  // namespace sluice::bench::dpdk

int main(int argc, char** argv) { return sluice::bench::dpdk::EndMain(argc, argv, sluice::bench::dpdk::Run); }

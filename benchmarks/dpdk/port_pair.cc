// SPDX-License-Identifier: Apache-2.0
// Two DPDK ports in one process: what testpmd does in its io mode, as two guests that talk through a host, or as the host
// between them. See end.h for the options.
//
//   circle   the guests: what comes in at the second port goes out of the first one again, a number of frames under way;
//            measures what came in
//   bridge   the host: what comes in at one port goes out of the other, unseen; measures its busy turns

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "benchmarks/dpdk/eal.h"
#include "benchmarks/dpdk/end.h"
#include "benchmarks/measuring_end.h"

namespace sluice::bench::dpdk {
namespace {

constexpr uint16_t kBurst = 32;
constexpr uint16_t kTcpSegment = 1448;  // of frames that are still to be cut

// A mbuf and those behind it, together as long as the frame.
rte_mbuf* MakeFrame(rte_mempool* buffers, const EndOptions& options) {
  rte_mbuf* frame = nullptr;
  for (uint32_t left = options.length; left != 0;) {
    rte_mbuf* const piece = rte_pktmbuf_alloc(buffers);
    if (piece == nullptr) return nullptr;
    const uint32_t here = std::min(left, options.room);
    std::memset(rte_pktmbuf_append(piece, static_cast<uint16_t>(here)), 0x5a, here);
    left -= here;
    if (frame == nullptr) {
      frame = piece;
    } else if (rte_pktmbuf_chain(frame, piece) != 0) {
      return nullptr;
    }
  }
  WriteTestHeaders(rte_pktmbuf_mtod(frame, uint8_t*), options.length, options.tso);
  return frame;
}

// What a guest's TCP asks its card for: checksum, and cutting.
void AskToCut(rte_mbuf* frame) {
  frame->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
  frame->l2_len = 14;
  frame->l3_len = 20;
  frame->l4_len = 20;
  frame->tso_segsz = kTcpSegment;
}

class Circle {
 public:
  Circle(const EndOptions& options, rte_mempool* buffers) : options_(options), buffers_(buffers) {}

  absl::Status Run() {
    while (!LinkUp(0) || !LinkUp(1)) usleep(1000);
    AwaitHost();
    if (absl::Status status = Begin(); !status.ok()) return status;
    MeasuringEnd measuring(options_.length, options_.seconds);
    while (measuring.good() && (options_.feeds() || !measuring.Done())) Turn(measuring);
    if (!measuring.good()) return absl::DataLossError("frames came back changed");
    measuring.Print();
    return absl::OkStatus();
  }

 private:
  // Until the host carries frames: sends one now and then from either side, so that it learns where the second is.
  void AwaitHost() {
    while (Drain(1) == 0) {
      for (const uint16_t port : {uint16_t{1}, uint16_t{0}}) {
        rte_mbuf* frame = MakeFrame(buffers_, {.length = 64});
        if (port == 1) SwapAddresses(rte_pktmbuf_mtod(frame, uint8_t*));
        if (rte_eth_tx_burst(port, 0, &frame, 1) == 0) rte_pktmbuf_free(frame);
      }
      usleep(2000);
      Drain(0);
    }
    usleep(20'000);
    Drain(0);
    Drain(1);
  }

  size_t Drain(uint16_t port) {
    rte_mbuf* burst[kBurst];
    size_t sum = 0;
    while (const uint16_t got = rte_eth_rx_burst(port, 0, burst, kBurst)) {
      rte_pktmbuf_free_bulk(burst, got);
      sum += got;
    }
    return sum;
  }

  absl::Status Begin() {
    for (uint32_t i = 0; i < options_.under_way; ++i) {
      rte_mbuf* frame = MakeFrame(buffers_, options_);
      if (frame == nullptr) return absl::ResourceExhaustedError("too few buffers");
      if (options_.tso) AskToCut(frame);
      if (rte_eth_tx_burst(0, 0, &frame, 1) == 0) rte_pktmbuf_free(frame);
    }
    return absl::OkStatus();
  }

  // Takes what has come, and sends it, and what could not be sent before.
  void Turn(MeasuringEnd& measuring) {
    const uint16_t got = rte_eth_rx_burst(1, 0, waiting_ + count_, static_cast<uint16_t>(kBurst - count_));
    for (uint16_t i = count_; i < count_ + got; ++i) {
      measuring.Check(rte_pktmbuf_mtod(waiting_[i], const uint8_t*), waiting_[i]->pkt_len);
      if (options_.tso) AskToCut(waiting_[i]);
    }
    measuring.Count(got);
    count_ = static_cast<uint16_t>(count_ + got);
    const uint16_t sent = rte_eth_tx_burst(0, 0, waiting_, count_);
    count_ = static_cast<uint16_t>(count_ - sent);
    if (sent != 0 && count_ != 0) std::memmove(waiting_, waiting_ + sent, count_ * sizeof waiting_[0]);
  }

  const EndOptions& options_;
  rte_mempool* const buffers_;
  rte_mbuf* waiting_[kBurst];  // to be sent
  uint16_t count_ = 0;
};

// What came in at one port goes out of the other; what that does not take is lost.
uint16_t Carry(uint16_t from, uint16_t to) {
  rte_mbuf* burst[kBurst];
  const uint16_t got = rte_eth_rx_burst(from, 0, burst, kBurst);
  if (got == 0) return 0;
  const uint16_t sent = rte_eth_tx_burst(to, 0, burst, got);
  if (sent < got) [[unlikely]]
    rte_pktmbuf_free_bulk(burst + sent, got - sent);
  return sent;
}

void Bridge(const EndOptions& options) {
  while (options.feeds()) {
    Carry(0, 1);
    Carry(1, 0);
  }
  MeasuringEnd measuring(options.length, options.seconds);
  while (!measuring.Done()) {
    measuring.Begin();
    const size_t sent = size_t{Carry(0, 1)} + Carry(1, 0);
    measuring.End(sent, kBurst);
  }
  measuring.Print();
}

absl::Status Run(const EndOptions& options) {
  if (options.vdevs.size() != 2) return absl::InvalidArgumentError("two --vdev");
  absl::StatusOr<rte_mempool*> buffers = StartEnd(options);
  if (!buffers.ok()) return buffers.status();
  SayReady();
  if (options.mode == "circle") return Circle(options, *buffers).Run();
  Bridge(options);
  return absl::OkStatus();
}

}  // namespace
}  // namespace sluice::bench::dpdk

int main(int argc, char** argv) { return sluice::bench::dpdk::EndMain(argc, argv, sluice::bench::dpdk::Run); }

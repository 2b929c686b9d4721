// SPDX-License-Identifier: Apache-2.0
// One end of a cable, on an XdpNic; see xdp_end.h.
//
//   xdp_port --mode=receive --interface=veth1 [--wait=sleep] [--length=64] [--seconds=0.5] [--ring=2048] [--cpu=1]

#include <cstdio>
#include <cstring>

#include "benchmarks/nic/xdp_end.h"
#include "sluice/nic/xdp_nic.h"

namespace sluice::bench {
namespace {

void Fill(PacketPool& pool, Burst& burst, uint32_t length) {
  pool.Get(burst, kXdpBurst - burst.size());
  for (Packet* packet : burst) {
    std::memcpy(packet->data(), kTestFrame, sizeof kTestFrame);
    packet->SetLength(length);
  }
}

// Endless.
void Send(TxQueue& queue, PacketPool& pool, const XdpEndOptions& options) {
  Pace pace(options.rate);
  while (true) {
    const uint32_t due = pace.Next();
    if (due == 0) continue;
    Burst waiting, burst;
    Fill(pool, waiting, options.length);
    waiting.MoveFront(std::min<size_t>(due, waiting.size()), burst);
    while (!burst.empty()) pace.Sent(static_cast<uint32_t>(queue.Send(burst)));
  }
}

void Idle(const XdpEndOptions& options, RxQueue& queue) {
  if (options.sleeps() && queue.Arm()) WaitReadable(queue.fd());
}

void Receive(RxQueue& queue, const XdpEndOptions& options, MeasuringEnd& end) {
  while (!end.Done()) {
    Burst burst;
    if (queue.Receive(burst) == 0) {
      Idle(options, queue);
      continue;
    }
    for (const Packet* packet : burst) end.Check(packet->data(), packet->length());
    end.Count(burst.size());
  }
}

void Forward(RxQueue& in, TxQueue& out, const XdpEndOptions& options, MeasuringEnd& end) {
  while (!end.Done()) {
    Burst burst;
    if (in.Receive(burst) == 0) {
      out.Reclaim();
      Idle(options, in);
      continue;
    }
    for (Packet* packet : burst) {
      end.Check(packet->data(), packet->length());
      SwapAddresses(packet->data());
    }
    while (!burst.empty()) end.Count(out.Send(burst));
  }
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "xdp_port: %s\n", status.ToString().c_str());
  return 1;
}

int Run(const XdpEndOptions& options) {
  PinThisProcess(options.cpu);
  auto pool = PacketPool::Create({.name = "xdp_port", .packets = 8192});
  if (!pool.ok()) return Fail(pool.status());
  auto nic = OpenXdpNic({.interface = options.interface});
  if (!nic.ok()) return Fail(nic.status());
  const absl::Status started =
      (*nic)->Start({.rx_ring = options.ring, .tx_ring = options.ring, .pool = pool->get()});
  if (!started.ok()) return Fail(started);
  SayReady();
  RxQueue& in = (*nic)->rx(QueueId(0));
  TxQueue& out = (*nic)->tx(QueueId(0));
  MeasuringEnd end(options.length, options.seconds);
  if (options.mode == "send") Send(out, **pool, options);
  if (options.mode == "receive") Receive(in, options, end);
  if (options.mode == "forward") Forward(in, out, options, end);
  end.Print();
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::XdpEndOptions options;
  if (!sluice::bench::ParseXdpOptions(argc, argv, options)) {
    return std::fprintf(stderr, "usage: xdp_port --mode=send|receive|forward --interface=NAME\n"), 2;
  }
  return sluice::bench::Run(options);
}

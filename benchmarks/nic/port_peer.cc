// SPDX-License-Identifier: Apache-2.0
// One end of a connection between two ports; see ends.h for what an end prints.
//
//   port_peer receive|send PORT LENGTH CPU [--seconds=0.5] [--ring=1024] [--written=64] [--busy]
//
//   PORT      as in control/open_port.h: "shm:/tmp/socket,role=server"
//   receive   looks at each frame, frees it; measures
//   send      gets a packet for each frame, writes its first bytes (as many as --written says), and sends it
//   --busy    measures the work apart from the waiting, of either

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "benchmarks/machine.h"
#include "benchmarks/measuring_end.h"
#include "sluice/control/open_port.h"

namespace sluice::bench {
namespace {

constexpr size_t kBurst = 32;
constexpr uint32_t kPackets = 4096;

struct Options {
  bool sends = false;
  std::string port;
  uint32_t length = 64;
  int cpu = 0;
  double seconds = 0.5;
  uint32_t ring = 1024;
  uint32_t written = sizeof kTestFrame;
  bool busy = false;
};

bool ParseOption(absl::string_view argument, Options& options) {
  if (absl::ConsumePrefix(&argument, "--seconds=")) return absl::SimpleAtod(argument, &options.seconds);
  if (argument == "--busy") return options.busy = true;
  if (absl::ConsumePrefix(&argument, "--ring=")) return absl::SimpleAtoi(argument, &options.ring);
  return absl::ConsumePrefix(&argument, "--written=") && absl::SimpleAtoi(argument, &options.written);
}

bool Parse(const std::vector<absl::string_view>& arguments, Options& options) {
  if (arguments.size() < 4 || (arguments[0] != "send" && arguments[0] != "receive")) return false;
  options.sends = arguments[0] == "send";
  options.port = std::string(arguments[1]);
  if (!absl::SimpleAtoi(arguments[2], &options.length) || !absl::SimpleAtoi(arguments[3], &options.cpu))
    return false;
  return std::all_of(arguments.begin() + 4, arguments.end(),
                     [&](absl::string_view argument) { return ParseOption(argument, options); });
}

void Serve(Nic& nic) {
  for (const NicEvent& event : nic.TakeEvents()) {
    if (!event.detail.empty()) std::fprintf(stderr, "%s\n", event.detail.c_str());
  }
}

void AwaitPeer(Nic& nic) {
  while (nic.link() == LinkState::kDown) Serve(nic);
}

void Fill(Packet& packet, const Options& options) {
  std::memcpy(packet.data(), kTestFrame, sizeof kTestFrame);
  if (options.written > sizeof kTestFrame)
    std::memset(packet.data() + sizeof kTestFrame, 0x5a, options.written - sizeof kTestFrame);
  packet.SetLength(options.length);
}

// What is left of the burst stays in front.
void FillUp(Burst& burst, PacketPool& pool, const Options& options) {
  const size_t left = burst.size();
  pool.Get(burst, kBurst - left);
  for (size_t i = left; i < burst.size(); ++i) Fill(burst[i], options);
}

// Serves whoever a port listens to, now and then while nothing moves.
class IdleService {
 public:
  explicit IdleService(Nic& nic) : nic_(nic) {}
  void Note(size_t moved) {
    if (moved == 0 && ++idle_ % kTurns == 0) Serve(nic_);
  }

 private:
  static constexpr size_t kTurns = 256;
  Nic& nic_;
  size_t idle_ = 0;
};

// Endless: an end that feeds is ended by a signal.
void Send(Nic& nic, PacketPool& pool, const Options& options) {
  AwaitPeer(nic);
  TxQueue& queue = nic.tx(QueueId(0));
  IdleService service(nic);
  Burst burst;
  while (true) {
    FillUp(burst, pool, options);
    service.Note(queue.Send(burst));
  }
}

// A front-end, or whoever else the port listens to, is served between turns.
void SendBusy(Nic& nic, PacketPool& pool, const Options& options) {
  MeasuringEnd measuring(options.length, options.seconds);
  AwaitPeer(nic);
  TxQueue& queue = nic.tx(QueueId(0));
  Burst burst;
  while (!measuring.Done()) {
    measuring.Begin();
    FillUp(burst, pool, options);
    const size_t sent = queue.Send(burst);
    measuring.End(sent, kBurst);
    if (sent == 0) Serve(nic);
  }
  measuring.Print();
}

void ReceiveBusy(Nic& nic, const Options& options) {
  MeasuringEnd measuring(options.length, options.seconds);
  AwaitPeer(nic);
  RxQueue& queue = nic.rx(QueueId(0));
  while (!measuring.Done()) {
    Burst burst;
    measuring.Begin();
    const size_t got = queue.Receive(burst);
    for (const Packet* packet : burst) measuring.Check(packet->data(), packet->length());
    burst.Clear();
    measuring.End(got, kBurst);
    if (got == 0) Serve(nic);
  }
  measuring.Print();
}

void Receive(Nic& nic, const Options& options) {
  MeasuringEnd measuring(options.length, options.seconds);
  AwaitPeer(nic);
  RxQueue& queue = nic.rx(QueueId(0));
  IdleService service(nic);
  while (!measuring.Done()) {
    Burst burst;
    const size_t got = queue.Receive(burst);
    measuring.Count(got);
    for (const Packet* packet : burst) measuring.Check(packet->data(), packet->length());
    service.Note(got);
  }
  measuring.Print();
}

absl::Status Run(const Options& options) {
  PinThisProcess(options.cpu);
  auto pool = PacketPool::Create({.name = "port_peer", .packets = kPackets});
  if (!pool.ok()) return pool.status();
  auto nic = OpenPort(options.port);
  if (!nic.ok()) return nic.status();
  const QueueOptions queues{.rx_ring = options.ring, .tx_ring = options.ring, .pool = pool->get()};
  if (absl::Status started = (*nic)->Start(queues); !started.ok()) return started;
  SayReady();
  if (options.busy) {
    options.sends ? SendBusy(**nic, **pool, options) : ReceiveBusy(**nic, options);
  } else {
    options.sends ? Send(**nic, **pool, options) : Receive(**nic, options);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options options;
  if (!sluice::bench::Parse({argv + 1, argv + argc}, options)) {
    std::fprintf(
        stderr,
        "usage: %s send|receive PORT LENGTH CPU [--seconds=S] [--ring=N] [--written=BYTES] [--busy]\n",
        argv[0]);
    return 2;
  }
  const absl::Status status = sluice::bench::Run(options);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
// The host between guests: an engine with one worker that polls, as in examples/host.cc, which learns addresses and forwards
// by them. See ends.h for what an end prints.
//
//   guest_switch busy|poll|sleep LENGTH CPU PORT...
//
//   busy     measures its turns that moved frames, for half a second
//   poll     measures nothing, and goes on until it is ended; so does
//   sleep    which sleeps when nothing has come for a while
//   PORT     as in control/open_port.h: "vhost:/run/guest1.sock"

#include <poll.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "benchmarks/machine.h"
#include "benchmarks/measuring_end.h"
#include "sluice/control/engine.h"
#include "sluice/control/open_port.h"

namespace sluice::bench {
namespace {

constexpr size_t kBurst = 32;
constexpr uint32_t kPackets = 16384;

constexpr double kSeconds = 0.5;

struct Options {
  std::string mode;
  uint32_t length = 0;
  int cpu = 0;
  std::vector<std::string> ports;
};

bool Parse(const std::vector<std::string>& arguments, Options& options) {
  if (arguments.size() < 4) return false;
  options.mode = arguments[0];
  options.ports.assign(arguments.begin() + 3, arguments.end());
  return (options.mode == "busy" || options.mode == "poll" || options.mode == "sleep") &&
         absl::SimpleAtoi(arguments[1], &options.length) && absl::SimpleAtoi(arguments[2], &options.cpu);
}

class Host {
 public:
  absl::Status Open(const Options& options) {
    absl::StatusOr<std::unique_ptr<PacketPool>> pool =
        PacketPool::Create({.name = "guest_switch", .packets = kPackets});
    if (!pool.ok()) return pool.status();
    pool_ = *std::move(pool);
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(
        {.pool = pool_.get(),
         .worker = {.mode = options.mode == "sleep" ? WorkerMode::kAdaptive : WorkerMode::kPoll}});
    if (!engine.ok()) return engine.status();
    engine_ = *std::move(engine);
    for (const std::string& text : options.ports) {
      absl::StatusOr<std::unique_ptr<Nic>> nic = OpenPort(text);
      if (!nic.ok()) return nic.status();
      const absl::StatusOr<PortId> port = engine_->AddPort(*std::move(nic), {.switching = {.name = text}});
      if (!port.ok()) return port.status();
      ports_.push_back(*port);
    }
    return absl::OkStatus();
  }

  // A turn, and what the guests' hypervisors ask for when there was nothing.
  [[noreturn]] void Poll() {
    while (true) {
      if (worker().PollOnce() == 0) Serve();
    }
  }

  // The worker has a thread, so that it may sleep; this one does the rest.
  [[noreturn]] void Sleep() {
    std::thread([this] {
      while (true) {
        if (worker().PollOnce() == 0) worker().Wait(absl::Seconds(1));
      }
    }).detach();
    while (true) {
      pollfd happened{.fd = engine_->event_fd(), .events = POLLIN, .revents = 0};
      poll(&happened, 1, -1);
      Serve();
    }
  }

  void Measure(const Options& options) {
    MeasuringEnd measuring(options.length, kSeconds);
    uint64_t before = 0;
    while (!measuring.Done()) {
      measuring.Begin();
      const size_t moved = worker().PollOnce();
      measuring.Stop(moved != 0);
      const uint64_t sent = moved == 0 ? before : Sent();
      measuring.Finish(sent - before, kBurst);
      before = sent;
      if (moved == 0) Serve();
    }
    measuring.Print();
  }

 private:
  Worker& worker() { return engine_->worker(WorkerId{0}); }

  uint64_t Sent() {
    uint64_t sum = 0;
    for (const PortId port : ports_) sum += engine_->nic(port)->tx(QueueId{0}).stats().packets;
    return sum;
  }

  void Serve() {
    for (const PortEvent& happened : engine_->TakeEvents()) {
      if (!happened.event.detail.empty()) std::fprintf(stderr, "%s\n", happened.event.detail.c_str());
    }
  }

  std::unique_ptr<PacketPool> pool_;
  std::unique_ptr<Engine> engine_;
  std::vector<PortId> ports_;
};

absl::Status Run(const Options& options) {
  PinThisProcess(options.cpu);
  Host host;
  if (absl::Status status = host.Open(options); !status.ok()) return status;
  SayReady();
  if (options.mode == "poll") host.Poll();
  if (options.mode == "sleep") host.Sleep();
  host.Measure(options);
  return absl::OkStatus();
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options options;
  if (!sluice::bench::Parse({argv + 1, argv + argc}, options)) {
    std::fprintf(stderr, "usage: %s busy|poll|sleep LENGTH CPU PORT...\n", argv[0]);
    return 2;
  }
  const absl::Status status = sluice::bench::Run(options);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

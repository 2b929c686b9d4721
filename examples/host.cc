// SPDX-License-Identifier: Apache-2.0
// A host: ports from the command line, a switch between them, a thread a worker, and a live table. This is what
// quickstart.sh runs.
//
//   host --workers 2 xdp:tap-guest1 xdp:tap-guest2 xdp:eth1
//
// SIGTERM and SIGINT end it cleanly; SIGUSR1 writes a snapshot as JSON.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>

#include "sluice/control/engine.h"
#include "sluice/control/open_port.h"

using namespace sluice;

namespace {

struct Options {
  std::vector<std::string> ports;
  uint16_t workers = 1;
  WorkerMode mode = WorkerMode::kAdaptive;
  uint32_t packets = 16384;
  std::string json_file;
  bool json = false;
  bool quiet = false;
};

const std::map<std::string, WorkerMode> kModes = {
    {"poll", WorkerMode::kPoll}, {"adaptive", WorkerMode::kAdaptive}, {"interrupt", WorkerMode::kInterrupt}};

absl::Status AddPorts(Engine& engine, const Options& options) {
  for (const std::string& text : options.ports) {
    absl::StatusOr<std::unique_ptr<Nic>> nic = OpenPort(text);
    if (!nic.ok()) return nic.status();
    absl::StatusOr<PortId> port = engine.AddPort(*std::move(nic), {.switching = {.name = text}});
    if (!port.ok()) return port.status();
  }
  return absl::OkStatus();
}

void WriteJson(const Engine& engine, const Options& options) {
  if (!options.json_file.empty()) std::ofstream(options.json_file) << ToJson(engine.snapshot()) << "\n";
}

// A device that is gone takes its port with it; the rest goes on.
void HandleEvents(Engine& engine) {
  constexpr const char* kKinds[] = {"link up", "link down", "device gone", "queue error"};
  for (const PortEvent& happened : engine.TakeEvents()) {
    std::fprintf(stderr, "port %d: %s %s\n", happened.port.value(),
                 kKinds[static_cast<size_t>(happened.event.kind)], happened.event.detail.c_str());
    if (happened.event.kind == NicEvent::Kind::kRemoved) (void)engine.RemovePort(happened.port);
  }
}

// Until SIGTERM or SIGINT; shows the table every second on a terminal.
void Supervise(Engine& engine, const Options& options, int signals) {
  const bool table = isatty(STDOUT_FILENO) && !options.quiet;
  pollfd watched[] = {{signals, POLLIN, 0}, {engine.event_fd(), POLLIN, 0}};
  for (;;) {
    const int ready = poll(watched, 2, table ? 1000 : -1);
    if (ready > 0 && (watched[1].revents & POLLIN) != 0) HandleEvents(engine);
    if (ready > 0 && (watched[0].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      if (read(signals, &info, sizeof(info)) != sizeof(info)) continue;
      if (info.ssi_signo != SIGUSR1) return;
      WriteJson(engine, options);
    }
    if (table) std::printf("\033[H\033[2J%s", ToText(engine.snapshot()).c_str()), std::fflush(stdout);
  }
}

int Run(const Options& options, int signals) {
  auto pool = PacketPool::Create({.name = "host", .packets = options.packets});
  if (!pool.ok()) return std::cerr << pool.status().message() << "\n", 1;
  auto engine =
      Engine::Create({.pool = pool->get(), .workers = options.workers, .worker = {.mode = options.mode}});
  if (!engine.ok()) return std::cerr << engine.status().message() << "\n", 1;
  if (absl::Status added = AddPorts(**engine, options); !added.ok()) {
    return std::cerr << added.message() << "\n", 1;
  }
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (uint16_t i = 0; i < options.workers; ++i) {
    threads.emplace_back([&stop, &worker = (*engine)->worker(WorkerId{i})] {
      while (!stop.load(std::memory_order_relaxed)) {
        if (worker.PollOnce() == 0) worker.Wait(absl::Seconds(1));
      }
    });
  }
  std::fprintf(stderr, "ready: %zu ports, %d workers\n", options.ports.size(), options.workers);
  Supervise(**engine, options, signals);

  stop = true;
  for (uint16_t i = 0; i < options.workers; ++i) (*engine)->worker(WorkerId{i}).Wake();
  for (std::thread& thread : threads) thread.join();
  WriteJson(**engine, options);
  std::cout << (options.json ? ToJson((*engine)->snapshot()) + "\n" : ToText((*engine)->snapshot()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Switches packets between ports: xdp:IF rdma:DEV/PORT vhost:PATH packet:IF tap:IF shm:PATH pcap:FILE "
      "model:null|loop"};
  app.add_option("ports", options.ports, "ports, as in control/open_port.h")->required();
  app.add_option("--workers", options.workers, "threads")->check(CLI::Range(1, 64));
  app.add_option("--mode", options.mode, "how idle workers wait")
      ->transform(CLI::CheckedTransformer(kModes).description("poll, adaptive or interrupt"));
  app.add_option("--pool", options.packets, "packet buffers of 2 KiB")->check(CLI::Range(256, 1 << 22));
  app.add_option("--snapshot-json", options.json_file, "where SIGUSR1, and the end, write a snapshot");
  app.add_flag("--json", options.json, "print the last snapshot as JSON");
  app.add_flag("--quiet", options.quiet, "no live table");
  CLI11_PARSE(app, argc, argv);

  // Before there is a thread, so that all inherit it: signals come to the descriptor only.
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&mask, signal);
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  const int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  const int status = Run(options, signals);
  close(signals);
  return status;
}

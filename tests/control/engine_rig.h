// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_CONTROL_ENGINE_RIG_H_
#define SLUICE_TESTS_CONTROL_ENGINE_RIG_H_

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "sluice/control/engine.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "tests/support/frames.h"

namespace sluice::testing {

inline std::string MacOfGuest(uint8_t number) { return "02:00:00:00:00:0" + std::to_string(number); }

// A NIC at the far end of a cable to a port of the engine.
struct FarEnd {
  std::unique_ptr<Nic> nic;
  PortId port;

  // Waits for a worker on another thread to make room, where there is none.
  void Send(PacketPool& pool, const Bytes& frame) {
    Burst burst;
    burst.Push(MakePacket(pool, frame));
    const absl::Time end = absl::Now() + absl::Seconds(10);
    while (nic->tx(QueueId{0}).Send(burst) == 0 && absl::Now() < end) std::this_thread::yield();
    REQUIRE(burst.empty());
  }
  // Everything that waits.
  std::vector<Bytes> Receive() {
    std::vector<Bytes> frames;
    for (Burst burst; nic->rx(QueueId{0}).Receive(burst) != 0; burst.Clear()) {
      for (const Packet* packet : burst) frames.push_back(BytesOf(*packet));
    }
    return frames;
  }
};

// An engine, and guests on it. The pool outlives all.
struct EngineRig {
  explicit EngineRig(uint16_t workers = 1, const WorkerOptions& worker = {.mode = WorkerMode::kInterrupt},
                     const Clock& clock = Clock::Monotonic())
      : pool(PacketPool::Create({.packets = 8192, .huge_pages = HugePages::kOff}).value()),
        engine(Engine::Create({.pool = pool.get(), .workers = workers, .worker = worker, .clock = &clock})
                   .value()) {}

  FarEnd Add(const std::string& name, const ModelHardware& hardware = {}, const PortOptions& options = {}) {
    auto [here, there] = MakeWirePair();
    FarEnd guest;
    guest.nic = ModelNic::Open({.name = name}, std::move(there)).value();
    REQUIRE(guest.nic->Start({.pool = pool.get()}).ok());
    PortOptions named = options;
    named.switching.name = name;
    auto nic = ModelNic::Open({.name = "to " + name, .hardware = hardware}, std::move(here)).value();
    guest.port = engine->AddPort(std::move(nic), named).value();
    return guest;
  }

  // Polls every worker until none finds anything.
  void Settle() {
    for (size_t moved = 1; moved != 0;) {
      moved = 0;
      for (uint16_t i = 0; i < engine->worker_count(); ++i) moved += engine->worker(WorkerId{i}).PollOnce();
    }
  }

  std::unique_ptr<PacketPool> pool;
  std::unique_ptr<Engine> engine;
};

// Runs all workers on threads of their own until it goes.
class RunningWorkers {
 public:
  explicit RunningWorkers(Engine& engine) : engine_(engine) {
    for (uint16_t i = 0; i < engine.worker_count(); ++i) {
      threads_.emplace_back([this, &worker = engine.worker(WorkerId{i})] {
        while (!stop_.load(std::memory_order_relaxed)) {
          if (worker.PollOnce() == 0) worker.Wait(absl::Minutes(1));
        }
      });
    }
  }
  ~RunningWorkers() {
    stop_ = true;
    for (uint16_t i = 0; i < engine_.worker_count(); ++i) engine_.worker(WorkerId{i}).Wake();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  Engine& engine_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

inline Bytes FrameBetween(uint8_t from, uint8_t to, const std::string& payload = "hello") {
  return UdpFrame({.source_mac = MacOfGuest(from), .destination_mac = MacOfGuest(to), .payload = payload});
}

// Of one of many flows, which RSS spreads.
inline Bytes FlowBetween(uint8_t from, uint8_t to, uint16_t flow) {
  return UdpFrame({.source_mac = MacOfGuest(from), .destination_mac = MacOfGuest(to), .source_port = flow});
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_CONTROL_ENGINE_RIG_H_

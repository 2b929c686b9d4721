// SPDX-License-Identifier: Apache-2.0
// A host that has started: four ports of two queues with rings of 1,024, a switch, two workers. Prints the bytes of memory
// that the process then holds.

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "benchmarks/memory.h"
#include "sluice/control/engine.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kQueues = 2;
constexpr uint32_t kRing = 1024;

absl::Status AddPort(Engine& engine, const std::string& name, std::unique_ptr<Wire> wire) {
  absl::StatusOr<std::unique_ptr<ModelNic>> nic = ModelNic::Open({.name = name}, std::move(wire));
  if (!nic.ok()) return nic.status();
  return engine
      .AddPort(*std::move(nic),
               {.rx_queues = kQueues, .tx_queues = kQueues, .rx_ring = kRing, .tx_ring = kRing})
      .status();
}

absl::Status Run() {
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({.packets = 16384});
  if (!pool.ok()) return pool.status();
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create({.pool = pool->get(), .workers = kQueues});
  if (!engine.ok()) return engine.status();
  for (int cable = 0; cable < 2; ++cable) {
    auto [here, there] = MakeWirePair();
    const std::string name = absl::StrCat("cable", cable);
    if (absl::Status status = AddPort(**engine, name + "a", std::move(here)); !status.ok()) return status;
    if (absl::Status status = AddPort(**engine, name + "b", std::move(there)); !status.ok()) return status;
  }
  for (uint16_t i = 0; i < kQueues; ++i) (*engine)->worker(WorkerId{i}).PollOnce();
  std::printf("bytes %zu\n", MemoryHeld());
  return absl::OkStatus();
}

}  // namespace
}  // namespace sluice::bench

int main() {
  const absl::Status status = sluice::bench::Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

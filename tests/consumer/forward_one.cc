// SPDX-License-Identifier: Apache-2.0
// A program of somebody else's: forwards one packet from the port `left` to the port `right`, and says whether what came out
// is what went in.
//
//   source ══ cable ══ left ──▶ right ══ cable ══ sink

#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"

namespace {

constexpr sluice::QueueId kFirst{0};
constexpr char kText[] = "a frame of some sixty bytes, Ethernet header and all, for us";

std::unique_ptr<sluice::Nic> OpenPort(const char* name, std::unique_ptr<sluice::Wire> wire,
                                      sluice::PacketPool& pool) {
  auto nic = sluice::ModelNic::Open({.name = name}, std::move(wire)).value();
  if (const absl::Status started = nic->Start({.pool = &pool}); !started.ok()) {
    std::fprintf(stderr, "%s\n", started.ToString().c_str());
    return nullptr;
  }
  return nic;
}

}  // namespace

int main() {
  const auto pool = sluice::PacketPool::Create({.packets = 1024}).value();
  auto [cable_a, cable_b] = sluice::MakeWirePair();
  auto [cable_c, cable_d] = sluice::MakeWirePair();
  const auto source = OpenPort("source", std::move(cable_a), *pool);
  const auto left = OpenPort("left", std::move(cable_b), *pool);
  const auto right = OpenPort("right", std::move(cable_c), *pool);
  const auto sink = OpenPort("sink", std::move(cable_d), *pool);
  if (!source || !left || !right || !sink) return 1;

  sluice::Burst burst;
  pool->Get(burst, 1);
  std::memcpy(burst[0].data(), kText, sizeof kText);
  burst[0].SetLength(sizeof kText);
  source->tx(kFirst).Send(burst);

  left->rx(kFirst).Receive(burst);
  right->tx(kFirst).Send(burst);
  sink->rx(kFirst).Receive(burst);

  const bool same = burst.size() == 1 && burst[0].length() == sizeof kText &&
                    std::memcmp(burst[0].data(), kText, sizeof kText) == 0;
  std::puts(same ? "forwarded" : "not forwarded");
  return same ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
// What strikes a verbs port's card in the middle of traffic: no frame comes twice or out of turn, and no packet is lost to
// its pool.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/nic/verbs_pair.h"
#include "tests/support/nic_bench.h"
#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr QueueId kFirst{0};

struct Strike {
  const char* name;
  bool passes;  // and frames come again
  void (*at)(SoftwareVerbs& sender, SoftwareVerbs& receiver);
};

void Overrun(SoftwareVerbs& device) {
  for (uint32_t handle = 0; handle < 16; ++handle) (void)device.OverrunCompletions(handle);
}

constexpr bool kPasses = true, kStays = false;
const Strike kStrikes[] = {
    {"frames are lost", kPasses,
     [](auto& sender, auto&) { sender.SetFaults({.send = {.lose_chance = 0.2}}); }},
    {"frames are delayed", kPasses,
     [](auto&, auto& receiver) { receiver.SetFaults({.receive = {.delay_chance = 0.2}}); }},
    {"completions are late", kPasses,
     [](auto& sender, auto&) { sender.SetFaults({.completions_late = absl::Microseconds(50)}); }},
    {"the sender's queues fail", kPasses, [](auto& sender, auto&) { sender.FailQueues(); }},
    {"the receiver's queues fail", kPasses, [](auto&, auto& receiver) { receiver.FailQueues(); }},
    {"the cable is pulled", kPasses, [](auto& sender, auto&) { sender.PlugCable(false); }},
    {"the sender's completions are overrun", kStays, [](auto& sender, auto&) { Overrun(sender); }},
    {"the receiver's completions are overrun", kStays, [](auto&, auto& receiver) { Overrun(receiver); }},
    {"the sender is removed", kStays, [](auto& sender, auto&) { sender.Remove(); }},
    {"the receiver is removed", kStays, [](auto&, auto& receiver) { receiver.Remove(); }},
};

// Frames on their way from a to b, numbered as they are taken.
class Traffic {
 public:
  Traffic() : bench(VerbsSubject({.patience = absl::Milliseconds(1)})) { bench.Start(); }

  SoftwareVerbs& sender() { return around().first->device(); }
  SoftwareVerbs& receiver() { return around().second->device(); }

  void Turn(size_t count) {
    Burst burst = bench.Frames(taken, count);
    taken += static_cast<uint32_t>(bench.a().tx(kFirst).Send(burst));
    bench.a().tx(kFirst).Reclaim();
    (void)bench.a().TakeEvents();
    (void)bench.b().TakeEvents();
    Burst came;
    bench.b().rx(kFirst).Receive(came);
    for (const Packet* packet : came) {
      uint32_t number = 0;
      if (IsNumbered(*packet, number)) arrived.push_back(number);
    }
  }

  NicBench bench;  // at whose end every packet is home
  uint32_t taken = 0;
  Numbers arrived;

 private:
  using Around = std::pair<std::unique_ptr<SoftContext>, std::unique_ptr<SoftContext>>;
  Around& around() { return *static_cast<Around*>(bench.rig().around.get()); }
};

TEST_CASE("whatever strikes the card of a verbs port, no frame comes twice or out of turn (I1, I2, I4)") {
  Random random(PrintedSeed());
  const Strike& strike = kStrikes[GENERATE(range(0, static_cast<int>(std::size(kStrikes))))];
  CAPTURE(strike.name);
  Traffic traffic;
  for (int turn = 0; turn < 50; ++turn) traffic.Turn(Below(random, 32));
  CHECK_FALSE(traffic.arrived.empty());
  strike.at(traffic.sender(), traffic.receiver());
  for (int turn = 0; turn < 100; ++turn) traffic.Turn(Below(random, 32));
  traffic.sender().PlugCable(true);
  traffic.sender().SetFaults({});
  traffic.receiver().SetFaults({});
  const uint32_t healed = traffic.taken;
  for (int turn = 0; turn < 200; ++turn) traffic.Turn(turn < 100 ? 1 : 0);
  CHECK(std::is_sorted(traffic.arrived.begin(), traffic.arrived.end()));
  CHECK(std::adjacent_find(traffic.arrived.begin(), traffic.arrived.end()) == traffic.arrived.end());
  CHECK(traffic.arrived.back() < traffic.taken);
  CHECK((traffic.arrived.back() >= healed) == strike.passes);
}

}  // namespace
}  // namespace sluice::testing

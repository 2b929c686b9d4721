// SPDX-License-Identifier: Apache-2.0
// Every capture at hand, the malformed ones first of all, through a whole host: each frame goes out or is counted.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "sluice/nic/capture_nic.h"
#include "tests/control/engine_rig.h"
#include "tests/support/test_data.h"

namespace sluice::testing {
namespace {

// Good hardware that looks into every frame, on a cable to itself: what the switch sends comes in again.
std::unique_ptr<Nic> CuriousLoop() {
  return ModelNic::Open({.name = "curious",
                         .strip_vlan = true,
                         .verify_checksums = true,
                         .drop_bad_checksums = true,
                         .stamp = true},
                        MakeLoopWire())
      .value();
}

// How many frames went through, or were refused by the device as none; nothing for a file that was refused.
size_t PassThroughHost(const std::string& file) {
  auto nic = OpenCaptureNic({.read_path = file});
  if (!nic.ok()) {
    CHECK(ProblemOf(nic.status()).has_value());
    CHECK_FALSE(ProblemOf(nic.status())->remedy.empty());
    return 0;
  }
  EngineRig rig(2);
  PortId in = rig.engine->AddPort(*std::move(nic), {.switching = {.name = "in"}}).value();
  CHECK(rig.engine->AddPort(CuriousLoop(), {.switching = {.name = "loop"}, .rx_queues = 3}).ok());
  rig.Settle();

  const Snapshot after = rig.engine->snapshot();
  CHECK(BalanceOf(after).difference() == 0);
  const QueueStats taken = rig.engine->nic(in)->rx(QueueId{0}).stats();
  rig.engine.reset();
  CHECK(rig.pool->available() == rig.pool->options().packets);
  return taken.packets + taken.drops.total();
}

TEST_CASE(
    "each frame of every capture is forwarded or counted by a host, or the file refused with a remedy") {
  size_t frames = 0;
  size_t files = 0;
  for (const char* folder : {"malformed", "overlay", "gso", "tcp", "attack"}) {
    for (const std::string& file : TestDataFiles(absl::StrCat("pcap/", folder))) {
      INFO(file);
      const size_t passed = PassThroughHost(file);
      frames += passed;
      files += passed > 0;
    }
  }
  CHECK(files > 80);
  CHECK(frames > 5000);
}

}  // namespace
}  // namespace sluice::testing

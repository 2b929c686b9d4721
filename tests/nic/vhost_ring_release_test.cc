// SPDX-License-Identifier: Apache-2.0
// What rings leave behind.
#include <catch2/catch.hpp>

#include "tests/nic/vhost_ring_rig.h"

namespace sluice::testing {
namespace {

// Else the memory of a guest that has gone stays until the next one comes.
TEST_CASE("a ring that has stopped keeps nothing of the guest's memory", "[vhost]") {
  for (const DriverRingOptions& kind : RingKinds()) {
    RingRig rig({.ring = kind});
    const long users = rig.memory().use_count();
    rig.StartSource();
    rig.source().Stop();
    rig.StartSink();
    rig.sink().Stop();
    CHECK(rig.memory().use_count() == users);
  }
}

}  // namespace
}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
// Where a ring goes on, as front-ends say it.
#include <catch2/catch.hpp>

#include "nic/vhost/ring_internal.h"

namespace sluice {
namespace {

TEST_CASE("a packed ring goes on where its available half says, whatever the other half does", "[vhost]") {
  const RingPosition start = {.available = 0, .used = 0, .available_wrap = true, .used_wrap = true};
  CHECK(RingPosition::OfPacked(0x8000'8000) == start);  // QEMU
  CHECK(RingPosition::OfPacked(0x0000'8000) == start);  // DPDK
  CHECK(RingPosition::OfPacked(0x0007'0007) ==
        RingPosition{.available = 7, .used = 7, .available_wrap = false, .used_wrap = false});
}

TEST_CASE("what a ring says of where it stopped is where another goes on", "[vhost]") {
  for (const RingPosition stopped :
       {RingPosition{.available = 9, .used = 9},
        RingPosition{.available = 9, .used = 9, .available_wrap = false, .used_wrap = false}}) {
    CHECK(RingPosition::OfPacked(stopped.Base(true)) == stopped);
  }
}

}  // namespace
}  // namespace sluice

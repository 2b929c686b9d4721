// SPDX-License-Identifier: Apache-2.0
// A driver of DPDK's (virtio-user) on our device: it runs rings in ways in which no kernel does, in order and a vector at a time.
#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "sluice/nic/vhost_nic.h"
#include "tests/nic/dpdk_swapper.h"
#include "tests/support/guest.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

struct DriverKind {
  std::string name;
  std::string options;              // of net_virtio_user
  std::vector<std::string> agreed;  // features that are then in force
};

const std::vector<DriverKind>& DriverKinds() {
  static const std::vector<DriverKind> kinds = {
      {"split", "", {"MRG_RXBUF"}},
      {"split, unmerged", ",mrg_rxbuf=0", {}},
      {"split, in order", ",in_order=1", {"IN_ORDER"}},
      {"split, a vector at a time", ",mrg_rxbuf=0,in_order=1,vectorized=1", {}},
      {"packed", ",packed_vq=1", {"RING_PACKED", "MRG_RXBUF"}},
      {"packed, in order", ",packed_vq=1,in_order=1", {"RING_PACKED", "IN_ORDER"}},
      {"packed, a vector at a time",
       ",packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1",
       {"RING_PACKED", "IN_ORDER"}},
  };
  return kinds;
}

TEST_CASE("frames go through DPDK's driver and come back as they were, in each kind of ring",
          "[vhost][dpdk]") {
  Random random(PrintedSeed());
  for (const DriverKind& kind : FirstKinds(DriverKinds())) {
    CAPTURE(kind.name);
    const TempFolder folder;
    absl::StatusOr<std::unique_ptr<VhostNic>> nic =
        OpenVhostNic({.path = folder.file("vhost"), .packed = Want::kPrefer});
    REQUIRE(nic.ok());
    const VhostNic& device = **nic;
    SwapJudge judge(*std::move(nic), 256);
    const DpdkSwapper driver(absl::StrCat("net_virtio_user0,path=", folder.file("vhost"),
                                          ",queues=1,queue_size=256", kind.options),
                             [&judge] { judge.nic().TakeEvents(); });
    judge.AwaitLink();
    for (const std::string& feature : kind.agreed) {
      CHECK_THAT(device.report().features, Catch::Contains(feature));
    }
    judge.Exchange(RandomFrames(random, 1000));
  }
}

}  // namespace
}  // namespace sluice::testing

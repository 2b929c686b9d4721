// SPDX-License-Identifier: Apache-2.0
// Our driver on a device of DPDK's: what it says over the socket and lays into its rings is understood there.
#include <catch2/catch.hpp>

#include "tests/nic/dpdk_swapper.h"
#include "tests/nic/virtio_user_nic.h"
#include "tests/support/wire_ends.h"

namespace sluice::testing {
namespace {

// Its header of a frame that is not merged says 0 buffers.
VirtioUserNicOptions ForgivingOptions(const std::string& path, uint64_t without) {
  return {.path = path, .features = kVirtioUserFeatures & ~without, .strict = false};
}

TEST_CASE("DPDK's device understands our driver in each kind of ring", "[vhost][dpdk]") {
  using namespace feature;
  Random random(PrintedSeed());
  const TempFolder folder;
  const DpdkSwapper device("net_vhost0,iface=" + folder.file("vhost"));
  for (const uint64_t without : {uint64_t{0}, kPacked, kPacked | kInOrder, kEventIndex, kPacked | kEventIndex,
                                 kIndirect, kMrgRxbuf | kGuestTso, kPacked | kMrgRxbuf | kIndirect}) {
    for (const bool in_pieces : {false, true}) {
      CAPTURE(VhostFeatureNames(without), in_pieces);
      VirtioUserNicOptions options = ForgivingOptions(folder.file("vhost"), without);
      options.layout = {.rx_buffer = 4096, .tx_piece = in_pieces ? 300u : 4096u, .header_apart = in_pieces};
      SwapJudge judge(std::make_unique<VirtioUserNic>(options), 256);
      judge.AwaitLink();
      judge.Exchange(RandomFrames(random, 200));
    }
  }
}

TEST_CASE("DPDK's device goes on where it was when our driver comes back", "[vhost][dpdk]") {
  Random random(PrintedSeed());
  const TempFolder folder;
  const DpdkSwapper device("net_vhost0,iface=" + folder.file("vhost"));
  const uint64_t without = GENERATE(uint64_t{0}, feature::kPacked);
  auto nic = std::make_unique<VirtioUserNic>(ForgivingOptions(folder.file("vhost"), without));
  VirtioUserNic& driver = *nic;
  SwapJudge judge(std::move(nic), 256);
  for (int i = 0; i < 3; ++i) {
    judge.AwaitLink();
    judge.Exchange(RandomFrames(random, 100));
    driver.Vanish();
    driver.Return();
  }
}

}  // namespace
}  // namespace sluice::testing

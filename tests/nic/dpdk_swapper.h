// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_DPDK_SWAPPER_H_
#define SLUICE_TESTS_NIC_DPDK_SWAPPER_H_

// A process of DPDK's at the other end of a vhost-user socket, as device or as driver, which swaps the addresses of each frame and
// sends it back: nothing of ours is in it.

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "sluice/nic/nic.h"
#include "tests/support/frames.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"

namespace sluice::testing {

class DpdkSwapper {
 public:
  // `vdev` as DPDK names it: "net_vhost0,iface=PATH". Skips the test where there is no DPDK; throws when it does not start. `meanwhile`
  // is called until it has, for a peer in this process that it waits for.
  explicit DpdkSwapper(const std::string& vdev, const std::function<void()>& meanwhile = {});

 private:
  Process testpmd_;
};

// UDP frames, `longest` bytes at most.
std::deque<Bytes> RandomFrames(Random& random, size_t count, size_t longest = 1514);

// A started Nic with a pool of its own, and a peer that swaps.
class SwapJudge {
 public:
  SwapJudge(std::unique_ptr<Nic> nic, uint16_t ring);
  ~SwapJudge();  // all packets are home

  Nic& nic() { return *nic_; }
  // Serves the Nic until `done`; false when that takes too long.
  bool Until(const std::function<bool()>& done);
  void AwaitLink();
  // Sends each frame and takes it back, a few at a time: in order, and no byte but the addresses different.
  void Exchange(const std::deque<Bytes>& frames);

 private:
  const std::unique_ptr<PacketPool> pool_;
  const std::unique_ptr<Nic> nic_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_DPDK_SWAPPER_H_

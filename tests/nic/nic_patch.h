// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_NIC_PATCH_H_
#define SLUICE_TESTS_NIC_NIC_PATCH_H_

// A host that only connects: what comes out of either of two Nics goes into the other, by a thread of its own that also serves
// them, and sleeps when there is nothing to do: after a while for as long as nobody wakes it.

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "base/unique_fd_internal.h"
#include "sluice/nic/nic.h"

namespace sluice::testing {

class NicPatch {
 public:
  // Both are started, and outlive this.
  NicPatch(Nic& a, Nic& b);
  ~NicPatch();
  NicPatch(const NicPatch&) = delete;
  NicPatch& operator=(const NicPatch&) = delete;

  // Does `work` on the thread, which is the Nics' control thread, and returns when it is done.
  void Do(const std::function<void()>& work);

  // Of packets that came out of either.
  uint32_t longest() const { return longest_; }
  // Events of both, in words.
  std::string EventsSoFar();
  // How often it fell asleep.
  uint64_t sleeps() const { return sleeps_; }

 private:
  struct Way {
    Nic& from;
    Nic& to;
    std::vector<Burst> waiting = {};  // by receive queue: taken from one, and not by the other
  };

  void Run();
  void Serve();
  size_t Carry(Way& way);
  void Sleep();

  Way ways_[2];
  std::string events_;
  int idle_ = 0;  // turns without work, up to kDrowsyTurns
  std::atomic<uint32_t> longest_{0};
  std::atomic<uint64_t> sleeps_{0};
  std::atomic<bool> stop_{false};
  std::atomic<const std::function<void()>*> work_{nullptr};
  const UniqueFd nudge_;  // there is work, or an end
  std::thread thread_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_NIC_PATCH_H_

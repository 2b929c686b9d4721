// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_NIC_PATCH_H_
#define SLUICE_TESTS_NIC_NIC_PATCH_H_

// A host that only connects: what comes out of either of two Nics goes into the other, by a thread of its own that also serves
// them, and sleeps when there is nothing to do.

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

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
  std::atomic<uint32_t> longest_{0};
  std::atomic<bool> stop_{false};
  std::atomic<const std::function<void()>*> work_{nullptr};
  std::thread thread_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_NIC_PATCH_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_LINK_INTERNAL_H_
#define SLUICE_NIC_VERBS_LINK_INTERNAL_H_

#include <atomic>

#include "nic/verbs/device_internal.h"

namespace sluice {

// The link as it was when somebody last asked: asking is a system call.
class VerbsLink {
 public:
  explicit VerbsLink(const VerbsPort& device) : device_(device) {}

  LinkState last_known() const { return state_.load(std::memory_order_relaxed); }
  // Of a device that is gone: down, whatever it says.
  void Lose() {
    gone_.store(true, std::memory_order_relaxed);
    Refresh();
  }
  LinkState Refresh() {
    const LinkState now = gone_.load(std::memory_order_relaxed) ? LinkState::kDown : device_.Link();
    state_.store(now, std::memory_order_relaxed);
    return now;
  }

 private:
  const VerbsPort& device_;
  std::atomic<bool> gone_{false};
  std::atomic<LinkState> state_{LinkState::kDown};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_LINK_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_LINK_INTERNAL_H_
#define SLUICE_NIC_VERBS_LINK_INTERNAL_H_

#include <atomic>

#include "nic/verbs/device_internal.h"

namespace sluice {

// The link as it was when somebody last asked: asking is a system call.
class VerbsLink {
 public:
  explicit VerbsLink(const VerbsDevice& device) : device_(device) {}

  LinkState last_known() const { return state_.load(std::memory_order_relaxed); }
  LinkState Refresh() {
    const LinkState now = device_.Link();
    state_.store(now, std::memory_order_relaxed);
    return now;
  }

 private:
  const VerbsDevice& device_;
  std::atomic<LinkState> state_{LinkState::kDown};
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_LINK_INTERNAL_H_

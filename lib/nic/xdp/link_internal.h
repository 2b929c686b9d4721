// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_LINK_INTERNAL_H_
#define SLUICE_NIC_XDP_LINK_INTERNAL_H_

#include <atomic>

#include "nic/xdp/interface_internal.h"
#include "sluice/nic/link_state.h"

namespace sluice {

// The state of a port's link as its queues see it: a flag that costs them a load, set by whoever learns
// better.
class XdpLink {
 public:
  explicit XdpLink(Interface& interface) : interface_(interface) { Refresh(); }

  LinkState last_known() const { return state_.load(std::memory_order_relaxed); }

  // Asks the kernel. A link that is gone is down.
  LinkState Refresh() {
    const absl::StatusOr<LinkFacts> facts = interface_.Facts();
    const LinkState now = facts.ok() && facts->up() ? LinkState::kUp : LinkState::kDown;
    state_.store(now, std::memory_order_relaxed);  // nothing is ordered by it
    return now;
  }

 private:
  Interface& interface_;
  std::atomic<LinkState> state_{LinkState::kDown};
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_LINK_INTERNAL_H_

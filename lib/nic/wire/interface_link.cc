// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nic/wire/interface_link_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<InterfaceLink>> InterfaceLink::Find(const std::string& device,
                                                                   const std::string& interface) {
  absl::StatusOr<RouteSocket> route = RouteSocket::Open();
  if (!route.ok()) return route.status();
  const absl::StatusOr<LinkFacts> facts = route->LinkByName(interface);
  if (!facts.ok()) {
    Problem problem = ProblemOf(facts.status()).value_or(Problem{});
    problem.device = device;
    problem.stage = "find interface";
    problem.remedy = "check the name with `ip link` in the same network namespace";
    return ErrorStatus(problem);
  }
  absl::StatusOr<LinkWatch> watch = LinkWatch::Open(facts->index);
  if (!watch.ok()) return watch.status();
  std::unique_ptr<InterfaceLink> link(new InterfaceLink(*std::move(route), *std::move(watch), facts->index));
  link->Ask();  // after the watch: what changes from here on is told
  return link;
}

void InterfaceLink::Service() {
  watch_.Read([this](LinkWatch::Notice notice) {
    switch (notice) {
      case LinkWatch::Notice::kUp:
        return Set(LinkState::kUp, "the interface is up");
      case LinkWatch::Notice::kDown:
        return Set(LinkState::kDown, "the interface is down, or has no carrier");
      case LinkWatch::Notice::kGone:
        return Leave();
      case LinkWatch::Notice::kMissedSome:
        return Ask();
    }
  });
}

void InterfaceLink::Ask() {
  const absl::StatusOr<LinkFacts> facts = route_.LinkByIndex(index_);
  if (absl::IsNotFound(facts.status())) return Leave();
  if (!facts.ok()) return Set(LinkState::kDown, "the kernel does not tell of the interface");
  if (facts->up()) return Set(LinkState::kUp, "the interface is up");
  Set(LinkState::kDown, "the interface is down, or has no carrier");
}

void InterfaceLink::Leave() {
  Set(LinkState::kDown, "the interface is gone");
  gone_.store(true, std::memory_order_relaxed);  // as state_
}

void InterfaceLink::Set(LinkState state, const std::string& detail) {
  const std::lock_guard<std::mutex> lock(mutex_);
  state_.store(state, std::memory_order_relaxed);  // orders nothing
  detail_ = detail;
}

std::string InterfaceLink::detail() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return detail_;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_INTERFACE_LINK_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_INTERFACE_LINK_INTERNAL_H_

// Whether a kernel interface is up, down, or gone, as rtnetlink tells. It is known by its index from when it was found,
// in the namespace of the thread that found it.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "nic/xdp/rtnetlink_internal.h"
#include "sluice/nic/link_state.h"

namespace sluice {

class InterfaceLink {
 public:
  // `device` names the port in errors.
  static absl::StatusOr<std::unique_ptr<InterfaceLink>> Find(const std::string& device,
                                                             const std::string& interface);

  uint32_t index() const { return index_; }
  int fd() const { return watch_.fd(); }  // readable when Service has something to do
  void Service();

  // Any thread.
  LinkState state() const { return state_.load(std::memory_order_relaxed); }
  // Deleted, or moved to another namespace.
  bool gone() const { return gone_.load(std::memory_order_relaxed); }
  std::string detail() const;

 private:
  InterfaceLink(RouteSocket route, LinkWatch watch, uint32_t index)
      : route_(std::move(route)), watch_(std::move(watch)), index_(index) {}

  void Ask();
  void Set(LinkState state, const std::string& detail);
  void Leave();

  RouteSocket route_;
  LinkWatch watch_;
  const uint32_t index_;
  std::atomic<LinkState> state_{LinkState::kDown};
  std::atomic<bool> gone_{false};
  mutable std::mutex mutex_;  // of detail_
  std::string detail_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_INTERFACE_LINK_INTERNAL_H_

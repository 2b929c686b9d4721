// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_INTERFACE_INTERNAL_H_
#define SLUICE_NIC_XDP_INTERFACE_INTERNAL_H_

// One kernel interface, known by its index, reached through sockets of its own network namespace: it may be
// renamed, and the calling thread may be elsewhere.

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nic/xdp/queue_plan_internal.h"
#include "nic/xdp/rtnetlink_internal.h"
#include "sluice/base/ids.h"

namespace sluice {

// Any thread.
class Interface final : public QueueControl {
 public:
  static absl::StatusOr<std::unique_ptr<Interface>> Find(const std::string& name);

  uint32_t index() const { return index_; }
  NodeId node() const { return node_; }

  absl::StatusOr<LinkFacts> Facts();
  absl::StatusOr<bool> CarriesDefaultRoute();

  // Queues in use now, and the indirection table if the driver shows one (ETHTOOL_GCHANNELS,
  // ETHTOOL_GRXFHINDIR).
  absl::StatusOr<DeviceQueues> Queues();
  absl::Status WriteIndirection(const std::vector<uint32_t>& table) override;

  // Whether the calling thread is in the network namespace in which the interface was found.
  bool IsInOurNamespace() const;

 private:
  Interface(uint32_t index, RouteSocket route, UniqueFd control);

  // An ethtool ioctl on the interface under its present name; 0 or errno.
  int Ethtool(void* command);
  std::vector<uint32_t> ReadIndirection();
  NodeId ReadNode();

  const uint32_t index_;
  std::mutex mutex_;  // of route_
  RouteSocket route_;
  const UniqueFd control_;
  const uint64_t namespace_;
  NodeId node_ = kUnknownNode;
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_INTERFACE_INTERNAL_H_

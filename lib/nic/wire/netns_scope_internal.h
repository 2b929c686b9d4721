// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_NETNS_SCOPE_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_NETNS_SCOPE_INTERNAL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"

namespace sluice {

// The calling thread is in another network namespace until the end of the scope, so that sockets opened in it belong
// there. Other threads stay where they are. See setns(2).
class NetnsScope {
 public:
  // `path` of a namespace file; empty = stay.
  static absl::StatusOr<std::unique_ptr<NetnsScope>> Enter(const std::string& path);

  ~NetnsScope();
  NetnsScope(const NetnsScope&) = delete;
  NetnsScope& operator=(const NetnsScope&) = delete;

 private:
  explicit NetnsScope(UniqueFd home) : home_(std::move(home)) {}

  const UniqueFd home_;  // none when it stayed
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_NETNS_SCOPE_INTERNAL_H_

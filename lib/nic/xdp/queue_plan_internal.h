// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_QUEUE_PLAN_INTERNAL_H_
#define SLUICE_NIC_XDP_QUEUE_PLAN_INTERNAL_H_

// Which hardware queues a Nic takes, and what must change on the device so that no frame lands on another
// one.
//
//   hardware queues   0   1   2   3        asked for 4: all are ours, nothing changes
//   indirection       0 1 2 3 0 1 2 3      asked for 2: 0 1 0 1 0 1 0 1, until the old table comes back
//                                          asked for 2, but no table: refused, for half of the frames
//                                          would pass us by
//
// The plan is a value made from values; applying it is a separate step, undone by the destructor.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

// What a device has now.
struct DeviceQueues {
  uint32_t rx = 1;
  uint32_t tx = 1;
  std::vector<uint32_t> indirection;  // of the default RSS context; empty = the device has none
};

// Our receive queue i is hardware queue i, and likewise for transmit.
struct QueuePlan {
  uint32_t rx = 1;
  uint32_t tx = 1;
  std::vector<uint32_t> indirection;  // to be written; empty = it stays as it is
  std::string text;                   // for people
};

// kInvalidArgument when the device has fewer queues than asked for, kFailedPrecondition when frames would go
// to queues that are not ours; each prints what the device has.
absl::StatusOr<QueuePlan> PlanQueues(absl::string_view device, const DeviceQueues& has, uint32_t rx,
                                     uint32_t tx);

// What a plan changes.
class QueueControl {
 public:
  // Writes the indirection table; an empty one means the driver's default.
  virtual absl::Status WriteIndirection(const std::vector<uint32_t>& table) = 0;

 protected:
  ~QueueControl() = default;
};

// A plan in force. `control` outlives it.
class AppliedPlan {
 public:
  static absl::StatusOr<AppliedPlan> Apply(const QueuePlan& plan, const DeviceQueues& before,
                                           QueueControl& control);
  ~AppliedPlan();
  AppliedPlan(AppliedPlan&& other) noexcept;
  AppliedPlan& operator=(AppliedPlan&&) = delete;

 private:
  explicit AppliedPlan(QueueControl* control) : control_(control) {}

  QueueControl* control_;        // null = nothing to undo
  std::vector<uint32_t> table_;  // to be put back
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_QUEUE_PLAN_INTERNAL_H_

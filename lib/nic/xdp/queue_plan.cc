// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/xdp/queue_plan_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr char kStage[] = "plan queues";

std::string Range(uint32_t queues) { return queues == 1 ? "queue 0" : absl::StrCat("queues 0-", queues - 1); }

std::string Describe(const DeviceQueues& has) {
  return absl::StrCat("the device has ", has.rx, " receive and ", has.tx, " transmit queues, ",
                      has.indirection.empty()
                          ? "and no indirection table"
                          : absl::StrCat("and an indirection table of ", has.indirection.size(), " entries"));
}

absl::Status TooMany(absl::string_view device, const DeviceQueues& has, uint32_t rx, uint32_t tx) {
  return ErrorStatus(
      absl::StatusCode::kInvalidArgument,
      {.device = std::string(device),
       .stage = kStage,
       .capability = "queues",
       .what = absl::StrCat("asked for ", rx, " receive and ", tx, " transmit queues; ", Describe(has)),
       .remedy = absl::StrCat("ask for at least 1 and at most ", has.rx, " and ", has.tx,
                              ", or give the device more with `ethtool -L`")});
}

absl::Status CannotHold(absl::string_view device, const DeviceQueues& has, uint32_t rx) {
  return ErrorStatus(
      absl::StatusCode::kFailedPrecondition,
      {.device = std::string(device),
       .stage = kStage,
       .capability = "indirection table",
       .what = absl::StrCat("asked for ", rx, " receive queues; ", Describe(has),
                            ": frames that the device puts on queues ", rx, "-", has.rx - 1,
                            " would go to the kernel instead"),
       .remedy = absl::StrCat("ask for all ", has.rx, " receive queues, or leave the device only ", rx,
                              " with `ethtool -L`")});
}

bool StaysWithin(const std::vector<uint32_t>& table, uint32_t queues) {
  return std::all_of(table.begin(), table.end(), [&](uint32_t queue) { return queue < queues; });
}

std::vector<uint32_t> Spread(size_t entries, uint32_t queues) {
  std::vector<uint32_t> table(entries);
  for (size_t i = 0; i < entries; ++i) table[i] = static_cast<uint32_t>(i % queues);
  return table;
}

}  // namespace

absl::StatusOr<QueuePlan> PlanQueues(absl::string_view device, const DeviceQueues& has, uint32_t rx,
                                     uint32_t tx) {
  if (rx == 0 || tx == 0 || rx > has.rx || tx > has.tx) return TooMany(device, has, rx, tx);
  QueuePlan plan{.rx = rx, .tx = tx, .indirection = {}, .text = {}};
  std::string table;
  if (rx < has.rx) {
    if (has.indirection.empty()) return CannotHold(device, has, rx);
    if (StaysWithin(has.indirection, rx)) {
      table = ", which the indirection table already keeps to";
    } else {
      plan.indirection = Spread(has.indirection.size(), rx);
      table = absl::StrCat(", to which the indirection table of ", plan.indirection.size(),
                           " entries is narrowed");
    }
  }
  plan.text =
      absl::StrCat("receive: ", Range(rx), " of ", has.rx, table, "; send: ", Range(tx), " of ", has.tx);
  return plan;
}

absl::StatusOr<AppliedPlan> AppliedPlan::Apply(const QueuePlan& plan, const DeviceQueues& before,
                                               QueueControl& control) {
  if (plan.indirection.empty()) return AppliedPlan(nullptr);
  const absl::Status written = control.WriteIndirection(plan.indirection);
  if (!written.ok()) return written;
  AppliedPlan applied(&control);
  // A table that was never set is given back as "default": a fixed one would stop `ethtool -L` from then on.
  if (before.indirection != Spread(before.indirection.size(), before.rx)) applied.table_ = before.indirection;
  return applied;
}

AppliedPlan::AppliedPlan(AppliedPlan&& other) noexcept
    : control_(std::exchange(other.control_, nullptr)), table_(std::move(other.table_)) {}

AppliedPlan::~AppliedPlan() {
  // A device that is gone has no table left to put back: nothing to do about a failure here.
  if (control_ != nullptr) control_->WriteIndirection(table_).IgnoreError();
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <utility>

#include "nic/xdp/queue_plan_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

using Table = std::vector<uint32_t>;

// A device that has a table, and may refuse to have it written.
class MadeUpDevice final : public QueueControl {
 public:
  explicit MadeUpDevice(Table table) : table_(std::move(table)) {}

  absl::Status WriteIndirection(const Table& table) override {
    if (refuses_) return absl::InternalError("refused");
    ++writes_;
    table_ = table;
    return absl::OkStatus();
  }
  void Refuse() { refuses_ = true; }
  const Table& table() const { return table_; }
  int writes() const { return writes_; }

 private:
  Table table_;
  bool refuses_ = false;
  int writes_ = 0;
};

Table PlannedTable(const DeviceQueues& has, uint32_t rx) {
  const absl::StatusOr<QueuePlan> plan = PlanQueues("xdp made-up", has, rx, 1);
  REQUIRE(plan.ok());
  return plan->indirection;
}

Problem RefusalOf(const DeviceQueues& has, uint32_t rx, uint32_t tx) {
  const absl::StatusOr<QueuePlan> plan = PlanQueues("xdp made-up", has, rx, tx);
  REQUIRE_FALSE(plan.ok());
  return ProblemOf(plan.status()).value();
}

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("a device is taken with all its queues, or narrowed to those asked for", "[xdp]") {
  struct Row {
    const char* claim;
    DeviceQueues has;
    uint32_t rx;
    Table written;
  };
  const std::vector<Row> rows = {
      {"one queue of one", {1, 1, {}}, 1, {}},
      {"all queues need no table", {4, 4, {}}, 4, {}},
      {"all queues leave the table alone", {4, 4, {0, 1, 2, 3, 0, 1, 2, 3}}, 4, {}},
      {"half the queues share the whole table",
       {4, 4, {0, 1, 2, 3, 0, 1, 2, 3}},
       2,
       {0, 1, 0, 1, 0, 1, 0, 1}},
      {"a table that is no multiple of the queues", {4, 4, {0, 1, 2, 3}}, 3, {0, 1, 2, 0}},
      {"a table that somebody weighted", {3, 3, {2, 2, 2, 0}}, 1, {0, 0, 0, 0}},
      {"a table that keeps to our queues already", {4, 4, {1, 0, 1, 1}}, 2, {}},
  };
  for (const Row& row : rows) {
    INFO(row.claim);
    CHECK(PlannedTable(row.has, row.rx) == row.written);
  }
}

TEST_CASE("a plan that cannot be held is refused with the device's queues printed", "[xdp]") {
  const DeviceQueues no_table{4, 4, {}};
  const Problem problem = RefusalOf(no_table, 2, 2);
  CHECK(problem.capability == "indirection table");
  CHECK(Says(problem.what, "asked for 2 receive queues"));
  CHECK(Says(problem.what, "4 receive and 4 transmit queues"));
  CHECK(Says(problem.what, "queues 2-3"));
  CHECK(Says(problem.remedy, "all 4"));
}

TEST_CASE("more queues than the device has, or none, are refused", "[xdp]") {
  const DeviceQueues has{2, 3, {}};
  for (const auto& [rx, tx] : std::vector<std::pair<uint32_t, uint32_t>>{{3, 1}, {2, 4}, {0, 1}, {2, 0}}) {
    INFO(rx << " receive, " << tx << " transmit");
    CHECK(RefusalOf(has, rx, tx).capability == "queues");
  }
}

TEST_CASE("a plan says in words what it takes and what it changes", "[xdp]") {
  const absl::StatusOr<QueuePlan> plan = PlanQueues("xdp made-up", {4, 8, {0, 1, 2, 3}}, 2, 8);
  REQUIRE(plan.ok());
  CHECK(plan->text ==
        "receive: queues 0-1 of 4, to which the indirection table of 4 entries is narrowed; "
        "send: queues 0-7 of 8");
}

TEST_CASE("a narrowed table comes back as it was", "[xdp]") {
  const DeviceQueues before{4, 4, {3, 3, 2, 1}};
  MadeUpDevice device(before.indirection);
  {
    const absl::StatusOr<AppliedPlan> applied =
        AppliedPlan::Apply(*PlanQueues("", before, 2, 2), before, device);
    REQUIRE(applied.ok());
    CHECK(device.table() == Table{0, 1, 0, 1});
  }
  CHECK(device.table() == before.indirection);
  CHECK(device.writes() == 2);
}

TEST_CASE("a table that nobody had set goes back to the driver's default", "[xdp]") {
  const DeviceQueues before{4, 4, {0, 1, 2, 3}};
  MadeUpDevice device(before.indirection);
  { REQUIRE(AppliedPlan::Apply(*PlanQueues("", before, 2, 2), before, device).ok()); }
  CHECK(device.table().empty());
}

TEST_CASE("a plan that changes nothing writes nothing", "[xdp]") {
  const DeviceQueues before{4, 4, {0, 1, 2, 3}};
  MadeUpDevice device(before.indirection);
  { REQUIRE(AppliedPlan::Apply(*PlanQueues("", before, 4, 4), before, device).ok()); }
  CHECK(device.writes() == 0);
}

TEST_CASE("a device that refuses its new table is left alone", "[xdp]") {
  const DeviceQueues before{4, 4, {0, 1, 2, 3}};
  MadeUpDevice device(before.indirection);
  device.Refuse();
  CHECK_FALSE(AppliedPlan::Apply(*PlanQueues("", before, 2, 2), before, device).ok());
  CHECK(device.table() == before.indirection);
}

}  // namespace
}  // namespace sluice

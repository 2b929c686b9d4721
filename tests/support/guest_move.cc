// SPDX-License-Identifier: Apache-2.0
#include "tests/support/guest_move.h"

#include <functional>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/support/qmp.h"

namespace sluice::testing {
namespace {

namespace json = boost::json;

constexpr absl::Duration kPatience = absl::Minutes(1);

int64_t NumberOf(const json::object& object, const char* name) {
  const json::value* const number = object.if_contains(name);
  return number == nullptr ? 0 : number->to_number<int64_t>();
}

void Await(const std::string& what, const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) throw std::runtime_error("a guest that moves: " + what + " does not come");
    absl::SleepFor(absl::Milliseconds(5));
  }
}

}  // namespace

std::string TextOf(const MoveReport& report) {
  return absl::StrCat("in ", absl::FormatDuration(report.total), ", of which it stood still for ",
                      absl::FormatDuration(report.downtime), "; ", report.passes, " passes, ",
                      report.bytes / 1'000'000, " MB");
}

GuestMove::GuestMove(Guest& from, Guest& to, const Pace& pace) : from_(from) {
  SetPace(pace);
  const std::string where = "unix:" + to.file("arrival");
  to.monitor().Run("migrate-incoming", {{"uri", where}});
  from_.monitor().Run("migrate", {{"uri", where}});
}

void GuestMove::SetPace(const Pace& pace) {
  from_.monitor().Run("migrate-set-parameters",
                      {{"max-bandwidth", pace.bytes_per_second},
                       {"downtime-limit", absl::ToInt64Milliseconds(pace.downtime)}});
}

MoveReport GuestMove::Report() {
  const json::value said = from_.monitor().Run("query-migrate");
  const json::object& now = said.as_object();
  MoveReport report;
  if (const json::value* const status = now.if_contains("status"))
    report.status = status->as_string().c_str();
  report.downtime = absl::Milliseconds(NumberOf(now, "downtime"));
  report.total = absl::Milliseconds(NumberOf(now, "total-time"));
  if (const json::value* const ram = now.if_contains("ram")) {
    report.passes = NumberOf(ram->as_object(), "dirty-sync-count");
    report.bytes = NumberOf(ram->as_object(), "transferred");
  }
  return report;
}

bool GuestMove::IsOver() {
  const std::string status = Report().status;
  return status == "completed" || status == "failed" || status == "cancelled";
}

void GuestMove::AwaitPass(int64_t pass) {
  Await(absl::StrCat("pass ", pass), [&] { return Report().passes >= pass || IsOver(); });
}

MoveReport GuestMove::Finish() {
  Await("its end", [this] { return IsOver(); });
  MoveReport report = Report();
  if (report.status != "completed") throw std::runtime_error("a guest did not move: " + report.status);
  return report;
}

void GuestMove::Cancel() {
  from_.monitor().Run("migrate_cancel");
  Await("its end", [this] { return IsOver(); });
}

}  // namespace sluice::testing

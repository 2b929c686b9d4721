// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/status.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "absl/strings/cord.h"

namespace sluice {
namespace {

Problem BindProblem() {
  return {.device = "xdp veth0",
          .stage = "bind",
          .capability = "zero-copy",
          .error_number = EOPNOTSUPP,
          .remedy = "use zero_copy=prefer"};
}

bool Same(const Problem& a, const Problem& b) {
  return a.device == b.device && a.stage == b.stage && a.capability == b.capability &&
         a.error_number == b.error_number && a.what == b.what && a.remedy == b.remedy;
}

TEST_CASE("an error says device, stage, capability, errno and remedy in that order") {
  CHECK(ErrorStatus(BindProblem()).message() ==
        "xdp veth0: bind: zero-copy: Operation not supported (EOPNOTSUPP); use zero_copy=prefer");
}

TEST_CASE("parts that are empty leave no trace in the text") {
  struct Row {
    Problem problem;
    const char* text;
  };
  const Row rows[] = {
      {{.what = "no room", .remedy = "make some"}, "no room; make some"},
      {{.device = "pool", .what = "no room", .remedy = "make some"}, "pool: no room; make some"},
      {{.stage = "open", .error_number = EPERM, .remedy = "be root"},
       "open: Operation not permitted (EPERM); be root"},
      {{.stage = "map", .error_number = ENOMEM, .what = "5 pages", .remedy = "wait"},
       "map: 5 pages: Cannot allocate memory (ENOMEM); wait"},
  };
  for (const Row& row : rows) CHECK(ErrorStatus(row.problem).message() == row.text);
}

TEST_CASE("the problem comes back out of a status, whichever of its parts are empty") {
  for (unsigned filled = 0; filled < 64; ++filled) {
    const auto part = [&](unsigned bit, const char* text) { return (filled >> bit & 1) != 0 ? text : ""; };
    const Problem problem{.device = part(0, "xdp: veth0"),  // texts that look like separators
                          .stage = part(1, "bind; "),
                          .capability = part(2, ": "),
                          .error_number = (filled >> 3 & 1) != 0 ? EBUSY : 0,
                          .what = part(4, "what: (EPERM); x"),
                          .remedy = part(5, "do; this: now")};
    const std::optional<Problem> again = ProblemOf(ErrorStatus(problem));
    REQUIRE(again.has_value());
    CHECK(Same(*again, problem));
  }
}

TEST_CASE("a status made elsewhere has no problem") {
  CHECK_FALSE(ProblemOf(absl::OkStatus()).has_value());
  CHECK_FALSE(ProblemOf(absl::NotFoundError("xdp veth0: bind: gone")).has_value());
}

TEST_CASE("a payload that was put on another message, or written by somebody else, is not believed") {
  const absl::Status made = ErrorStatus(BindProblem());
  made.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    absl::Status other = absl::InternalError("while starting");
    other.SetPayload(url, payload);
    CHECK_FALSE(ProblemOf(other).has_value());
    for (const char* forged : {"", "95", "95 9 4 9 0", "a b c d e f", "95 9 4 9 0 -20", "0 99 0 0 0 0",
                               "0 18446744073709551615 18446744073709551615 0 0 0"}) {
      other.SetPayload(url, absl::Cord(forged));
      CHECK_FALSE(ProblemOf(other).has_value());
    }
  });
}

TEST_CASE("each errno that we meet has the code that callers act on") {
  const std::pair<int, absl::StatusCode> rows[] = {
      {0, absl::StatusCode::kFailedPrecondition},
      {EPERM, absl::StatusCode::kPermissionDenied},
      {EACCES, absl::StatusCode::kPermissionDenied},
      {ENOENT, absl::StatusCode::kNotFound},
      {ENODEV, absl::StatusCode::kNotFound},
      {ENXIO, absl::StatusCode::kNotFound},
      {EEXIST, absl::StatusCode::kAlreadyExists},
      {EBUSY, absl::StatusCode::kUnavailable},
      {EADDRINUSE, absl::StatusCode::kUnavailable},
      {EAGAIN, absl::StatusCode::kUnavailable},
      {EINVAL, absl::StatusCode::kInvalidArgument},
      {EBADF, absl::StatusCode::kFailedPrecondition},
      {ENOMEM, absl::StatusCode::kResourceExhausted},
      {ENOBUFS, absl::StatusCode::kResourceExhausted},
      {ENOSPC, absl::StatusCode::kResourceExhausted},
      {EMFILE, absl::StatusCode::kResourceExhausted},
      {EOPNOTSUPP, absl::StatusCode::kUnimplemented},
      {ENOSYS, absl::StatusCode::kUnimplemented},
      {ETIMEDOUT, absl::StatusCode::kDeadlineExceeded},
  };
  for (const auto& [error, code] : rows) {
    INFO(ErrnoText(error));
    CHECK(StatusCodeOf(error) == code);
    CHECK(ErrorStatus({.error_number = error, .remedy = "wait"}).code() == code);
  }
}

TEST_CASE("every errno of the kernel has a name, and gives an error that is not OK") {
  for (int error = 1; error <= EHWPOISON; ++error) {
    if (error == 41 || error == 58) continue;  // numbers that Linux skipped
    CHECK(ErrnoText(error).find(" (E") != std::string::npos);
    CHECK_FALSE(ErrorStatus({.error_number = error}).ok());
  }
  CHECK(ErrnoText(EPERM) == "Operation not permitted (EPERM)");
  CHECK(ErrnoText(9999) == "errno 9999");
}

TEST_CASE("an error never has the code OK, for then it would be lost") {
  CHECK(ErrorStatus(absl::StatusCode::kOk, BindProblem()).code() == absl::StatusCode::kUnknown);
  CHECK(ErrorStatus(absl::StatusCode::kAborted, BindProblem()).code() == absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace sluice

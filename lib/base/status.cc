// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/status.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"

namespace sluice {
namespace {

// The payload holds errno and the lengths of the five texts, and the texts are cut out of the message: what a
// log shows of it stays short, and nothing is said twice.
constexpr absl::string_view kPayload = "sluice.problem";
constexpr size_t kTexts = 5;

std::string Message(const Problem& problem) {
  std::string text;
  for (const std::string* part : {&problem.device, &problem.stage, &problem.capability}) {
    if (!part->empty()) absl::StrAppend(&text, *part, ": ");
  }
  absl::StrAppend(&text, problem.what);
  if (problem.error_number != 0) {
    absl::StrAppend(&text, problem.what.empty() ? "" : ": ", ErrnoText(problem.error_number));
  }
  if (!problem.remedy.empty()) absl::StrAppend(&text, "; ", problem.remedy);
  return text;
}

std::string Lengths(const Problem& problem) {
  return absl::StrJoin(
      {static_cast<int64_t>(problem.error_number),  //
       static_cast<int64_t>(problem.device.size()), static_cast<int64_t>(problem.stage.size()),
       static_cast<int64_t>(problem.capability.size()), static_cast<int64_t>(problem.what.size()),
       static_cast<int64_t>(problem.remedy.size())},
      " ");
}

// Cuts texts off the front of a message, each with the separator that Message put behind it.
class Cutter {
 public:
  explicit Cutter(absl::string_view text) : rest_(text) {}

  std::string Take(size_t length, absl::string_view separator) {
    std::string part(rest_.substr(0, length));
    rest_.remove_prefix(std::min(rest_.size(), length + (length == 0 ? 0 : separator.size())));
    return part;
  }

 private:
  absl::string_view rest_;
};

Problem Cut(absl::string_view message, int error_number, const std::array<size_t, kTexts>& lengths) {
  Problem problem;
  problem.error_number = error_number;
  Cutter cutter(message);
  problem.device = cutter.Take(lengths[0], ": ");
  problem.stage = cutter.Take(lengths[1], ": ");
  problem.capability = cutter.Take(lengths[2], ": ");
  problem.what = cutter.Take(lengths[3], "");
  if (lengths[4] <= message.size()) {
    problem.remedy = std::string(message.substr(message.size() - lengths[4]));
  }
  return problem;
}

}  // namespace

absl::Status ErrorStatus(absl::StatusCode code, const Problem& problem) {
  const bool ok = code == absl::StatusCode::kOk;
  absl::Status status(ok ? absl::StatusCode::kUnknown : code, Message(problem));
  status.SetPayload(kPayload, absl::Cord(Lengths(problem)));
  return status;
}

absl::Status ErrorStatus(const Problem& problem) {
  return ErrorStatus(StatusCodeOf(problem.error_number), problem);
}

absl::StatusCode StatusCodeOf(int error_number) {
  switch (error_number) {
    case 0:
      return absl::StatusCode::kFailedPrecondition;  // the kernel did not refuse, we did
    case EBUSY:
    case EADDRINUSE:
      return absl::StatusCode::kUnavailable;  // somebody else has it: try again later
    case ENODEV:
    case ENXIO:
      return absl::StatusCode::kNotFound;
    case ENOMEM:
    case ENOBUFS:
      return absl::StatusCode::kResourceExhausted;
    case EOPNOTSUPP:
      return absl::StatusCode::kUnimplemented;
    default:
      return absl::ErrnoToStatusCode(error_number);
  }
}

std::optional<Problem> ProblemOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return std::nullopt;
  const std::string text(*payload);
  const std::vector<absl::string_view> numbers = absl::StrSplit(text, ' ');
  int error_number = 0;
  std::array<size_t, kTexts> lengths{};
  if (numbers.size() != kTexts + 1 || !absl::SimpleAtoi(numbers[0], &error_number)) return std::nullopt;
  for (size_t i = 0; i < kTexts; ++i) {
    if (!absl::SimpleAtoi(numbers[i + 1], &lengths[i])) return std::nullopt;
  }
  // Somebody may have put the payload on another message: then there is no telling where the parts are.
  Problem problem = Cut(status.message(), error_number, lengths);
  if (Message(problem) != status.message()) return std::nullopt;
  return problem;
}

std::string ErrnoText(int error_number) {
  const char* description = strerrordesc_np(error_number);
  const char* name = strerrorname_np(error_number);
  if (description == nullptr || name == nullptr) return absl::StrCat("errno ", error_number);
  return absl::StrCat(description, " (", name, ")");
}

}  // namespace sluice

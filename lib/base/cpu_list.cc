// SPDX-License-Identifier: Apache-2.0
#include "sluice/base/cpu_list.h"

#include <algorithm>
#include <bitset>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint32_t kLastCpu = std::numeric_limits<CpuId::rep>::max();

// Walks over the text once; `at_` is the place that a refusal names.
class Parser {
 public:
  explicit Parser(absl::string_view text) : text_(text) {}

  absl::Status Parse() {
    if (text_.empty()) return absl::OkStatus();
    do {
      if (absl::Status status = ParseRange(); !status.ok()) return status;
    } while (Skip(','));
    return at_ == text_.size() ? absl::OkStatus() : Refuse("expected ',' or '-'");
  }

  std::vector<CpuId> Cpus() const {
    std::vector<CpuId> cpus;
    cpus.reserve(seen_.count());
    for (uint32_t cpu = 0; cpu <= kLastCpu; ++cpu) {
      if (seen_[cpu]) cpus.emplace_back(static_cast<CpuId::rep>(cpu));
    }
    return cpus;
  }

 private:
  absl::Status ParseRange() {
    const std::optional<uint32_t> first = ParseNumber();
    if (!first.has_value()) return Refuse("expected a processor number up to 65535");
    std::optional<uint32_t> last = first;
    if (Skip('-')) last = ParseNumber();
    if (!last.has_value()) return Refuse("expected a processor number up to 65535");
    if (*last < *first) return Refuse(absl::StrCat("range ", *first, "-", *last, " runs backwards"));
    for (uint32_t cpu = *first; cpu <= *last; ++cpu) seen_.set(cpu);
    return absl::OkStatus();
  }

  std::optional<uint32_t> ParseNumber() {
    const size_t start = at_;
    uint32_t number = 0;
    while (at_ < text_.size() && absl::ascii_isdigit(static_cast<unsigned char>(text_[at_]))) {
      number = number * 10 + static_cast<uint32_t>(text_[at_] - '0');
      if (number > kLastCpu) return std::nullopt;
      ++at_;
    }
    return at_ == start ? std::nullopt : std::optional(number);
  }

  bool Skip(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  absl::Status Refuse(absl::string_view why) const {
    return ErrorStatus(
        absl::StatusCode::kInvalidArgument,
        {.stage = "parse processor list",
         .what = absl::StrCat(why, " at character ", at_ + 1, " of \"", text_.substr(0, 200), "\""),
         .remedy = "write numbers and ranges, as in 0-3,7"});
  }

  const absl::string_view text_;
  size_t at_ = 0;
  std::bitset<kLastCpu + 1> seen_;
};

}  // namespace

absl::StatusOr<std::vector<CpuId>> ParseCpuList(absl::string_view text) {
  Parser parser(text);
  if (absl::Status status = parser.Parse(); !status.ok()) return status;
  return parser.Cpus();
}

std::string FormatCpuList(const std::vector<CpuId>& cpus) {
  std::vector<CpuId> sorted = cpus;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());

  std::string text;
  for (size_t i = 0; i < sorted.size();) {
    size_t last = i;
    while (last + 1 < sorted.size() && sorted[last + 1].value() == sorted[last].value() + 1) ++last;
    absl::StrAppend(&text, text.empty() ? "" : ",", sorted[i].value());
    if (last > i) absl::StrAppend(&text, "-", sorted[last].value());
    i = last + 1;
  }
  return text;
}

}  // namespace sluice

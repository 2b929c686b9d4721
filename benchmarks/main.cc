// SPDX-License-Identifier: Apache-2.0
// Runs the registered cases and prints a row for each. Status 1 when one could not be measured, or, with
// --strict, missed its goal; 2 for bad options.

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <regex>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "benchmarks/machine.h"
#include "benchmarks/paired.h"
#include "benchmarks/report.h"
#include "sluice/packet/simd.h"

namespace sluice::bench {
namespace {

constexpr char kUsage[] =
    "usage: sh benchmarks/run.sh [--filter REGEX] [--rounds N] [--level NAME] [--json] [--strict] [--list]\n"
    "  --filter  only works that the expression is found in, as '^packet/'\n"
    "  --rounds  how often each side runs; 11 if not given, no verdict below 10\n"
    "  --level   our side uses no vector instructions above scalar, avx2, avx512 or icelake\n"
    "  --json    one JSON document instead of a table\n"
    "  --strict  a missed goal is a failure\n"
    "  --list    names the works and leaves\n";

struct Options {
  std::regex filter{""};
  size_t rounds = 11;
  std::optional<SimdLevel> level{};
  bool json = false;
  bool strict = false;
  bool list = false;
};

std::optional<SimdLevel> LevelOf(absl::string_view name) {
  constexpr std::array<absl::string_view, kSimdLevels> kNames = {"scalar", "avx2", "avx512", "icelake"};
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<SimdLevel>(found - kNames.begin());
}

bool ParseOptions(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--json") {
      options.json = true;
    } else if (name == "--strict") {
      options.strict = true;
    } else if (name == "--list") {
      options.list = true;
    } else if (name == "--filter" && *value != '\0') {
      options.filter = std::regex(value);
      ++i;
    } else if (name == "--level" && (options.level = LevelOf(value))) {
      ++i;
    } else if (name == "--rounds" && absl::SimpleAtoi(value, &options.rounds) && options.rounds > 0) {
      ++i;
    } else {
      return false;
    }
  }
  return true;
}

bool RunAll(const Options& options) {
  const std::unique_ptr<Report> report = options.json ? Report::Json() : Report::Table();
  report->Begin(MachineName());
  bool good = true;
  for (const Case& one : RegisteredCases()) {
    if (!std::regex_search(one.work, options.filter)) continue;
    const Row row = Measure(one, options.rounds);
    report->Add(row);
    good = good && !row.failed() && !(options.strict && row.judged() && !row.met());
  }
  report->End();
  return good;
}

int Main(int argc, char** argv) {
  Options options;
  try {
    if (!ParseOptions(argc, argv, options)) return std::fputs(kUsage, stderr), 2;
  } catch (const std::regex_error& error) {
    return std::fprintf(stderr, "--filter: %s\n%s", error.what(), kUsage), 2;
  }
  if (options.list) {
    for (const Case& one : RegisteredCases()) std::printf("%s\n", one.work.c_str());
    return 0;
  }
  if (options.level && *options.level > BestSimdLevel()) {
    return std::fputs("--level: this processor does not have it\n", stderr), 2;
  }
  if (options.level) LimitSimdLevel(*options.level);
  PinThisProcess(MeasuringCpu());
  return RunAll(options) ? 0 : 1;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) { return sluice::bench::Main(argc, argv); }

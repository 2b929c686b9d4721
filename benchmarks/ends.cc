// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/ends.h"

#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "benchmarks/machine.h"

namespace sluice::bench {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(15);

testing::Process Start(const std::string& command, int cpu, const testing::Namespace* where) {
  return testing::Process::Command(absl::StrCat("exec taskset -c ", cpu, " ", command), where);
}

absl::Status Failed(const std::string& command, const testing::Process& process) {
  return absl::InternalError(
      absl::StrCat("`", command, "` did not do its part; it printed:\n", process.Output()));
}

absl::StatusOr<EndsResult> ParseResult(const std::string& output) {
  EndsResult result;
  double bad = 0;
  const size_t line = output.rfind("packets ");
  if (line == std::string::npos ||
      std::sscanf(output.c_str() + line,
                  "packets %lf nanoseconds %lf cpu_nanoseconds %lf bad %lf busy_ticks %lf", &result.packets,
                  &result.nanoseconds, &result.cpu_nanoseconds, &bad, &result.busy_ticks) < 4) {
    return absl::InternalError(absl::StrCat("no result in:\n", output));
  }
  if (bad > 0) return absl::DataLossError(absl::StrCat(bad, " packets were not what was sent"));
  if (result.packets == 0) return absl::InternalError("no packet came through");
  return result;
}

// Made anew, and gone with this.
class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {
    if (!path_.empty()) std::filesystem::create_directory(path_);
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

 private:
  const std::string path_;
};

absl::StatusOr<EndsResult> RunOnce(const Ends& ends) {
  const auto measure = [&] { return Start(ends.measuring, MeasuringCpu(), ends.measuring_in); };
  const auto feed = [&] { return Start(ends.feeding, OtherCpu(), ends.feeding_in); };

  if (!ends.left_behind.empty()) std::filesystem::remove(ends.left_behind);
  const Folder folder(ends.folder);

  // 1. The first end, until it is there.
  testing::Process first = ends.feeder_first ? feed() : measure();
  if (!first.WaitForOutput("ready\n", kPatience)) {
    return Failed(ends.feeder_first ? ends.feeding : ends.measuring, first);
  }

  // 2. The other, and then the measuring one to its end.
  testing::Process second = ends.feeder_first ? measure() : feed();
  testing::Process& measuring = ends.feeder_first ? second : first;
  if (measuring.Wait(kPatience) != 0) {
    absl::Status failed = Failed(ends.measuring, measuring);
    const testing::Process& feeding = ends.feeder_first ? first : second;
    return absl::InternalError(absl::StrCat(failed.message(), "and the other end:\n", feeding.Output()));
  }
  return ParseResult(measuring.Output());
}

Sampler PerPacket(Ends ends, double EndsResult::*cost) {
  return [ends = std::move(ends), cost]() -> absl::StatusOr<double> {
    const absl::StatusOr<EndsResult> result = RunEnds(ends);
    if (!result.ok()) return result.status();
    return (*result).*cost / result->packets;
  };
}

}  // namespace

absl::StatusOr<EndsResult> RunEnds(const Ends& ends) {
  try {
    return RunOnce(ends);
  } catch (const std::runtime_error& error) {
    return absl::InternalError(error.what());
  }
}

Sampler TimePerPacket(Ends ends) { return PerPacket(std::move(ends), &EndsResult::nanoseconds); }
Sampler ProcessorTimePerPacket(Ends ends) { return PerPacket(std::move(ends), &EndsResult::cpu_nanoseconds); }
Sampler BusyTicksPerPacket(Ends ends) { return PerPacket(std::move(ends), &EndsResult::busy_ticks); }

absl::StatusOr<double> PrintedFigure(const std::string& command, const std::string& word) {
  const testing::CommandResult result = testing::RunCommand(command);
  double figure = 0;
  if (!result.ok() || std::sscanf(result.output.c_str(), absl::StrCat(word, " %lf").c_str(), &figure) != 1) {
    return absl::InternalError(result.output);
  }
  return figure;
}

std::string BenchProgram(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

}  // namespace sluice::bench

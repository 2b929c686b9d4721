// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace sluice::bench {
namespace {

// What follows "KEY:" or "KEY :" in a file of such lines; empty when it is not there.
std::string Field(const char* path, absl::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(parts.first) == key) {
      return std::string(absl::StripAsciiWhitespace(parts.second));
    }
  }
  return "";
}

// The processors that this process was allowed at its start.
const std::vector<int>& Allowed() {
  static const auto& cpus = *new std::vector<int>([] {
    std::vector<int> allowed;
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) allowed.push_back(cpu);
    }
    return allowed;
  }());
  return cpus;
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double OwnSeconds() {
  double sum = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    sum += Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  }
  return sum;
}

// proc(5), /proc/stat: "cpu" user nice system idle iowait irq softirq steal, in clock ticks.
double MachineSeconds() {
  std::ifstream file("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  file >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  return (user + nice + system + steal) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

std::string MachineName() {
  utsname system{};
  uname(&system);
  return absl::StrCat(Field("/proc/cpuinfo", "model name"), " (family ", Field("/proc/cpuinfo", "cpu family"),
                      ", model ", Field("/proc/cpuinfo", "model"), "), ", Allowed().size(),
                      " processors, Linux ", system.release, ", ", FreeHugePages() > 0 ? "2 MiB" : "4 KiB",
                      " pages, g++ ", __VERSION__, " ", SLUICE_BENCH_FLAGS);
}

int MeasuringCpu() { return Allowed().back(); }
int OtherCpu() { return Allowed().front(); }

void PinThisProcess(int cpu) {
  Allowed();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

size_t FreeHugePages() {
  size_t pages = 0;
  std::istringstream(Field("/proc/meminfo", "HugePages_Free")) >> pages;
  return pages;
}

OtherLoad::OtherLoad() : start_(Clock::Monotonic().Now()), others_(MachineSeconds() - OwnSeconds()) {}

double OtherLoad::Processors() const {
  const double seconds = static_cast<double>(Clock::Monotonic().Now() - start_) / 1e9;
  return std::max(0.0, (MachineSeconds() - OwnSeconds() - others_) / seconds);
}

}  // namespace sluice::bench

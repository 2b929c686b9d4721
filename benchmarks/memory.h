// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_MEMORY_H_
#define SLUICE_BENCHMARKS_MEMORY_H_

#include <cstddef>
#include <fstream>
#include <sstream>
#include <string>

namespace sluice::bench {

// Bytes of memory that this process holds now, shared pages and huge pages included: proc(5), /proc/self/status.
inline size_t MemoryHeld() {
  size_t kilobytes = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::string name;
    size_t figure = 0;
    std::istringstream(line) >> name >> figure;
    if (name == "VmRSS:" || name == "HugetlbPages:") kilobytes += figure;
  }
  return kilobytes * 1024;
}

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_MEMORY_H_

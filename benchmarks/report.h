// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_REPORT_H_
#define SLUICE_BENCHMARKS_REPORT_H_

#include <memory>
#include <string>

#include "benchmarks/paired.h"

namespace sluice::bench {

// Writes rows to standard output as they come.
class Report {
 public:
  virtual ~Report() = default;
  virtual void Begin(const std::string& machine) = 0;
  virtual void Add(const Row& row) = 0;
  virtual void End() = 0;

  static std::unique_ptr<Report> Table();
  // {"machine": "...", "rows": [{"work": ..., "verdict": "met", ...}]}
  static std::unique_ptr<Report> Json();
};

// "met", "missed", "no peer", "not here", "few rounds" or "error".
std::string Verdict(const Row& row);

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_REPORT_H_

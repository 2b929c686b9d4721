// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_MACHINE_H_
#define SLUICE_BENCHMARKS_MACHINE_H_

// The machine that is measured on: its name for the report, its processors, and who else is using it.

#include <string>

#include "sluice/base/clock.h"

namespace sluice::bench {

// One line: processor, kernel, memory pages, compiler and its target.
std::string MachineName();

// The processor that this process measures on, and one for the far end of a connection; the same one when the
// machine has one only.
int MeasuringCpu();
int OtherCpu();
void PinThisProcess(int cpu);

// Free huge pages of 2 MiB now.
size_t FreeHugePages();

// Processors used since construction by anybody but this process and the children that it has waited for.
// Time in interrupts is left out, for the kernel does a network's work there on behalf of whoever it likes.
class OtherLoad {
 public:
  OtherLoad();
  double Processors() const;

 private:
  Nanoseconds start_;
  double others_;  // seconds
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_MACHINE_H_

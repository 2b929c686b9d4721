// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_CPU_LIST_H_
#define SLUICE_BASE_CPU_LIST_H_

// Sets of processors in the kernel's text form, as in "0-3,7". See cpuset(7), "List format"; the strides that
// kernels take besides ("0-31:2/8") are refused, for sysfs never writes them.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"

namespace sluice {

// Sorted, each processor once. The empty text is the empty list. Refuses anything but digits, ',' and '-',
// backward ranges, and numbers above 65535 (kInvalidArgument, naming the place).
SLUICE_EXPORT absl::StatusOr<std::vector<CpuId>> ParseCpuList(absl::string_view text);

// The shortest text that parses to the same set.
SLUICE_EXPORT std::string FormatCpuList(const std::vector<CpuId>& cpus);

}  // namespace sluice

#endif  // SLUICE_BASE_CPU_LIST_H_

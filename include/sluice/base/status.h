// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_STATUS_H_
#define SLUICE_BASE_STATUS_H_

// Errors of the control path. Each says what was being done, to what, why it failed and what to do about it:
//
//   xdp veth0: bind: zero-copy: Operation not supported (EOPNOTSUPP); use zero_copy=prefer or another driver
//
// The parts can be had back with ProblemOf(), so that a host can decide without reading prose.
// The data path never makes one of these: it counts (see drop_reason.h).

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"

namespace sluice {

struct Problem {
  std::string device = {};      // "xdp veth0", "pcap in.pcap", "pool"; empty when no device is involved
  std::string stage = {};       // the step that failed: "open", "bind", "register memory"
  std::string capability = {};  // the option or capability asked for and not to be had; may be empty
  int error_number = 0;         // errno, or 0 when the kernel was not asked
  std::string what = {};        // the failure in words; may be empty when errno says it all
  std::string remedy = {};      // what the reader can do about it; never empty
};

// A status that carries `problem`. The code is the caller's choice; kOk, which is none, becomes kUnknown.
SLUICE_EXPORT absl::Status ErrorStatus(absl::StatusCode code, const Problem& problem);

// The same with the code that fits `problem.error_number`.
SLUICE_EXPORT absl::Status ErrorStatus(const Problem& problem);

// EPERM → kPermissionDenied, EBUSY → kUnavailable, ENODEV → kNotFound, ENOMEM → kResourceExhausted,
// EOPNOTSUPP → kUnimplemented, ...; 0 → kFailedPrecondition, for then it was not the kernel that refused.
SLUICE_EXPORT absl::StatusCode StatusCodeOf(int error_number);

// The problem that `status` was made with; nothing for a status made elsewhere or with its message rewritten.
SLUICE_EXPORT std::optional<Problem> ProblemOf(const absl::Status& status);

// "Operation not permitted (EPERM)"; thread-safe.
SLUICE_EXPORT std::string ErrnoText(int error_number);

}  // namespace sluice

#endif  // SLUICE_BASE_STATUS_H_

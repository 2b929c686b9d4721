// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BASE_TEXT_FILE_INTERNAL_H_
#define SLUICE_BASE_TEXT_FILE_INTERNAL_H_

// Small files of /sys and /proc, which hold one line.

#include <string>

#include "absl/status/statusor.h"

namespace sluice {

inline constexpr size_t kLongestTextFile = size_t{1} << 20;

// The text of `path` without the white space around it. kNotFound when there is none; a file that is longer
// than kLongestTextFile or not text (a zero byte) is kDataLoss.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace sluice

#endif  // SLUICE_BASE_TEXT_FILE_INTERNAL_H_

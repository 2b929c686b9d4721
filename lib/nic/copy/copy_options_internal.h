// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_COPY_COPY_OPTIONS_INTERNAL_H_
#define SLUICE_NIC_COPY_COPY_OPTIONS_INTERNAL_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"

namespace sluice {

// kInvalidArgument, for an option of an engine.
absl::Status RefuseCopyOption(const std::string& engine, const char* option, std::string what,
                              std::string remedy);
absl::Status CheckCopyCapacity(const std::string& engine, size_t capacity);

}  // namespace sluice

#endif  // SLUICE_NIC_COPY_COPY_OPTIONS_INTERNAL_H_

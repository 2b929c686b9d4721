// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_WIRE_OPTIONS_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_WIRE_OPTIONS_INTERNAL_H_

// The checks of options that the wires have in common. Each refuses with kInvalidArgument.

#include <string>

#include "absl/status/status.h"
#include "sluice/nic/wire.h"

namespace sluice {

inline constexpr uint16_t kMostLanes = 64;
inline constexpr uint32_t kLargestRing = 32768;

absl::Status RefuseOption(const std::string& device, std::string what, std::string remedy);

absl::Status CheckWireOptions(const std::string& device, const WireOptions& options);
absl::Status CheckInterfaceOptions(const std::string& device, const std::string& interface,
                                   uint32_t max_frame);

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_WIRE_OPTIONS_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_PROVIDER_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_PROVIDER_INTERNAL_H_

// The devices of a process that was started with a configuration: $SLUICE_SOFTVERBS names its file.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {

// software_verbs.cc
void FillIn(SoftHandle& handle, const std::string& name, const MacAddress& mac);
absl::StatusOr<std::shared_ptr<SoftDevice>> MakeSoftDevice(const SoftwareVerbsOptions& options,
                                                           std::unique_ptr<Wire> wire);
absl::Status TakeOrders(SoftDevice& device);  // on its control socket, if it is to have one

// provider.cc. Any thread.
bool IsConfigured(const std::string& name);
SoftHandle* NewHandle(const std::string& name);  // of a configured device; the caller owns it
// Null when it is not configured, or its wire cannot be made.
std::shared_ptr<SoftDevice> MakeConfigured(const std::string& name);

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_PROVIDER_INTERNAL_H_

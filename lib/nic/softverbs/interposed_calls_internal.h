// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_INTERPOSED_CALLS_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_INTERPOSED_CALLS_INTERNAL_H_

// The few calls of libibverbs that never reach a provider: it asks the kernel, or sysfs, itself. Whoever stands before
// libibverbs (libsluice_soft-rdmav34.so when it is preloaded, a test program) answers them for our devices with these,
// and finds them by the device itself, whichever library made it.

#include <infiniband/verbs.h>

#include <cstdint>
#include <cstring>

#include "nic/softverbs/private_abi_internal.h"

namespace sluice {

struct SoftDeviceOps : VerbsDeviceOps {
  ibv_comp_channel* (*create_channel)(ibv_context* context);
  uint64_t (*guid)(ibv_device* device);                            // network order
  int (*gid)(ibv_context* context, uint32_t index, ibv_gid* gid);  // errno; all zero where there is none
};

inline constexpr uint32_t kSoftGids = 2;  // of a port; the second is empty
inline constexpr char kSoftProvider[] = "sluice_soft";

// Null for a device that is not ours.
inline const SoftDeviceOps* SoftCallsOf(const ibv_device* device) {
  const VerbsDeviceOps* const ops = reinterpret_cast<const VerbsDevice*>(device)->ops;
  const bool ours = ops != nullptr && std::strcmp(ops->name, kSoftProvider) == 0;
  return ours ? static_cast<const SoftDeviceOps*>(ops) : nullptr;
}

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_INTERPOSED_CALLS_INTERNAL_H_

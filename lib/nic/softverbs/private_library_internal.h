// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_PRIVATE_LIBRARY_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_PRIVATE_LIBRARY_INTERNAL_H_

// The calls of libibverbs that only providers make. They are looked up by name and version when they are first
// needed, and not linked: libsluice then loads on machines whose libibverbs has another private ABI, or that have none.

#include <infiniband/verbs.h>

#include "absl/status/statusor.h"
#include "nic/softverbs/private_abi_internal.h"

namespace sluice {

struct PrivateLibrary {
  void* (*init_and_alloc_context)(ibv_device*, int cmd_fd, size_t size, verbs_context* offset,
                                  uint32_t driver) = nullptr;
  void (*set_ops)(verbs_context*, const VerbsContextOps*) = nullptr;
  void (*uninit_context)(verbs_context*) = nullptr;
  void (*register_driver)(const VerbsDeviceOps*) = nullptr;

  // Looks once. kUnimplemented when there is no libibverbs, or not with this private ABI. Any thread.
  static const absl::StatusOr<PrivateLibrary>& Get();
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_PRIVATE_LIBRARY_INTERNAL_H_

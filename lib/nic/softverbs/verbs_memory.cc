// SPDX-License-Identifier: Apache-2.0
// Protection domains and memory regions.
#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

constexpr int kKnownAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                             IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND | IBV_ACCESS_ZERO_BASED |
                             IBV_ACCESS_HUGETLB | IBV_ACCESS_OPTIONAL_RANGE;

// Writing from afar includes writing from near (IBA, 10.6.3.1).
int CheckAccess(int access) {
  if ((access & IBV_ACCESS_ON_DEMAND) != 0) return EOPNOTSUPP;
  if ((access & ~kKnownAccess) != 0) return EINVAL;
  const bool remote = (access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) != 0;
  return remote && (access & IBV_ACCESS_LOCAL_WRITE) == 0 ? EINVAL : 0;
}

SoftRegion RegionOf(const SoftDomain& domain, void* address, size_t length, uint64_t iova, int access) {
  return {.domain = domain.number,
          .address = iova,
          .data = static_cast<uint8_t*>(address),
          .length = length,
          .writable = (access & IBV_ACCESS_LOCAL_WRITE) != 0};
}

}  // namespace

ibv_pd* AllocDomain(ibv_context* context) {
  SoftDevice& device = DeviceOf(context);
  const std::lock_guard lock(device.gate);
  if (device.removed) return Refuse(EIO);
  auto* const domain = new SoftDomain{};
  domain->context = context;
  domain->number = ++device.last_domain;
  return domain;
}

int DeallocDomain(ibv_pd* pd) {
  SoftDomain& domain = DomainOf(pd);
  {
    const std::lock_guard lock(DeviceOf(pd->context).gate);
    if (domain.users > 0) return EBUSY;
  }
  delete &domain;
  return 0;
}

ibv_mr* RegisterMemory(ibv_pd* pd, void* address, size_t length, uint64_t iova, int access) {
  if (const int error = CheckAccess(access); error != 0) return Refuse(error);
  SoftDomain& domain = DomainOf(pd);
  SoftDevice& device = DeviceOf(pd->context);
  const std::lock_guard lock(device.gate);
  if (device.removed) return Refuse(EIO);
  const std::optional<uint32_t> key = device.memory.Add(RegionOf(domain, address, length, iova, access));
  if (!key.has_value()) return Refuse(ENOMEM);
  auto* const handle = new SoftRegionHandle{};
  handle->mr.lkey = handle->mr.rkey = *key;
  handle->access = access;
  handle->domain = &domain;
  ++domain.users;
  return &handle->mr;
}

int ReregisterMemory(VerbsMr* mr, int flags, ibv_pd* pd, void* address, size_t length, int access) {
  auto& handle = *static_cast<SoftRegionHandle*>(mr);
  SoftDevice& device = DeviceOf(mr->mr.context);
  const std::lock_guard lock(device.gate);
  if ((flags & IBV_REREG_MR_CHANGE_ACCESS) != 0) {
    if (const int error = CheckAccess(access); error != 0) return error;
    handle.access = access;
  }
  SoftRegion region = device.memory.Find(mr->mr.lkey);
  if ((flags & IBV_REREG_MR_CHANGE_PD) != 0) {
    --handle.domain->users;
    handle.domain = &DomainOf(pd);
    ++handle.domain->users;
  }
  if ((flags & IBV_REREG_MR_CHANGE_TRANSLATION) == 0) {
    address = region.data;
    length = region.length;
  }
  const uint64_t iova = reinterpret_cast<uint64_t>(address);
  device.memory.Replace(mr->mr.lkey, RegionOf(*handle.domain, address, length, iova, handle.access));
  return 0;
}

int DeregisterMemory(VerbsMr* mr) {
  auto* const handle = static_cast<SoftRegionHandle*>(mr);
  const std::lock_guard lock(DeviceOf(mr->mr.context).gate);
  DeviceOf(mr->mr.context).memory.Remove(mr->mr.lkey);
  --handle->domain->users;
  if (handle->dm != nullptr) --handle->dm->users;
  delete handle;
  return 0;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// Device memory: bytes of the card, which a program reaches by copies, and frames by regions.
#include <algorithm>
#include <cstring>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

SoftDm& DmOf(ibv_dm* dm) { return *static_cast<SoftDm*>(dm); }

bool Inside(const SoftDm& dm, uint64_t offset, size_t length) {
  return offset <= dm.bytes.size() && length <= dm.bytes.size() - offset;
}

// Cards take words of four bytes.
bool CanCopy(const SoftDm& dm, uint64_t offset, size_t length) {
  return Inside(dm, offset, length) && offset % 4 == 0 && length % 4 == 0;
}

int CopyTo(ibv_dm* dm, uint64_t offset, const void* from, size_t length) {
  SoftDm& ours = DmOf(dm);
  if (!CanCopy(ours, offset, length)) return EINVAL;
  std::memcpy(ours.bytes.data() + offset, from, length);
  return 0;
}

int CopyFrom(void* to, ibv_dm* dm, uint64_t offset, size_t length) {
  const SoftDm& ours = DmOf(dm);
  if (!CanCopy(ours, offset, length)) return EINVAL;
  std::memcpy(to, ours.bytes.data() + offset, length);
  return 0;
}

}  // namespace

ibv_dm* AllocDm(ibv_context* context, ibv_alloc_dm_attr* attr) {
  SoftDevice& device = DeviceOf(context);
  if (device.hardware().device_memory == 0) return Refuse(EOPNOTSUPP);
  if (attr->comp_mask != 0 || attr->length == 0) return Refuse(EINVAL);
  const std::lock_guard lock(device.gate);
  if (attr->length > device.hardware().device_memory - device.device_memory_used) return Refuse(ENOMEM);
  auto made = std::make_unique<SoftDm>();
  made->context = context;
  made->memcpy_to_dm = CopyTo;
  made->memcpy_from_dm = CopyFrom;
  made->bytes.resize(attr->length);
  device.device_memory_used += attr->length;
  return made.release();
}

int FreeDm(ibv_dm* dm) {
  SoftDm* const ours = &DmOf(dm);
  SoftDevice& device = DeviceOf(dm->context);
  const std::lock_guard lock(device.gate);
  if (ours->users > 0) return EBUSY;
  device.device_memory_used -= ours->bytes.size();
  delete ours;
  return 0;
}

// Its first byte is at address 0. libibverbs fills in nothing of such a region.
ibv_mr* RegisterDm(ibv_pd* pd, ibv_dm* dm, uint64_t offset, size_t length, unsigned int access) {
  SoftDm& ours = DmOf(dm);
  if ((access & IBV_ACCESS_ZERO_BASED) == 0 || !Inside(ours, offset, length)) return Refuse(EINVAL);
  ibv_mr* const region = RegisterMemory(pd, ours.bytes.data() + offset, length, 0, static_cast<int>(access));
  if (region == nullptr) return nullptr;
  const std::lock_guard lock(DeviceOf(pd->context).gate);
  region->context = pd->context;
  region->pd = pd;
  region->length = length;
  static_cast<SoftRegionHandle*>(reinterpret_cast<VerbsMr*>(region))->dm = &ours;
  ++ours.users;
  return region;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// libsluice_soft-rdmav34.so: brings the software verbs devices of $SLUICE_SOFTVERBS to programs that know nothing of them.
// libibverbs loads it as a provider (RDMAV_DRIVERS); preloaded besides (LD_PRELOAD), it stands before libibverbs for the
// calls that never reach a provider, and adds the devices to the list where sysfs has none of their names: on hosts that
// have RDMA of their own, and for users who may not make device files.
#include <dlfcn.h>
#include <infiniband/verbs.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "nic/softverbs/interposed_calls_internal.h"
#include "sluice/nic/software_verbs_config.h"

#define INTERPOSED extern "C" [[gnu::visibility("default")]]

namespace {

using sluice::SoftCallsOf;
using sluice::SoftDeviceOps;

[[gnu::constructor]] void Register() { (void)sluice::RegisterSoftwareVerbs(); }

// libibverbs' own; `version` is that of the symbol. Asked of the library itself: where it was loaded by a module of an
// interpreter, it is behind this one in no search order.
template <typename Function>
Function* Genuine(const char* name, const char* version) {
  static void* const library = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlvsym(library, name, version));
}

const SoftDeviceOps* CallsOf(ibv_context* context) { return SoftCallsOf(context->device); }

int GidOf(ibv_context* context, uint32_t port, uint32_t index, ibv_gid* gid) {
  return port == 1 ? CallsOf(context)->gid(context, index, gid) : EINVAL;
}

bool IsEmpty(const ibv_gid& gid) { return gid.global.subnet_prefix == 0 && gid.global.interface_id == 0; }

// A list of libibverbs with ours behind it. It frees the list, and counts those who hold a device.
ibv_device** Append(ibv_device** list, int& count) {
  const std::vector<ibv_device*> ours = sluice::ConfiguredSoftwareVerbs();
  const size_t before = static_cast<size_t>(count);
  auto** const longer =
      static_cast<ibv_device**>(std::realloc(list, (before + ours.size() + 1) * sizeof(ibv_device*)));
  if (longer == nullptr) return list;
  for (size_t i = 0; i < ours.size(); ++i) {
    auto* const held = reinterpret_cast<sluice::VerbsDevice*>(ours[i]);
    std::atomic_ref<int>(held->refcount).fetch_add(1, std::memory_order_relaxed);
    longer[before + i] = ours[i];
  }
  longer[before + ours.size()] = nullptr;
  count = static_cast<int>(before + ours.size());
  return longer;
}

}  // namespace

INTERPOSED ibv_device** ibv_get_device_list(int* count) {
  static auto* const genuine = Genuine<ibv_device**(int*)>("ibv_get_device_list", "IBVERBS_1.1");
  int found = 0;
  ibv_device** list = genuine == nullptr ? nullptr : genuine(&found);
  const bool has_ours = list != nullptr && std::any_of(list, list + found, [](auto* device) {
                          return SoftCallsOf(device) != nullptr;
                        });
  if (!has_ours) list = Append(list, found);
  if (count != nullptr) *count = found;
  return list;
}

INTERPOSED __be64 ibv_get_device_guid(ibv_device* device) {
  static auto* const genuine = Genuine<__be64(ibv_device*)>("ibv_get_device_guid", "IBVERBS_1.1");
  const SoftDeviceOps* const calls = SoftCallsOf(device);
  return calls != nullptr ? calls->guid(device) : genuine(device);
}

INTERPOSED ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  static auto* const genuine =
      Genuine<ibv_comp_channel*(ibv_context*)>("ibv_create_comp_channel", "IBVERBS_1.0");
  const SoftDeviceOps* const calls = CallsOf(context);
  return calls != nullptr ? calls->create_channel(context) : genuine(context);
}

INTERPOSED int ibv_query_gid(ibv_context* context, uint8_t port, int index, ibv_gid* gid) {
  static auto* const genuine =
      Genuine<int(ibv_context*, uint8_t, int, ibv_gid*)>("ibv_query_gid", "IBVERBS_1.1");
  if (CallsOf(context) == nullptr) return genuine(context, port, index, gid);
  errno = GidOf(context, port, static_cast<uint32_t>(index), gid);
  return errno == 0 ? 0 : -1;
}

INTERPOSED int ibv_query_pkey(ibv_context* context, uint8_t port, int index, __be16* pkey) {
  static auto* const genuine =
      Genuine<int(ibv_context*, uint8_t, int, __be16*)>("ibv_query_pkey", "IBVERBS_1.1");
  if (CallsOf(context) == nullptr) return genuine(context, port, index, pkey);
  errno = port == 1 && index == 0 ? 0 : EINVAL;
  *pkey = 0xffff;
  return errno == 0 ? 0 : -1;
}

INTERPOSED int _ibv_query_gid_ex(ibv_context* context, uint32_t port, uint32_t index, ibv_gid_entry* entry,
                                 uint32_t flags, size_t size) {
  using Query = int(ibv_context*, uint32_t, uint32_t, ibv_gid_entry*, uint32_t, size_t);
  static auto* const genuine = Genuine<Query>("_ibv_query_gid_ex", "IBVERBS_1.11");
  if (CallsOf(context) == nullptr) return genuine(context, port, index, entry, flags, size);
  ibv_gid_entry found{};
  found.gid_index = index;
  found.port_num = port;
  found.gid_type = IBV_GID_TYPE_ROCE_V2;
  if (const int error = flags != 0 ? EINVAL : GidOf(context, port, index, &found.gid); error != 0)
    return error;
  if (IsEmpty(found.gid)) return ENODATA;
  std::memcpy(entry, &found, std::min(size, sizeof(found)));
  return 0;
}

// Those that are not empty; a negative errno when they are more.
INTERPOSED ssize_t _ibv_query_gid_table(ibv_context* context, ibv_gid_entry* entries, size_t most,
                                        uint32_t flags, size_t size) {
  using Query = ssize_t(ibv_context*, ibv_gid_entry*, size_t, uint32_t, size_t);
  static auto* const genuine = Genuine<Query>("_ibv_query_gid_table", "IBVERBS_1.11");
  if (CallsOf(context) == nullptr) return genuine(context, entries, most, flags, size);
  if (flags != 0 || most == 0) return -EINVAL;
  return _ibv_query_gid_ex(context, 1, 0, entries, 0, size) == 0 ? 1 : 0;
}

// A private call, of pyverbs; the types are numbered as in sysfs.
INTERPOSED int ibv_query_gid_type(ibv_context* context, uint8_t port, unsigned int index,
                                  unsigned int* type) {
  constexpr unsigned int kRoceV2 = 1;
  using Query = int(ibv_context*, uint8_t, unsigned int, unsigned int*);
  static auto* const genuine = Genuine<Query>("ibv_query_gid_type", "IBVERBS_PRIVATE_34");
  if (CallsOf(context) == nullptr) return genuine(context, port, index, type);
  errno = port == 1 && index < sluice::kSoftGids ? 0 : EINVAL;
  *type = kRoceV2;
  return errno == 0 ? 0 : -1;
}

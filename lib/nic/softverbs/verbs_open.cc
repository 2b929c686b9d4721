// SPDX-License-Identifier: Apache-2.0
// A device found and opened: what libibverbs asks of a provider before there is anything else.
#include <cstdlib>
#include <cstring>

#include "nic/softverbs/event_pipe_internal.h"
#include "nic/softverbs/private_library_internal.h"
#include "nic/softverbs/provider_internal.h"
#include "nic/softverbs/verbs_objects_internal.h"
#include "sluice/nic/software_verbs_config.h"

namespace sluice {
namespace {

void FreeContext(ibv_context* context) {
  SoftContext& ours = ContextOf(context);
  {
    const std::lock_guard lock(ours.device->gate);
    std::erase(ours.device->event_pipes, context->async_fd);
  }
  PrivateLibrary::Get()->uninit_context(&ours.verbs);
  std::free(&ours);
}

constexpr VerbsContextOps kContextOps = {
    .alloc_dm = AllocDm,
    .alloc_pd = AllocDomain,
    .async_event = OnAsyncEvent,
    .attach_counters_point_flow = AttachCounter,
    .attach_mcast = AttachMcast,
    .cq_event = OnCqEvent,
    .create_counters = CreateCounters,
    .create_cq = CreateCq,
    .create_cq_ex = CreateCqEx,
    .create_flow = CreateFlow,
    .create_qp = CreateQp,
    .create_qp_ex = CreateQpEx,
    .create_rwq_ind_table = CreateTable,
    .create_wq = CreateWq,
    .dealloc_pd = DeallocDomain,
    .dereg_mr = DeregisterMemory,
    .destroy_counters = DestroyCounters,
    .destroy_cq = DestroyCq,
    .destroy_flow = DestroyFlow,
    .destroy_qp = DestroyQp,
    .destroy_rwq_ind_table = DestroyTable,
    .destroy_wq = DestroyWq,
    .detach_mcast = DetachMcast,
    .free_context = FreeContext,
    .free_dm = FreeDm,
    .modify_qp = ModifyQp,
    .modify_qp_rate_limit = LimitRate,
    .modify_wq = ModifyWq,
    .poll_cq = PollCq,
    .post_recv = PostReceive,
    .post_send = PostSend,
    .query_device_ex = QueryDevice,
    .query_port = QueryPort,
    .query_qp = QueryQp,
    .query_rt_values = QueryValues,
    .read_counters = ReadCounters,
    .reg_dm_mr = RegisterDm,
    .reg_mr = RegisterMemory,
    .req_notify_cq = RequestNotify,
    .rereg_mr = ReregisterMemory,
    .resize_cq = ResizeCq,
};

// All contexts of a device in this process share what is behind it.
SoftDevice* ModelOf(SoftHandle& handle) {
  static std::mutex gate;
  const std::lock_guard lock(gate);
  if (handle.model != nullptr) return handle.model.get();
  handle.model = MakeConfigured(handle.device.name);
  if (handle.model != nullptr) {
    handle.model->port.ShowDrops(handle.device.ibdev_path +
                                 std::string("/ports/1/hw_counters/out_of_buffer"));
  }
  return handle.model.get();
}

// The descriptor of asynchronous events is ours, so that libibverbs does not ask the kernel for one.
verbs_context* AllocContext(ibv_device* device, int cmd_fd, void*) {
  SoftDevice* const model = ModelOf(HandleOf(device));
  if (model == nullptr) return Refuse(ENODEV);
  constexpr uint32_t kNoDriver = 0;
  void* const made =
      PrivateLibrary::Get()->init_and_alloc_context(device, cmd_fd, sizeof(SoftContext), nullptr, kNoDriver);
  if (made == nullptr) return nullptr;
  auto* const ours = static_cast<SoftContext*>(made);
  ours->device = model;
  ours->verbs.context.async_fd = OpenEventPipe();
  ours->verbs.context.num_comp_vectors = 1;
  const std::lock_guard lock(model->gate);
  model->event_pipes.push_back(ours->verbs.context.async_fd);
  PrivateLibrary::Get()->set_ops(&ours->verbs, &kContextOps);
  return &ours->verbs;
}

uint64_t Guid(ibv_device* device) { return SoftGuid(HandleOf(device).mac); }

// The first is the port's own; there is a second, so that programs meet an empty one.
int Gid(ibv_context* context, uint32_t index, ibv_gid* gid) {
  if (index >= kSoftGids) return EINVAL;
  *gid = {};
  if (index > 0) return 0;
  const std::array<uint8_t, 16> own = SoftwareVerbsGid(DeviceOf(context).options.mac);
  std::memcpy(gid->raw, own.data(), own.size());
  return 0;
}

SoftDeviceOps MakeOps() {
  SoftDeviceOps ops{};
  ops.name = kSoftProvider;
  ops.match_min_abi_version = ops.match_max_abi_version = 1;
  ops.match_device = [](VerbsSysfsDevice* sysfs) { return IsConfigured(sysfs->ibdev_name); };
  ops.alloc_context = AllocContext;
  ops.alloc_device = [](VerbsSysfsDevice* sysfs) -> VerbsDevice* { return NewHandle(sysfs->ibdev_name); };
  ops.uninit_device = [](VerbsDevice* device) { delete static_cast<SoftHandle*>(device); };
  ops.create_channel = CreateChannel;
  ops.guid = Guid;
  ops.gid = Gid;
  return ops;
}

}  // namespace

const SoftDeviceOps kSoftDeviceOps = MakeOps();

}  // namespace sluice

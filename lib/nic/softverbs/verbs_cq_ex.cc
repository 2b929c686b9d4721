// SPDX-License-Identifier: Apache-2.0
// Extended completion queues: one completion at a time is looked at, field by field, with what ibv_wc has no room for.
#include <chrono>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

constexpr uint64_t kStamps =
    IBV_WC_EX_WITH_COMPLETION_TIMESTAMP | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK;
constexpr uint64_t kKnownFields = IBV_WC_EX_WITH_BYTE_LEN | IBV_WC_EX_WITH_IMM | IBV_WC_EX_WITH_QP_NUM |
                                  IBV_WC_EX_WITH_SRC_QP | IBV_WC_EX_WITH_SLID | IBV_WC_EX_WITH_SL |
                                  IBV_WC_EX_WITH_DLID_PATH_BITS | IBV_WC_EX_WITH_CVLAN |
                                  IBV_WC_EX_WITH_FLOW_TAG | kStamps;

SoftCq& CqOf(ibv_cq_ex* cq) { return *static_cast<SoftCq*>(cq); }
const SoftCompletion& CurrentOf(ibv_cq_ex* cq) { return CqOf(cq).queue.LookedAt(CqOf(cq).current); }

// What is there by now is looked at where it is, all under one lock.
int Look(SoftCq& cq) {
  cq.current = 0;
  cq.looked_at = cq.queue.Look();
  return cq.looked_at == 0 ? ENOENT : 0;
}

int Show(SoftCq& cq) {
  const SoftCompletion& current = CurrentOf(&cq);
  cq.wr_id = current.id;
  cq.status = StatusOf(current);
  return 0;
}

// While somebody looks, there is nothing for others.
int StartPoll(ibv_cq_ex* at, ibv_poll_cq_attr* attr) {
  if (attr->comp_mask != 0) return EINVAL;
  SoftCq& cq = CqOf(at);
  SoftDevice& device = DeviceOf(cq.context);
  const std::lock_guard lock(device.gate);
  if (cq.queue.looked_at()) return ENOENT;
  if (cq.queue.empty()) device.Step();
  return Look(cq) == 0 ? Show(cq) : ENOENT;
}

int NextPoll(ibv_cq_ex* at) {
  SoftCq& cq = CqOf(at);
  if (++cq.current < cq.looked_at) return Show(cq);
  const std::lock_guard lock(DeviceOf(cq.context).gate);
  cq.queue.Drop(cq.looked_at);
  return Look(cq) == 0 ? Show(cq) : ENOENT;
}

// Those behind the one that was looked at last are for the next poll.
void EndPoll(ibv_cq_ex* at) {
  SoftCq& cq = CqOf(at);
  if (cq.looked_at == 0) return;
  const std::lock_guard lock(DeviceOf(cq.context).gate);
  cq.queue.Drop(cq.current + 1);
  cq.looked_at = 0;
}

// From the device's clock to the time of day.
uint64_t WallClock(ibv_cq_ex* cq) {
  const Clock& clock = DeviceOf(cq->context).clock;
  const auto today = std::chrono::system_clock::now().time_since_epoch();
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(today).count();
  return static_cast<uint64_t>(now) - (clock.Now() - CurrentOf(cq).at);
}

// What raw frames do not have reads as zero.
void FillInReaders(ibv_cq_ex& cq) {
  cq.start_poll = StartPoll;
  cq.next_poll = NextPoll;
  cq.end_poll = EndPoll;
  cq.read_opcode = [](ibv_cq_ex* at) { return OpcodeOf(CurrentOf(at)); };
  cq.read_vendor_err = [](ibv_cq_ex*) { return uint32_t{0}; };
  cq.read_byte_len = [](ibv_cq_ex* at) { return CurrentOf(at).bytes; };
  cq.read_imm_data = [](ibv_cq_ex*) -> __be32 { return 0; };
  cq.read_qp_num = [](ibv_cq_ex* at) { return CurrentOf(at).queue; };
  cq.read_src_qp = [](ibv_cq_ex*) { return uint32_t{0}; };
  cq.read_wc_flags = [](ibv_cq_ex* at) { return FlagsOf(CurrentOf(at)); };
  cq.read_slid = [](ibv_cq_ex*) { return uint32_t{0}; };
  cq.read_sl = [](ibv_cq_ex*) { return uint8_t{0}; };
  cq.read_dlid_path_bits = [](ibv_cq_ex*) { return uint8_t{0}; };
  cq.read_completion_ts = [](ibv_cq_ex* at) { return uint64_t{CurrentOf(at).at}; };
  cq.read_cvlan = [](ibv_cq_ex* at) { return CurrentOf(at).vlan_tci; };
  cq.read_flow_tag = [](ibv_cq_ex* at) { return CurrentOf(at).mark; };
  cq.read_completion_wallclock_ns = WallClock;
}

int Check(const SoftDevice& device, const ibv_context& context, const ibv_cq_init_attr_ex& attr) {
  constexpr uint32_t kFlags = IBV_CREATE_CQ_ATTR_SINGLE_THREADED | IBV_CREATE_CQ_ATTR_IGNORE_OVERRUN;
  if ((attr.comp_mask & ~uint32_t{IBV_CQ_INIT_ATTR_MASK_FLAGS}) != 0) return EOPNOTSUPP;
  if ((attr.comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS) != 0 && (attr.flags & ~kFlags) != 0) return EOPNOTSUPP;
  if ((attr.wc_flags & ~kKnownFields) != 0) return EOPNOTSUPP;
  if ((attr.wc_flags & kStamps) != 0 && !device.hardware().timestamps) return EOPNOTSUPP;
  const bool vector = attr.comp_vector < static_cast<uint32_t>(context.num_comp_vectors);
  return vector && CqSizeFits(device, attr.cqe) ? 0 : EINVAL;
}

}  // namespace

ibv_cq_ex* CreateCqEx(ibv_context* context, ibv_cq_init_attr_ex* attr) {
  if (const int error = Check(DeviceOf(context), *context, *attr); error != 0) return Refuse(error);
  ibv_cq* const made =
      CreateCq(context, static_cast<int>(attr->cqe), attr->channel, static_cast<int>(attr->comp_vector));
  if (made == nullptr) return nullptr;
  FillInReaders(sluice::CqOf(made));
  return &sluice::CqOf(made);
}

int QueryValues(ibv_context* context, ibv_values_ex* values) {
  const SoftDevice& device = DeviceOf(context);
  if (!device.hardware().timestamps) return EOPNOTSUPP;
  if ((values->comp_mask & ~uint32_t{IBV_VALUES_MASK_RAW_CLOCK}) != 0) return EINVAL;
  values->raw_clock = {.tv_sec = 0, .tv_nsec = static_cast<long>(device.clock.Now())};
  return 0;
}

}  // namespace sluice

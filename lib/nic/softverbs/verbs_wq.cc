// SPDX-License-Identifier: Apache-2.0
// Work queues, and the tables that spread frames over them.
#include <bit>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

int PostToWq(ibv_wq* wq, ibv_recv_wr* request, ibv_recv_wr** bad) {
  SoftDevice& device = DeviceOf(wq->context);
  const std::lock_guard lock(device.gate);
  if (wq->state == IBV_WQS_RESET || device.removed) {
    *bad = request;
    return device.removed ? EIO : EINVAL;
  }
  const int error = PostReceives(*WqOf(wq).queue, request, bad);
  if (wq->state == IBV_WQS_ERR) device.port.Flush(*WqOf(wq).queue);
  return error;
}

uint32_t FlagsOf(const ibv_wq_init_attr& attr) {
  return (attr.comp_mask & IBV_WQ_INIT_ATTR_FLAGS) != 0 ? attr.create_flags : 0;
}
uint32_t AbleOf(const SoftwareVerbsHardware& hardware) {
  uint32_t able = 0;
  if (hardware.vlan_strip) able |= IBV_WQ_FLAGS_CVLAN_STRIPPING;
  if (hardware.scatter_fcs) able |= IBV_WQ_FLAGS_SCATTER_FCS;
  return able;
}

int CheckInit(const SoftwareVerbsHardware& hardware, const ibv_wq_init_attr& attr) {
  if (hardware.max_work_queues == 0) return EOPNOTSUPP;
  if ((attr.comp_mask & ~uint32_t{IBV_WQ_INIT_ATTR_FLAGS}) != 0) return EOPNOTSUPP;
  if ((FlagsOf(attr) & ~AbleOf(hardware)) != 0) return EOPNOTSUPP;
  if (attr.wq_type != IBV_WQT_RQ || attr.pd == nullptr || attr.cq == nullptr) return EINVAL;
  const bool fits = attr.max_wr <= hardware.max_work_requests && attr.max_sge <= hardware.max_pieces;
  return fits ? 0 : EINVAL;
}

std::unique_ptr<SoftWq> Make(SoftDevice& device, ibv_context* context, const ibv_wq_init_attr& attr) {
  auto made = std::make_unique<SoftWq>();
  made->context = context;
  made->wq_context = attr.wq_context;
  made->pd = attr.pd;
  made->cq = attr.cq;
  made->wq_num = made->handle = ++device.last_queue_pair;
  made->state = IBV_WQS_RESET;
  made->wq_type = attr.wq_type;
  made->post_recv = PostToWq;
  made->queue = std::make_unique<SoftReceiveQueue>(
      SoftReceiveOptions{.number = made->wq_num,
                         .domain = DomainOf(attr.pd).number,
                         .requests = attr.max_wr,
                         .pieces = attr.max_sge,
                         .patience = device.port.patience(),
                         .strip_vlan = (FlagsOf(attr) & IBV_WQ_FLAGS_CVLAN_STRIPPING) != 0,
                         .scatter_fcs = (FlagsOf(attr) & IBV_WQ_FLAGS_SCATTER_FCS) != 0},
      device.memory, CqOf(attr.cq).queue);
  return made;
}

// From any state to RESET or ERR, and from RESET on to RDY.
bool MayStep(ibv_wq_state from, ibv_wq_state to) {
  if (to == IBV_WQS_RDY) return from == IBV_WQS_RESET || from == IBV_WQS_RDY;
  return to == IBV_WQS_RESET || to == IBV_WQS_ERR;
}

void SetState(SoftDevice& device, SoftWq& wq, ibv_wq_state state) {
  wq.state = state;
  if (state == IBV_WQS_ERR) return device.port.Flush(*wq.queue);
  device.port.SetOpen(*wq.queue, state == IBV_WQS_RDY);
  if (state == IBV_WQS_RESET) wq.queue->Reset();
}

}  // namespace

ibv_wq* CreateWq(ibv_context* context, ibv_wq_init_attr* attr) {
  SoftDevice& device = DeviceOf(context);
  if (const int error = CheckInit(device.hardware(), *attr); error != 0) return Refuse(error);
  const std::lock_guard lock(device.gate);
  if (device.removed) return Refuse(EIO);
  if (!device.work_queues.Take()) return Refuse(ENOMEM);
  ++DomainOf(attr->pd).users;
  ++CqOf(attr->cq).users;
  device.live_work_queues.push_back(Make(device, context, *attr).release());
  return device.live_work_queues.back();
}

int ModifyWq(ibv_wq* wq, ibv_wq_attr* attr) {
  constexpr uint32_t kKnown = IBV_WQ_ATTR_STATE | IBV_WQ_ATTR_CURR_STATE | IBV_WQ_ATTR_FLAGS;
  if ((attr->attr_mask & ~kKnown) != 0) return EOPNOTSUPP;
  SoftDevice& device = DeviceOf(wq->context);
  const uint32_t flags = (attr->attr_mask & IBV_WQ_ATTR_FLAGS) != 0 ? attr->flags_mask : 0;
  if (flags != 0 && (flags != IBV_WQ_FLAGS_CVLAN_STRIPPING || !device.hardware().vlan_strip))
    return EOPNOTSUPP;
  const std::lock_guard lock(device.gate);
  if (device.removed) return EIO;
  if ((attr->attr_mask & IBV_WQ_ATTR_CURR_STATE) != 0 && attr->curr_wq_state != wq->state) return EINVAL;
  if (flags != 0) WqOf(wq).queue->set_strip_vlan((attr->flags & IBV_WQ_FLAGS_CVLAN_STRIPPING) != 0);
  if ((attr->attr_mask & IBV_WQ_ATTR_STATE) == 0) return 0;
  if (!MayStep(wq->state, attr->wq_state)) return EINVAL;
  SetState(device, WqOf(wq), attr->wq_state);
  return 0;
}

int DestroyWq(ibv_wq* wq) {
  SoftWq* const ours = &WqOf(wq);
  SoftDevice& device = DeviceOf(wq->context);
  {
    const std::lock_guard lock(device.gate);
    if (ours->users > 0) return EBUSY;
    device.port.SetOpen(*ours->queue, false);
    device.work_queues.Give();
    std::erase(device.live_work_queues, ours);
    --DomainOf(wq->pd).users;
    --CqOf(wq->cq).users;
    ours->queue.reset();
  }
  SettleEvents(*ours);
  delete ours;
  return 0;
}

ibv_rwq_ind_table* CreateTable(ibv_context* context, ibv_rwq_ind_table_init_attr* attr) {
  SoftDevice& device = DeviceOf(context);
  if (device.hardware().max_work_queues == 0) return Refuse(EOPNOTSUPP);
  const int log_most = std::bit_width(device.hardware().max_spread_table) - 1;
  if (attr->comp_mask != 0 || attr->log_ind_tbl_size > static_cast<uint32_t>(log_most)) return Refuse(EINVAL);
  const std::lock_guard lock(device.gate);
  if (device.removed) return Refuse(EIO);
  auto made = std::make_unique<SoftTable>();
  made->context = context;
  made->ind_tbl_num = made->ind_tbl_handle = static_cast<int>(++device.last_queue_pair);
  for (size_t i = 0; i < size_t{1} << attr->log_ind_tbl_size; ++i) {
    made->queues.push_back(&WqOf(attr->ind_tbl[i]));
    ++made->queues.back()->users;
  }
  return made.release();
}

int DestroyTable(ibv_rwq_ind_table* table) {
  auto* const ours = static_cast<SoftTable*>(table);
  const std::lock_guard lock(DeviceOf(table->context).gate);
  if (ours->users > 0) return EBUSY;
  for (SoftWq* queue : ours->queues) --queue->users;
  delete ours;
  return 0;
}

bool CanHash(const SoftDevice& device, const ibv_rx_hash_conf& hash) {
  return device.hardware().max_work_queues > 0 && hash.rx_hash_function == IBV_RX_HASH_FUNC_TOEPLITZ &&
         hash.rx_hash_key_len == kRssKeySize && (hash.rx_hash_fields_mask & ~kSoftHashFields) == 0;
}

std::unique_ptr<SoftSpread> MakeSpread(const SoftTable& table, const ibv_rx_hash_conf& hash) {
  const auto has = [&hash](uint64_t field) { return (hash.rx_hash_fields_mask & field) != 0; };
  const SoftHashFields fields{.source4 = has(IBV_RX_HASH_SRC_IPV4),
                              .destination4 = has(IBV_RX_HASH_DST_IPV4),
                              .source6 = has(IBV_RX_HASH_SRC_IPV6),
                              .destination6 = has(IBV_RX_HASH_DST_IPV6),
                              .tcp_source = has(IBV_RX_HASH_SRC_PORT_TCP),
                              .tcp_destination = has(IBV_RX_HASH_DST_PORT_TCP),
                              .udp_source = has(IBV_RX_HASH_SRC_PORT_UDP),
                              .udp_destination = has(IBV_RX_HASH_DST_PORT_UDP),
                              .inner = has(IBV_RX_HASH_INNER)};
  std::vector<SoftReceiveQueue*> queues;
  for (const SoftWq* queue : table.queues) queues.push_back(queue->queue.get());
  return std::make_unique<SoftSpread>(absl::MakeConstSpan(hash.rx_hash_key, hash.rx_hash_key_len), fields,
                                      std::move(queues));
}

}  // namespace sluice

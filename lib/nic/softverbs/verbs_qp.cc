// SPDX-License-Identifier: Apache-2.0
// Queue pairs: made, led through their states, and taken away.
#include <algorithm>

#include "nic/softverbs/verbs_objects_internal.h"

namespace sluice {
namespace {

using State = SoftQueuePair::State;

constexpr uint32_t kSpread = IBV_QP_INIT_ATTR_IND_TABLE | IBV_QP_INIT_ATTR_RX_HASH;
constexpr uint32_t kKnownInit = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_CREATE_FLAGS |
                                IBV_QP_INIT_ATTR_MAX_TSO_HEADER | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS | kSpread;
constexpr uint32_t kBlockOwn = IBV_QP_CREATE_BLOCK_SELF_MCAST_LB;
constexpr uint16_t kLongestHeaders = 512;  // before what is segmented

// What a program may ask of its queues, and is then granted as asked.
int CheckCapacity(const SoftwareVerbsHardware& hardware, const ibv_qp_cap& cap) {
  const bool fits = cap.max_send_wr <= hardware.max_work_requests &&
                    cap.max_recv_wr <= hardware.max_work_requests &&
                    cap.max_send_sge <= hardware.max_pieces && cap.max_recv_sge <= hardware.max_pieces &&
                    cap.max_inline_data <= hardware.max_inline;
  return fits ? 0 : EINVAL;
}

uint32_t FlagsOf(const ibv_qp_init_attr_ex& attr) {
  return (attr.comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS) != 0 ? attr.create_flags : 0;
}
uint16_t HeadersOf(const ibv_qp_init_attr_ex& attr) {
  return (attr.comp_mask & IBV_QP_INIT_ATTR_MAX_TSO_HEADER) != 0 ? attr.max_tso_header : uint16_t{0};
}

// Both or neither; and then there are no queues of its own.
int CheckSpread(const SoftDevice& device, const ibv_qp_init_attr_ex& attr) {
  if ((attr.comp_mask & kSpread) != kSpread || attr.rwq_ind_tbl == nullptr) return EINVAL;
  if ((FlagsOf(attr) & ~kBlockOwn) != 0 || HeadersOf(attr) > 0) return EOPNOTSUPP;
  if (attr.cap.max_send_wr > 0 || attr.cap.max_recv_wr > 0) return EINVAL;
  return CanHash(device, attr.rx_hash_conf) ? 0 : EINVAL;
}

uint64_t SendCallsOf(const ibv_qp_init_attr_ex& attr) {
  return (attr.comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0 ? attr.send_ops_flags : 0;
}

int CheckOffloads(const SoftwareVerbsHardware& hardware, const ibv_qp_init_attr_ex& attr) {
  uint32_t able = kBlockOwn;
  if (hardware.vlan_strip) able |= IBV_QP_CREATE_CVLAN_STRIPPING;
  if (hardware.scatter_fcs) able |= IBV_QP_CREATE_SCATTER_FCS;
  if ((FlagsOf(attr) & ~able) != 0) return EOPNOTSUPP;
  if (HeadersOf(attr) > 0 && hardware.max_segmented == 0) return EOPNOTSUPP;
  if ((SendCallsOf(attr) & ~uint64_t{IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_TSO}) != 0) return EOPNOTSUPP;
  if (SendCallsOf(attr) != 0 && !hardware.extended_send) return EOPNOTSUPP;
  return HeadersOf(attr) <= kLongestHeaders ? 0 : EINVAL;
}

int CheckInit(const SoftDevice& device, const ibv_qp_init_attr_ex& attr) {
  if (attr.qp_type != IBV_QPT_RAW_PACKET || attr.srq != nullptr) return EOPNOTSUPP;
  if ((attr.comp_mask & ~kKnownInit) != 0) return EOPNOTSUPP;
  if ((attr.comp_mask & IBV_QP_INIT_ATTR_PD) == 0 || attr.pd == nullptr) return EINVAL;
  if ((attr.comp_mask & kSpread) != 0) return CheckSpread(device, attr);
  if (attr.send_cq == nullptr || attr.recv_cq == nullptr) return EINVAL;
  if (const int error = CheckOffloads(device.hardware(), attr); error != 0) return error;
  return CheckCapacity(device.hardware(), attr.cap);
}

std::unique_ptr<SoftQueuePair> MakePair(SoftDevice& device, const ibv_qp_init_attr_ex& attr) {
  const uint32_t number = ++device.last_queue_pair;
  if ((attr.comp_mask & kSpread) != 0) {
    const auto& table = *static_cast<SoftTable*>(attr.rwq_ind_tbl);
    return std::make_unique<SoftQueuePair>(number, MakeSpread(table, attr.rx_hash_conf));
  }
  const uint32_t domain = DomainOf(attr.pd).number;
  auto send = std::make_unique<SoftSendQueue>(
      SoftSendOptions{.number = number,
                      .domain = domain,
                      .requests = attr.cap.max_send_wr,
                      .pieces = attr.cap.max_send_sge,
                      .bytes = std::max<uint32_t>(attr.cap.max_inline_data, HeadersOf(attr)),
                      .max_frame = device.port.max_frame(),
                      .max_segmented = device.hardware().max_segmented + kLongestHeaders},
      device.memory, CqOf(attr.send_cq).queue);
  auto receive = std::make_unique<SoftReceiveQueue>(
      SoftReceiveOptions{.number = number,
                         .domain = domain,
                         .requests = attr.cap.max_recv_wr,
                         .pieces = attr.cap.max_recv_sge,
                         .patience = device.port.patience(),
                         .strip_vlan = (FlagsOf(attr) & IBV_QP_CREATE_CVLAN_STRIPPING) != 0,
                         .scatter_fcs = (FlagsOf(attr) & IBV_QP_CREATE_SCATTER_FCS) != 0},
      device.memory, CqOf(attr.recv_cq).queue);
  return std::make_unique<SoftQueuePair>(number, std::move(send), std::move(receive));
}

// What libibverbs and the program read of a queue pair.
void FillIn(SoftQp& made, ibv_context* context, const ibv_qp_init_attr_ex& attr) {
  ibv_qp& qp = made.qp;
  qp.context = context;
  qp.qp_context = attr.qp_context;
  qp.pd = attr.pd;
  qp.send_cq = attr.send_cq;
  qp.recv_cq = attr.recv_cq;
  qp.handle = qp.qp_num = made.pair->number();
  if ((FlagsOf(attr) & kBlockOwn) != 0) made.pair->BlockOwnMulticast();
  if (made.pair->spreads()) made.table = static_cast<SoftTable*>(attr.rwq_ind_tbl);
  made.max_headers = HeadersOf(attr);
  if (!made.pair->spreads() && SendCallsOf(attr) != 0) FillInSendCalls(made);
  qp.state = IBV_QPS_RESET;
  qp.qp_type = attr.qp_type;
  pthread_mutex_init(&qp.mutex, nullptr);
  pthread_cond_init(&qp.cond, nullptr);
  made.init = {.qp_context = attr.qp_context,
               .send_cq = attr.send_cq,
               .recv_cq = attr.recv_cq,
               .srq = nullptr,
               .cap = attr.cap,
               .qp_type = attr.qp_type,
               .sq_sig_all = attr.sq_sig_all};
}

// By how much what it stands on is in use.
void CountUse(const SoftQp& ours, int by) {
  const auto change = static_cast<uint32_t>(by);
  DomainOf(ours.qp.pd).users += change;
  if (ours.table != nullptr) {
    ours.table->users += change;
    return;
  }
  CqOf(ours.qp.send_cq).users += change;
  CqOf(ours.qp.recv_cq).users += change;
}

std::optional<State> StateFrom(ibv_qp_state state) {
  switch (state) {
    case IBV_QPS_RESET:
      return State::kReset;
    case IBV_QPS_INIT:
      return State::kInit;
    case IBV_QPS_RTR:
      return State::kReceiving;
    case IBV_QPS_RTS:
      return State::kSending;
    case IBV_QPS_ERR:
      return State::kError;
    default:
      return std::nullopt;
  }
}

ibv_qp_state StateTo(State state) {
  constexpr ibv_qp_state kStates[] = {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QPS_ERR};
  return kStates[static_cast<size_t>(state)];
}

// Whether there is such a step, and what comes with it is what it needs (IBA, 10.3.1; of raw packet queue pairs the port
// is all).
bool MayStep(State from, State to, const ibv_qp_attr& attr, int mask) {
  if (to == State::kReset || to == State::kError) return true;
  if (to == State::kInit) {
    if (from != State::kReset && from != State::kInit) return false;
    const bool port = (mask & IBV_QP_PORT) != 0;
    return port ? attr.port_num == 1 : from == State::kInit;
  }
  if (to == State::kReceiving) return from == State::kInit;
  return from == State::kReceiving || from == State::kSending;
}

constexpr uint32_t kUsualBurst = 16 * 1024;  // bytes

int SetRate(const SoftDevice& device, SoftQp& qp, uint32_t rate, uint32_t burst) {
  if (rate > 0 && device.hardware().max_rate == 0) return EOPNOTSUPP;
  if (qp.pair->spreads() || rate > device.hardware().max_rate) return EINVAL;
  qp.pair->send().pacer().Set(rate, burst);
  return 0;
}

}  // namespace

ibv_qp* CreateQpEx(ibv_context* context, ibv_qp_init_attr_ex* attr) {
  SoftDevice& device = DeviceOf(context);
  if (const int error = CheckInit(device, *attr); error != 0) return Refuse(error);
  auto made = std::make_unique<SoftQp>();
  const std::lock_guard lock(device.gate);
  if (device.removed) return Refuse(EIO);
  if (!device.queue_pairs.Take()) return Refuse(ENOMEM);
  made->pair = MakePair(device, *attr);
  if (!device.port.Add(*made->pair).ok()) {
    device.queue_pairs.Give();
    return Refuse(ENETDOWN);
  }
  FillIn(*made, context, *attr);
  CountUse(*made, 1);
  device.live_pairs.push_back(made.get());
  return &made.release()->qp;
}

ibv_qp* CreateQp(ibv_pd* pd, ibv_qp_init_attr* attr) {
  ibv_qp_init_attr_ex extended{};
  extended.qp_context = attr->qp_context;
  extended.send_cq = attr->send_cq;
  extended.recv_cq = attr->recv_cq;
  extended.srq = attr->srq;
  extended.cap = attr->cap;
  extended.qp_type = attr->qp_type;
  extended.sq_sig_all = attr->sq_sig_all;
  extended.comp_mask = IBV_QP_INIT_ATTR_PD;
  extended.pd = pd;
  return CreateQpEx(pd->context, &extended);
}

int ModifyQp(ibv_qp* qp, ibv_qp_attr* attr, int mask) {
  constexpr int kKnown =
      IBV_QP_STATE | IBV_QP_CUR_STATE | IBV_QP_PORT | IBV_QP_PKEY_INDEX | IBV_QP_QKEY | IBV_QP_RATE_LIMIT;
  if ((mask & ~kKnown) != 0) return EINVAL;
  SoftQp& ours = QpOf(qp);
  SoftDevice& device = DeviceOf(qp->context);
  const std::lock_guard lock(device.gate);
  if (device.removed) return EIO;
  const State from = ours.pair->state();
  if ((mask & IBV_QP_CUR_STATE) != 0 && StateFrom(attr->cur_qp_state) != from) return EINVAL;
  if ((mask & IBV_QP_RATE_LIMIT) != 0) {
    if (const int error = SetRate(device, ours, attr->rate_limit, kUsualBurst); error != 0) return error;
  }
  if ((mask & IBV_QP_STATE) == 0) return 0;
  const std::optional<State> to = StateFrom(attr->qp_state);
  if (!to.has_value() || !MayStep(from, *to, *attr, mask)) return EINVAL;
  device.port.SetState(*ours.pair, *to);
  return 0;
}

// The size of a typical packet is for cards that cannot measure one.
int LimitRate(ibv_qp* qp, ibv_qp_rate_limit_attr* attr) {
  if (attr->comp_mask != 0) return EINVAL;
  SoftQp& ours = QpOf(qp);
  SoftDevice& device = DeviceOf(qp->context);
  const std::lock_guard lock(device.gate);
  if (!ours.pair->sends()) return EINVAL;
  return SetRate(device, ours, attr->rate_limit, attr->max_burst_sz > 0 ? attr->max_burst_sz : kUsualBurst);
}

int QueryQp(ibv_qp* qp, ibv_qp_attr* attr, int, ibv_qp_init_attr* init) {
  SoftQp& ours = QpOf(qp);
  const std::lock_guard lock(DeviceOf(qp->context).gate);
  *attr = {};
  attr->qp_state = attr->cur_qp_state = StateTo(ours.pair->state());
  attr->cap = ours.init.cap;
  if (!ours.pair->spreads()) attr->rate_limit = ours.pair->send().pacer().rate();
  attr->port_num = ours.pair->state() == State::kReset ? uint8_t{0} : uint8_t{1};
  *init = ours.init;
  return 0;
}

int DestroyQp(ibv_qp* qp) {
  SoftQp* const ours = &QpOf(qp);
  SoftDevice& device = DeviceOf(qp->context);
  {
    const std::lock_guard lock(device.gate);
    if (ours->rules > 0) return EBUSY;
    device.port.Remove(*ours->pair);
    device.queue_pairs.Give();
    std::erase(device.live_pairs, ours);
    CountUse(*ours, -1);
    ours->pair.reset();
  }
  SettleEvents(*ours);
  pthread_cond_destroy(&qp->cond);
  pthread_mutex_destroy(&qp->mutex);
  delete ours;
  return 0;
}

}  // namespace sluice

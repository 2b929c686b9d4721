// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/queue_pair_internal.h"

namespace sluice {

ibv_cq_ex* MakeExtendedQueue(ibv_context* context, uint32_t entries, ibv_comp_channel* channel,
                             uint64_t fields) {
  ibv_cq_init_attr_ex init{};
  init.cqe = entries;
  init.channel = channel;
  init.wc_flags = fields;
  return ibv_create_cq_ex(context, &init);
}

absl::StatusOr<VerbsCompletions> MakeCompletions(const VerbsPort& device, uint32_t entries,
                                                 ibv_comp_channel* channel, uint64_t fields) {
  VerbsCompletions made;
  if (fields != 0) {
    made.extended = MakeExtendedQueue(device.context(), entries, channel, fields);
    if (made.extended != nullptr) made.queue.reset(ibv_cq_ex_to_cq(made.extended));
  } else {
    made.queue.reset(ibv_create_cq(device.context(), static_cast<int>(entries), nullptr, channel, 0));
  }
  if (made.queue != nullptr) return made;
  return device.Failed(errno, "start", "", absl::StrCat("no completion queue of ", entries),
                       "use shorter rings, or fewer queues");
}

absl::StatusOr<VerbsSender> MakeSender(const VerbsPort& device, const VerbsSendOptions& options) {
  absl::StatusOr<VerbsCompletions> completions = MakeCompletions(device, options.ring, nullptr, 0);
  if (!completions.ok()) return completions.status();
  VerbsSender made;
  made.completions = std::move(completions->queue);
  ibv_qp_init_attr_ex init{};
  init.comp_mask = IBV_QP_INIT_ATTR_PD;
  init.pd = device.domain();
  init.send_cq = init.recv_cq = made.completions.get();
  init.qp_type = IBV_QPT_RAW_PACKET;
  init.cap.max_send_wr = options.ring;
  init.cap.max_send_sge = options.pieces;
  init.cap.max_inline_data = options.max_inline;
  if (options.max_headers > 0) {
    init.comp_mask |= IBV_QP_INIT_ATTR_MAX_TSO_HEADER;
    init.max_tso_header = options.max_headers;
  }
  if (options.extended) {
    init.comp_mask |= IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    init.send_ops_flags = IBV_QP_EX_WITH_SEND;
    if (options.max_headers > 0) init.send_ops_flags |= IBV_QP_EX_WITH_TSO;
  }
  made.pair.reset(ibv_create_qp_ex(device.context(), &init));
  if (made.pair != nullptr && options.extended) made.extended = ibv_qp_to_qp_ex(made.pair.get());
  if (made.pair != nullptr) return made;
  return device.Failed(errno, "start", "",
                       absl::StrCat("no queue pair of ", options.ring, " requests of ", options.pieces,
                                    " pieces, ", options.max_inline, " bytes inline"),
                       "use shorter rings, fewer queues, or a smaller max_inline");
}

VerbsPtr<ibv_qp> MakeReceivingPair(const VerbsPort& device, ibv_qp_init_attr_ex asked, bool in_tunnels) {
  asked.comp_mask |= IBV_QP_INIT_ATTR_PD;
  asked.qp_type = IBV_QPT_RAW_PACKET;
  asked.pd = device.domain();
  if (device.blocks_own_multicast()) asked.create_flags |= IBV_QP_CREATE_BLOCK_SELF_MCAST_LB;
  if (asked.create_flags != 0) asked.comp_mask |= IBV_QP_INIT_ATTR_CREATE_FLAGS;
  if (in_tunnels && device.mlx5().makes_tunnel_pairs()) {
    return VerbsPtr<ibv_qp>(device.mlx5().CreateTunnelPair(*device.context(), asked));
  }
  return VerbsPtr<ibv_qp>(ibv_create_qp_ex(device.context(), &asked));
}

int MakeReady(const VerbsPort& device, ibv_qp& pair, bool sends) {
  const auto to = [&pair](ibv_qp_state state, int mask, uint8_t port) {
    ibv_qp_attr attr{};
    attr.qp_state = state;
    attr.port_num = port;
    return ibv_modify_qp(&pair, &attr, mask);
  };
  int error = to(IBV_QPS_RESET, IBV_QP_STATE, 0);
  if (error == 0) error = to(IBV_QPS_INIT, IBV_QP_STATE | IBV_QP_PORT, device.port());
  if (error == 0) error = to(IBV_QPS_RTR, IBV_QP_STATE, 0);
  if (error == 0 && sends) error = to(IBV_QPS_RTS, IBV_QP_STATE, 0);
  return error;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/queue_pair_internal.h"

namespace sluice {

ibv_cq_ex* MakeExtendedQueue(ibv_context* context, uint32_t entries, ibv_comp_channel* channel) {
  ibv_cq_init_attr_ex init{};
  init.cqe = entries;
  init.channel = channel;
  init.wc_flags = IBV_WC_EX_WITH_BYTE_LEN | IBV_WC_EX_WITH_FLOW_TAG;
  return ibv_create_cq_ex(context, &init);
}

absl::StatusOr<VerbsQueuePair> MakeQueuePair(const VerbsDevice& device, const VerbsSide& side) {
  VerbsQueuePair made;
  const auto entries = static_cast<int>(side.ring);
  if (!side.sends && device.tells_marks()) {
    made.extended = MakeExtendedQueue(device.context(), side.ring, side.channel);
    if (made.extended != nullptr) made.completions.reset(ibv_cq_ex_to_cq(made.extended));
  } else {
    made.completions.reset(ibv_create_cq(device.context(), entries, nullptr, side.channel, 0));
  }
  if (made.completions == nullptr) {
    return device.Failed(errno, "start", "", absl::StrCat("no completion queue of ", side.ring),
                         "use shorter rings, or fewer queues");
  }
  ibv_qp_init_attr init{};
  init.send_cq = init.recv_cq = made.completions.get();
  init.qp_type = IBV_QPT_RAW_PACKET;
  if (side.sends) {
    init.cap.max_send_wr = side.ring;
    init.cap.max_send_sge = side.pieces;
    init.cap.max_inline_data = side.max_inline;
  } else {
    init.cap.max_recv_wr = side.ring;
    init.cap.max_recv_sge = side.pieces;
  }
  made.pair.reset(ibv_create_qp(device.domain(), &init));
  if (made.pair != nullptr) return made;
  return device.Failed(errno, "start", "",
                       absl::StrCat("no queue pair of ", side.ring, " requests of ", side.pieces, " pieces, ",
                                    side.max_inline, " bytes inline"),
                       "use shorter rings, fewer queues, or a smaller max_inline");
}

int MakeReady(const VerbsDevice& device, ibv_qp& pair, bool sends) {
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

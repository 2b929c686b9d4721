// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_BENCHMARKS_NIC_HOLLOW_DEVICE_H_
#define SLUICE_BENCHMARKS_NIC_HOLLOW_DEVICE_H_

// No device, under a verbs port: what the backend costs by itself.

#include <infiniband/verbs.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace sluice::bench {

// Answers the calls of one port with one queue each way, at once and with no device: each request that is posted is done
// when it is next asked for. What a loop over it costs is the backend's own, and the few instructions here. Queues are
// made by the device below, and their calls then put in place of its own.
class HollowDevice {
 public:
  static constexpr uint32_t kFrame = 64;
  static constexpr size_t kBurst = 32;

  // From here on, and until the context is closed.
  static void PutInto(ibv_context& context) {
    received_ = {};
    receives_ = nullptr;
    sent_through_ = kNone;
    silent_ = false;
    context.ops.post_recv = [](ibv_qp*, ibv_recv_wr* request, ibv_recv_wr**) {
      return received_.Push(request), 0;
    };
    context.ops.post_send = PostSend;
    context.ops.poll_cq = Poll;
    verbs_context& more = *verbs_get_ctx(&context);
    below_ = {more.create_wq, more.create_qp_ex};
    more.create_wq = CreateWorkQueue;
    more.create_qp_ex = CreatePair;
  }
  // Nothing comes any more: a port that stops waits for that.
  static void FallSilent() { silent_ = true; }

 private:
  static constexpr uint64_t kNone = ~uint64_t{0};

  // What a port posted to receive with, by number.
  struct Requests {
    std::array<uint64_t, 4096> numbers;
    uint32_t first, next;
    void Push(const ibv_recv_wr* request) {
      for (; request != nullptr; request = request->next) numbers[next++ % numbers.size()] = request->wr_id;
    }
    uint64_t Pop() { return numbers[first++ % numbers.size()]; }
  };

  struct Calls {
    decltype(verbs_context::create_wq) create_wq;
    decltype(verbs_context::create_qp_ex) create_qp_ex;
  };

  static ibv_wq* CreateWorkQueue(ibv_context* context, ibv_wq_init_attr* attr) {
    ibv_wq* const made = below_.create_wq(context, attr);
    if (made == nullptr) return nullptr;
    receives_ = attr->cq;
    made->post_recv = [](ibv_wq*, ibv_recv_wr* request, ibv_recv_wr**) { return received_.Push(request), 0; };
    return made;
  }
  static ibv_qp* CreatePair(ibv_context* context, ibv_qp_init_attr_ex* attr) {
    ibv_qp* const made = below_.create_qp_ex(context, attr);
    if (made == nullptr) return nullptr;
    if (attr->cap.max_recv_wr > 0) receives_ = attr->recv_cq;
    if ((attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) == 0) return made;
    ibv_qp_ex& more = *ibv_qp_to_qp_ex(made);
    more.wr_start = [](ibv_qp_ex*) {};
    more.wr_send = [](ibv_qp_ex* pair) { NoteSent(pair->wr_id, pair->wr_flags); };
    more.wr_set_sge = [](ibv_qp_ex*, uint32_t, uint64_t, uint32_t) {};
    more.wr_complete = [](ibv_qp_ex*) { return 0; };
    return made;
  }

  static void NoteSent(uint64_t number, unsigned flags) {
    if ((flags & IBV_SEND_SIGNALED) != 0) sent_through_ = number;
  }
  static int PostSend(ibv_qp*, ibv_send_wr* request, ibv_send_wr**) {
    for (; request != nullptr; request = request->next) NoteSent(request->wr_id, request->send_flags);
    return 0;
  }
  static int Poll(ibv_cq* queue, int most, ibv_wc* done) {
    if (queue != receives_) {
      if (sent_through_ == kNone) return 0;
      done->wr_id = std::exchange(sent_through_, kNone);
      done->status = IBV_WC_SUCCESS;
      return 1;
    }
    const int count = silent_ ? 0 : std::min<int>(most, kBurst);
    for (int i = 0; i < count; ++i) {
      done[i].wr_id = received_.Pop();
      done[i].status = IBV_WC_SUCCESS;
      done[i].byte_len = kFrame;
      done[i].wc_flags = 0;
    }
    return count;
  }
  static inline Calls below_{};
  static inline Requests received_;
  static inline ibv_cq* receives_ = nullptr;  // where receives complete
  static inline uint64_t sent_through_ = kNone;
  static inline bool silent_ = false;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCHMARKS_NIC_HOLLOW_DEVICE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_QUEUE_PAIR_INTERNAL_H_
#define SLUICE_NIC_VERBS_QUEUE_PAIR_INTERNAL_H_

// The objects of verbs that stand behind a queue.

#include "nic/verbs/device_internal.h"

namespace sluice {

// A completion queue.
struct VerbsCompletions {
  ibv_cq_ex* extended = nullptr;  // the same queue, where it tells more than a plain one
  VerbsPtr<ibv_cq> queue;
};

// What the extended kind is to tell: IBV_WC_EX_WITH_... in a set. Null where the device has no such queue, with an errno.
ibv_cq_ex* MakeExtendedQueue(ibv_context* context, uint32_t entries, ibv_comp_channel* channel,
                             uint64_t fields);

// Of the plain kind when there are no fields. kResourceExhausted and the like when the card has none to give.
absl::StatusOr<VerbsCompletions> MakeCompletions(const VerbsPort& device, uint32_t entries,
                                                 ibv_comp_channel* channel, uint64_t fields);

// A raw packet queue pair that sends.
struct VerbsSender {
  // The card lets go of all that was posted.
  void Destroy() {
    extended = nullptr;
    pair.reset();
    completions.reset();
  }

  VerbsPtr<ibv_cq> completions;  // after the queue pair, which holds it
  VerbsPtr<ibv_qp> pair;
  ibv_qp_ex* extended = nullptr;  // the same, with calls for sending
};

struct VerbsSendOptions {
  uint32_t ring = 0;    // work requests
  uint32_t pieces = 1;  // of each
  uint32_t max_inline = 0;
  uint16_t max_headers = 0;  // of what the card cuts; 0 = it cuts nothing
  bool extended = false;
};

// Made, and not yet ready.
absl::StatusOr<VerbsSender> MakeSender(const VerbsPort& device, const VerbsSendOptions& options);

// A raw packet queue pair that receives, as asked, but for its type, its domain and its flags: multicast that this port
// sends is kept from it, where the card can do that. A switch behind the port that heard what it floods would learn wrong.
// `in_tunnels`: it looks at headers in tunnels. Null where the card has none to give, with an errno.
VerbsPtr<ibv_qp> MakeReceivingPair(const VerbsPort& device, ibv_qp_init_attr_ex asked,
                                   bool in_tunnels = false);

// From any state to the one in which it receives, or sends (ibv_modify_qp(3)). On the way it forgets what was posted.
// Returns an errno.
int MakeReady(const VerbsPort& device, ibv_qp& pair, bool sends);

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_QUEUE_PAIR_INTERNAL_H_

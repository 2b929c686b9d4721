// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_QUEUE_PAIR_INTERNAL_H_
#define SLUICE_NIC_VERBS_QUEUE_PAIR_INTERNAL_H_

// A raw packet queue pair of which one side is used, and the completion queue of that side.

#include "nic/verbs/device_internal.h"

namespace sluice {

struct VerbsQueuePair {
  // The card lets go of all that was posted.
  void Destroy() {
    pair.reset();
    completions.reset();
    extended = nullptr;
  }

  // Of the same queue, where the device has it: tells marks.
  ibv_cq_ex* extended = nullptr;
  VerbsPtr<ibv_cq> completions;  // after the queue pair, which holds it
  VerbsPtr<ibv_qp> pair;
};

struct VerbsSide {
  bool sends = false;
  uint32_t ring = 0;    // work requests
  uint32_t pieces = 1;  // of each
  uint32_t max_inline = 0;
  ibv_comp_channel* channel = nullptr;
};

// A completion queue that tells lengths and marks; null where the device has none, with an errno.
ibv_cq_ex* MakeExtendedQueue(ibv_context* context, uint32_t entries, ibv_comp_channel* channel);

// Made, and not yet ready. kResourceExhausted when the card has not so much to give.
absl::StatusOr<VerbsQueuePair> MakeQueuePair(const VerbsDevice& device, const VerbsSide& side);

// From any state to the one in which it receives, or sends (ibv_modify_qp(3)). On the way it forgets what was posted.
// Returns an errno.
int MakeReady(const VerbsDevice& device, ibv_qp& pair, bool sends);

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_QUEUE_PAIR_INTERNAL_H_

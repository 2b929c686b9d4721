// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_OBJECTS_INTERNAL_H_
#define SLUICE_NIC_VERBS_OBJECTS_INTERNAL_H_

// What libibverbs hands out, each with its owner. Who holds several sees to it that flows go before queue pairs, those
// before indirection tables, then work queues and completion queues, and the context last: else libibverbs refuses (EBUSY), and the thing is leaked.

#include <infiniband/verbs.h>

#include <memory>

namespace sluice {

struct VerbsDestroy {
  void operator()(ibv_context* context) const { ibv_close_device(context); }
  void operator()(ibv_pd* domain) const { ibv_dealloc_pd(domain); }
  void operator()(ibv_mr* region) const { ibv_dereg_mr(region); }
  void operator()(ibv_comp_channel* channel) const { ibv_destroy_comp_channel(channel); }
  void operator()(ibv_cq* queue) const { ibv_destroy_cq(queue); }
  void operator()(ibv_qp* pair) const { ibv_destroy_qp(pair); }
  void operator()(ibv_wq* queue) const { ibv_destroy_wq(queue); }
  void operator()(ibv_rwq_ind_table* table) const { ibv_destroy_rwq_ind_table(table); }
  void operator()(ibv_flow* flow) const { ibv_destroy_flow(flow); }
  void operator()(ibv_counters* counters) const { ibv_destroy_counters(counters); }
};
template <typename T>
using VerbsPtr = std::unique_ptr<T, VerbsDestroy>;

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_OBJECTS_INTERNAL_H_

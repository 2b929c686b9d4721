// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_RECEIVER_INTERNAL_H_
#define SLUICE_NIC_VERBS_RECEIVER_INTERNAL_H_

// Where the card puts frames of one receive queue, in either of two shapes:
//
//   one of several that frames are spread over:  rule ──▶ pair (spreads over one) ──▶ work queue ──▶ completions
//                                                spread ───────────────────────────────▲
//   else:                                        rule ──▶ pair, with a receive queue of its own ──▶ completions
//
// The latter where it will do: libmlx5 (44 and 64 were looked at) tells of checksums only what a queue of a pair got.

#include "nic/verbs/queue_pair_internal.h"

namespace sluice {

struct VerbsReceiveOptions {
  uint32_t ring = 0;  // work requests
  ibv_comp_channel* channel = nullptr;
  uint64_t fields = 0;  // that completions tell: as of MakeCompletions
  bool spread = false;  // frames are to be spread over it, where the card can do that
  bool strip_vlan = false;
  bool keep_fcs = false;
};

class VerbsReceiver {
 public:
  // Made, and not yet ready. As MakeCompletions.
  static absl::StatusOr<VerbsReceiver> Make(const VerbsPort& device, const VerbsReceiveOptions& options);

  // The card lets go of all that was posted. No rule leads here, and nothing is spread to it.
  void Destroy();
  bool exists() const { return pair_ != nullptr; }

  ibv_qp& pair() const { return *pair_; }       // that rules lead to
  ibv_wq* work() const { return work_.get(); }  // null where nothing is spread
  ibv_cq* completions() const { return completions_.queue.get(); }
  ibv_cq_ex* extended() const { return completions_.extended; }

  // To the state in which it receives. On the way it forgets what was posted. Returns an errno.
  int MakeReady(const VerbsPort& device) const;

  // As ibv_post_recv(3).
  int Post(ibv_recv_wr* requests, ibv_recv_wr** bad) const {
    return work_ != nullptr ? ibv_post_wq_recv(work_.get(), requests, bad)
                            : ibv_post_recv(pair_.get(), requests, bad);
  }

 private:
  absl::Status MakeWork(const VerbsPort& device, const VerbsReceiveOptions& options);
  absl::Status MakePair(const VerbsPort& device, const VerbsReceiveOptions& options);

  VerbsCompletions completions_;
  VerbsPtr<ibv_wq> work_;
  VerbsPtr<ibv_rwq_ind_table> alone_;  // the table of that one queue
  VerbsPtr<ibv_qp> pair_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_RECEIVER_INTERNAL_H_

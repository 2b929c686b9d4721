// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_RECEIVER_INTERNAL_H_
#define SLUICE_NIC_VERBS_RECEIVER_INTERNAL_H_

// Where the card puts frames of one receive queue, in either of two shapes:
//
//   one of several that frames are spread over:  rule ──▶ pair (spreads over one) ──▶ work queue ──▶ completions
//                                                spread ───────────────────────────────▲
//   else:                                        rule ──▶ pair, with a receive queue of its own ──▶ completions
//
// The latter where it will do: libmlx5 (44 and 64 were looked at) tells of checksums only what a queue of a pair got. What is
// received directly is of the former, and its rings are read and written by Mlx5Receiver.

#include <optional>

#include "nic/verbs/mlx5_chunks_internal.h"
#include "nic/verbs/mlx5_receiver_internal.h"
#include "nic/verbs/queue_pair_internal.h"

namespace sluice {

struct VerbsReceiveOptions {
  uint32_t ring = 0;  // work requests
  ibv_comp_channel* channel = nullptr;
  uint64_t fields = 0;                   // that completions tell: as of MakeCompletions
  bool spread = false;                   // frames are to be spread over it, where the card can do that
  bool direct = false;                   // by Mlx5Receiver; the card has work queues
  bool compressed = false;               // and its completions in blocks
  std::optional<Mlx5Strides> strides{};  // and each request a chunk of those (Mlx5Chunks)
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

  // To the state in which it receives. On the way it forgets what was posted, and when it receives directly what had come,
  // which are `lost`. Returns an errno.
  int MakeReady(const VerbsPort& device, uint32_t& lost);

  // Whose rings to use in place of the calls of verbs; null: those are to be used.
  Mlx5Receiver* direct() { return direct_.has_value() ? &*direct_ : nullptr; }
  const Mlx5Receiver* direct() const { return direct_.has_value() ? &*direct_ : nullptr; }

  // As ibv_req_notify_cq(3) for any completion, and after as many events of it.
  int RequestEvent();
  void CountEvents(unsigned events);

  // As ibv_post_recv(3).
  int Post(ibv_recv_wr* requests, ibv_recv_wr** bad) const {
    return work_ != nullptr ? ibv_post_wq_recv(work_.get(), requests, bad)
                            : ibv_post_recv(pair_.get(), requests, bad);
  }

 private:
  absl::Status MakeWork(const VerbsPort& device, const VerbsReceiveOptions& options);
  absl::Status MakePair(const VerbsPort& device, const VerbsReceiveOptions& options);
  absl::Status FindRings(const VerbsPort& device, const VerbsReceiveOptions& options);

  VerbsCompletions completions_;
  VerbsPtr<ibv_wq> work_;
  VerbsPtr<ibv_rwq_ind_table> alone_;  // the table of that one queue
  VerbsPtr<ibv_qp> pair_;
  std::optional<Mlx5Receiver> direct_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_RECEIVER_INTERNAL_H_

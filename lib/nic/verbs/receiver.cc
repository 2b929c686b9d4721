// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/receiver_internal.h"
#include "nic/verbs/spread_internal.h"

namespace sluice {
namespace {

constexpr char kLess[] = "use shorter rings, or fewer queues";

}  // namespace

absl::StatusOr<VerbsReceiver> VerbsReceiver::Make(const VerbsPort& device,
                                                  const VerbsReceiveOptions& options) {
  absl::StatusOr<VerbsCompletions> completions =
      MakeCompletions(device, options.ring, options.channel, options.fields);
  if (!completions.ok()) return completions.status();
  VerbsReceiver made;
  made.completions_ = *std::move(completions);
  const bool spread = options.spread && device.spreads();
  absl::Status done = spread ? made.MakeWork(device, options) : made.MakePair(device, options);
  if (!done.ok()) return done;
  return made;
}

absl::Status VerbsReceiver::MakeWork(const VerbsPort& device, const VerbsReceiveOptions& options) {
  ibv_wq_init_attr init{};
  init.wq_type = IBV_WQT_RQ;
  init.max_wr = options.ring;
  init.max_sge = 1;
  init.pd = device.domain();
  init.cq = completions();
  init.comp_mask = IBV_WQ_INIT_ATTR_FLAGS;
  if (options.strip_vlan) init.create_flags |= IBV_WQ_FLAGS_CVLAN_STRIPPING;
  if (options.keep_fcs) init.create_flags |= IBV_WQ_FLAGS_SCATTER_FCS;
  work_.reset(ibv_create_wq(device.context(), &init));
  if (work_ == nullptr) {
    return device.Failed(errno, "start", "", absl::StrCat("no work queue of ", options.ring, " requests"),
                         kLess);
  }
  alone_ = MakeSpreadTable(device, {work_.get()});
  if (alone_ != nullptr) pair_ = MakeSpreadingPair(device, *alone_, {});
  if (pair_ != nullptr) return absl::OkStatus();
  return device.Failed(errno, "start", "", "no queue pair in front of a work queue", kLess);
}

absl::Status VerbsReceiver::MakePair(const VerbsPort& device, const VerbsReceiveOptions& options) {
  ibv_qp_init_attr_ex init{};
  if (options.strip_vlan) init.create_flags |= IBV_QP_CREATE_CVLAN_STRIPPING;
  if (options.keep_fcs) init.create_flags |= IBV_QP_CREATE_SCATTER_FCS;
  init.send_cq = init.recv_cq = completions();
  init.cap.max_recv_wr = options.ring;
  init.cap.max_recv_sge = 1;
  pair_ = MakeReceivingPair(device, init);
  if (pair_ != nullptr) return absl::OkStatus();
  return device.Failed(errno, "start", "", absl::StrCat("no queue pair that receives ", options.ring), kLess);
}

void VerbsReceiver::Destroy() {
  pair_.reset();
  alone_.reset();
  work_.reset();
  completions_ = {};
}

// What spreads has no states of its own.
int VerbsReceiver::MakeReady(const VerbsPort& device) const {
  if (work_ == nullptr) return sluice::MakeReady(device, *pair_, false);
  const auto to = [this](ibv_wq_state state) {
    ibv_wq_attr attr{};
    attr.attr_mask = IBV_WQ_ATTR_STATE;
    attr.wq_state = state;
    return ibv_modify_wq(work_.get(), &attr);
  };
  const int error = to(IBV_WQS_RESET);
  return error != 0 ? error : to(IBV_WQS_RDY);
}

}  // namespace sluice

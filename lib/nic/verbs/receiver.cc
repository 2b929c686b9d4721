// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/receiver_internal.h"
#include "nic/verbs/spread_internal.h"

namespace sluice {
namespace {

constexpr char kLess[] = "use shorter rings, or fewer queues";

// Each stride may be a frame. Of a block that is being read the places are all taken, while as many frames as were read of
// it may come where requests are posted anew meanwhile, which chunks are not: there is room for both.
uint32_t CompletionsOf(const VerbsReceiveOptions& options) {
  if (options.strides) return options.ring * options.strides->count() - 1;
  return options.compressed ? 2 * options.ring - 1 : options.ring;
}

absl::StatusOr<VerbsCompletions> MakeDirectCompletions(const VerbsPort& device,
                                                       const VerbsReceiveOptions& options) {
  ibv_cq_init_attr_ex init{};
  init.cqe = CompletionsOf(options);
  init.channel = options.channel;
  init.wc_flags = options.fields;
  VerbsCompletions made;
  made.extended = device.mlx5().CreateCompletions(*device.context(), init, options.compressed);
  if (made.extended != nullptr) {
    made.queue.reset(ibv_cq_ex_to_cq(made.extended));
    return made;
  }
  return device.Failed(errno, "start", "direct receive", absl::StrCat("no completion queue of ", init.cqe),
                       kLess);
}

}  // namespace

absl::StatusOr<VerbsReceiver> VerbsReceiver::Make(const VerbsPort& device,
                                                  const VerbsReceiveOptions& options) {
  absl::StatusOr<VerbsCompletions> completions =
      options.direct ? MakeDirectCompletions(device, options)
                     : MakeCompletions(device, options.ring, options.channel, options.fields);
  if (!completions.ok()) return completions.status();
  VerbsReceiver made;
  made.completions_ = *std::move(completions);
  const bool work = options.direct || (options.spread && device.spreads());
  absl::Status done = work ? made.MakeWork(device, options) : made.MakePair(device, options);
  if (done.ok() && options.direct) done = made.FindRings(device, options);
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
  work_.reset(options.strides ? device.mlx5().CreateStridingWork(*device.context(), init, *options.strides)
                              : ibv_create_wq(device.context(), &init));
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

absl::Status VerbsReceiver::FindRings(const VerbsPort& device, const VerbsReceiveOptions& options) {
  Mlx5Rings rings;
  const int error = device.mlx5().FindRings(*completions(), *work_,
                                            {.requests = options.ring,
                                             .completions = CompletionsOf(options),
                                             .striding = options.strides.has_value()},
                                            rings);
  if (error == 0) {
    direct_.emplace(rings);
    return absl::OkStatus();
  }
  return device.Failed(error, "start", "direct receive",
                       error == EPROTO ? "the card's rings look like none that are known here"
                                       : "libmlx5 does not tell where the rings are",
                       "set direct_receive=kOff");
}

void VerbsReceiver::Destroy() {
  direct_.reset();
  pair_.reset();
  alone_.reset();
  work_.reset();
  completions_ = {};
}

// What spreads has no states of its own.
int VerbsReceiver::MakeReady(const VerbsPort& device, uint32_t& lost) {
  if (work_ == nullptr) return sluice::MakeReady(device, *pair_, false);
  const auto to = [this](ibv_wq_state state) {
    ibv_wq_attr attr{};
    attr.attr_mask = IBV_WQ_ATTR_STATE;
    attr.wq_state = state;
    return ibv_modify_wq(work_.get(), &attr);
  };
  if (const int error = to(IBV_WQS_RESET); error != 0) return error;
  if (direct_) lost = direct_->Restart();
  return to(IBV_WQS_RDY);
}

int VerbsReceiver::RequestEvent() {
  if (!direct_) return ibv_req_notify_cq(completions(), 0);
  direct_->Arm();
  return 0;
}

void VerbsReceiver::CountEvents(unsigned events) {
  ibv_ack_cq_events(completions(), events);
  if (direct_) direct_->CountEvents(events);
}

}  // namespace sluice

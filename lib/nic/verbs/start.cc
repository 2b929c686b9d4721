// SPDX-License-Identifier: Apache-2.0
// Open, Start and Stop. Frames are let in by the last step of Start, and kept out by the first of Stop.
#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/verbs/verbs_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

std::string LockedMemoryLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "unlimited";
  return absl::StrCat(limit.rlim_cur, " bytes");
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerbsNic>> OpenVerbsNic(const VerbsNicOptions& options) {
  absl::StatusOr<std::unique_ptr<VerbsPort>> device = VerbsPort::Open(options);
  if (!device.ok()) return device.status();
  return std::make_unique<VerbsNicImpl>(options, *std::move(device));
}

VerbsNicImpl::VerbsNicImpl(const VerbsNicOptions& options, std::unique_ptr<VerbsPort> device)
    : options_(device->With(options)),
      device_(std::move(device)),
      places_(device_->priorities()),
      arrivals_(*device_, options_),
      sending_{.max_inline = options.max_inline,
               .segments = options.segmentation != Want::kOff && device_->max_segmented() > 0,
               .extended = options.extended_send != Want::kOff && device_->extended_send(),
               .lag_port = options.lag_port},
      alarm_(device_->context()->async_fd),
      link_(*device_),
      out_of_buffer_(*device_->context(), device_->port(), "out_of_buffer") {}

absl::Status VerbsNicImpl::Refuse(absl::StatusCode code, const char* stage, std::string what,
                                  std::string remedy) const {
  return ErrorStatus(
      code, {.device = name(), .stage = stage, .what = std::move(what), .remedy = std::move(remedy)});
}

absl::Status VerbsNicImpl::CheckStart(const QueueOptions& queues) const {
  const Capabilities& able = capabilities();
  const auto refuse = [this](std::string what, std::string remedy) {
    return Refuse(absl::StatusCode::kInvalidArgument, "start", std::move(what), std::move(remedy));
  };
  if (running()) return Refuse(absl::StatusCode::kFailedPrecondition, "start", "is running", "stop it first");
  if (queues.pool == nullptr) return refuse("no pool", "set QueueOptions::pool");
  for (const auto& [count, most] :
       {std::pair(queues.rx_queues, able.max_rx_queues), std::pair(queues.tx_queues, able.max_tx_queues)}) {
    if (count < 1 || count > most)
      return refuse(absl::StrCat(count, " queues"), absl::StrCat("use 1 to ", most));
  }
  for (const uint32_t ring : {queues.rx_ring, queues.tx_ring}) {
    if (std::has_single_bit(ring) && ring <= able.max_ring_size) continue;
    return refuse(absl::StrCat("a ring of ", ring),
                  absl::StrCat("use powers of two up to ", able.max_ring_size));
  }
  const PacketPoolOptions& pool = queues.pool->options();
  const uint32_t holds = pool.buffer_size - std::min(pool.headroom, pool.buffer_size);
  const uint32_t longest = able.max_frame + (options_.keep_fcs ? 4 : 0);
  if (holds >= longest) return absl::OkStatus();
  return refuse(absl::StrCat("frames of up to ", longest, " bytes, and buffers that hold ", holds),
                "use a pool with larger buffers, or set VerbsNicOptions::mtu");
}

absl::StatusOr<VerbsPtr<ibv_mr>> VerbsNicImpl::Register(const Region& region) const {
  VerbsPtr<ibv_mr> registered(
      ibv_reg_mr(device_->domain(), region.data(), region.size(), IBV_ACCESS_LOCAL_WRITE));
  if (registered != nullptr) return registered;
  return device_->Failed(
      errno, "register memory", "",
      absl::StrCat("the pool's ", region.size(), " bytes, with RLIMIT_MEMLOCK at ", LockedMemoryLimit()),
      "raise the limit (ulimit -l, LimitMEMLOCK= in a systemd unit), use a smaller pool, or run with "
      "CAP_IPC_LOCK");
}

absl::Status VerbsNicImpl::Start(const QueueOptions& queues) {
  if (absl::Status checked = CheckStart(queues); !checked.ok()) return checked;
  absl::StatusOr<VerbsPtr<ibv_mr>> region = Register(queues.pool->region());
  if (!region.ok()) return region.status();
  queues_ = queues;
  absl::Status done = OpenQueues(queues, **region);
  if (done.ok()) done = OpenSpread();
  if (done.ok()) done = LetIn();
  if (!done.ok()) {
    takes_.clear();
    spread_.reset();
    CloseQueues();
    return done;
  }
  region_ = *std::move(region);
  link_.Refresh();
  told_ = LinkState::kDown;
  return absl::OkStatus();
}

absl::Status VerbsNicImpl::OpenQueues(const QueueOptions& queues, const ibv_mr& region) {
  {
    const std::lock_guard lock(mutex_);
    while (rx_.size() < queues.rx_queues)
      rx_.emplace_back(QueueId(static_cast<uint16_t>(rx_.size())), *device_, arrivals_, alarm_);
    while (tx_.size() < queues.tx_queues) {
      tx_.emplace_back(QueueId(static_cast<uint16_t>(tx_.size())), *device_, link_, sending_, alarm_);
    }
  }
  for (uint16_t i = 0; i < queues.tx_queues; ++i) {
    if (absl::Status opened = tx_[i].Open(queues, region); !opened.ok()) return opened;
  }
  for (uint16_t i = 0; i < queues.rx_queues; ++i) {
    if (absl::Status opened = rx_[i].Open(queues, region); !opened.ok()) return opened;
  }
  return absl::OkStatus();
}

void VerbsNicImpl::CloseQueues() {
  for (VerbsRxQueue& queue : rx_) queue.Close();
  for (VerbsTxQueue& queue : tx_) queue.Close();
}

absl::Status VerbsNicImpl::Stop() {
  if (!running()) return absl::OkStatus();
  rules_.clear();
  takes_.clear();
  spread_.reset();
  CloseQueues();
  region_.reset();
  return absl::OkStatus();
}

}  // namespace sluice

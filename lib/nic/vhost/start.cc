// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>

#include <bit>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "nic/vhost/vhost_nic_internal.h"
#include "sluice/base/status.h"

namespace sluice {

absl::Status VhostNicImpl::CheckQueues(const QueueOptions& queues) const {
  const auto refuse = [this](absl::StatusCode code, const char* option, const std::string& what,
                             const char* remedy) {
    return ErrorStatus(
        code, {.device = name_, .stage = "start", .capability = option, .what = what, .remedy = remedy});
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  if (running())
    return refuse(absl::StatusCode::kFailedPrecondition, "", "already running", "call Stop first");
  if (queues.pool == nullptr)
    return refuse(kInvalid, "pool", "none given", "name the pool of received packets");
  for (const uint16_t count : {queues.rx_queues, queues.tx_queues}) {
    if (count == 0 || count > capabilities_.max_rx_queues)
      return refuse(kInvalid, "queues", absl::StrCat(count),
                    "give at least 1, and no more than VhostNicOptions::pairs");
  }
  for (const uint32_t ring : {queues.rx_ring, queues.tx_ring}) {
    if (!std::has_single_bit(ring) || ring > capabilities_.max_ring_size)
      return refuse(kInvalid, "ring", absl::StrCat(ring, " entries"), "use a power of two up to 32768");
  }
  return absl::OkStatus();
}

absl::Status VhostNicImpl::Start(const QueueOptions& queues) {
  if (absl::Status checked = CheckQueues(queues); !checked.ok()) return checked;
  queues_ = queues;
  absl::Status opened = OpenQueues(queues);
  if (opened.ok()) opened = WatchEvents();
  if (!opened.ok()) CloseAll();
  return opened;
}

absl::Status VhostNicImpl::OpenQueues(const QueueOptions& queues) {
  while (rx_.size() < queues.rx_queues)
    rx_.emplace_back(QueueId{static_cast<uint16_t>(rx_.size())}, rings_, faults_);
  while (tx_.size() < queues.tx_queues)
    tx_.emplace_back(QueueId{static_cast<uint16_t>(tx_.size())}, rings_, faults_);
  for (uint16_t i = 0; i < queues.rx_queues; ++i) {
    if (absl::Status opened = rx_[i].Open(name_.c_str(), queues); !opened.ok()) return opened;
  }
  for (uint16_t i = 0; i < queues.tx_queues; ++i)
    tx_[i].Open(queues, capabilities_.max_frame, options_.copies.engine != nullptr,
                options_.clock != nullptr ? *options_.clock : Clock::Monotonic());
  return absl::OkStatus();
}

absl::Status VhostNicImpl::WatchEvents() {
  absl::StatusOr<std::unique_ptr<VhostSession>> session =
      VhostSession::Open({.path = options_.path,
                          .role = options_.role,
                          .mode = options_.mode,
                          .owner = options_.owner.value_or(static_cast<uid_t>(-1)),
                          .group = options_.group.value_or(static_cast<gid_t>(-1)),
                          .features = OfferedFeatures(options_),
                          .required_features = RequiredFeatures(options_),
                          .queue_pairs = options_.pairs},
                         *this);
  if (!session.ok()) return session.status();
  events_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  epoll_event readable{.events = EPOLLIN, .data = {}};
  const bool watched = faults_.Open() && events_.valid() &&
                       epoll_ctl(events_.get(), EPOLL_CTL_ADD, (*session)->service_fd(), &readable) == 0 &&
                       epoll_ctl(events_.get(), EPOLL_CTL_ADD, faults_.fd(), &readable) == 0;
  if (!watched) {
    return ErrorStatus(absl::StatusCode::kResourceExhausted, {.device = name_,
                                                              .stage = "start",
                                                              .error_number = errno,
                                                              .what = "no descriptors for events",
                                                              .remedy = "raise the limit on open files"});
  }
  told_ = LinkState::kDown;
  parting_.clear();
  const std::lock_guard lock(mutex_);
  session_ = *std::move(session);
  return absl::OkStatus();
}

absl::Status VhostNicImpl::Stop() {
  if (!running()) return absl::OkStatus();
  std::unique_ptr<VhostSession> session;
  {
    const std::lock_guard lock(mutex_);
    session = std::move(session_);
  }
  session.reset();  // which stops the rings; report() and others go on meanwhile
  CloseAll();
  return absl::OkStatus();
}

// The pool may be another at the next Start: what draws from it goes with the queues.
void VhostNicImpl::CloseAll() {
  ended_copies_ = CopiesNow();
  for (uint16_t i = 0; i < queues_.rx_queues; ++i) rx_[i].Close();
  for (uint16_t i = 0; i < queues_.tx_queues; ++i) tx_[i].Close();
  faults_.Close();
  events_ = UniqueFd();
}

}  // namespace sluice

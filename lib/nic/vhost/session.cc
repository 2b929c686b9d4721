// SPDX-License-Identifier: Apache-2.0
// Who comes and goes. What is said meanwhile is in dialogue.cc.
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/unix_address_internal.h"
#include "nic/vhost/dialogue_internal.h"
#include "nic/vhost/session_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(10);
constexpr absl::Duration kLastRetry = absl::Seconds(1);
// Turned away in one Service at most: who floods us with connections gets no more of the host's time.
constexpr int kMostCallers = 8;

absl::Status Refuse(const VhostSessionOptions& options, std::string stage, int error, std::string what,
                    std::string remedy) {
  return ErrorStatus({.device = absl::StrCat("vhost ", options.path),
                      .stage = std::move(stage),
                      .error_number = error,
                      .what = std::move(what),
                      .remedy = std::move(remedy)});
}

// True when the timer had run out.
bool TakeExpiry(int timer) {
  uint64_t times = 0;
  return read(timer, &times, sizeof(times)) == static_cast<ssize_t>(sizeof(times));
}

}  // namespace

absl::StatusOr<std::unique_ptr<VhostSession>> VhostSession::Open(const VhostSessionOptions& options,
                                                                 VhostBackend& backend) {
  if (options.queue_pairs == 0 || options.queue_pairs > kVhostMostQueuePairs)
    return Refuse(options, "open", EINVAL, absl::StrCat(options.queue_pairs, " queue pairs"),
                  absl::StrCat("ask for 1 to ", kVhostMostQueuePairs));
  if (!UnixAddress::Of(options.path))
    return Refuse(options, "open", EINVAL, "", "give a path of 1 to 107 bytes");
  std::unique_ptr<VhostSession> session(new VhostSession(options, backend));
  if (absl::Status opened = session->OpenDescriptors(); !opened.ok()) return opened;
  if (!session->listener_) session->Connect();
  session->Publish();
  return session;
}

VhostSession::VhostSession(const VhostSessionOptions& options, VhostBackend& backend)
    : options_(options), backend_(backend), retry_(kFirstRetry) {}

VhostSession::~VhostSession() = default;

absl::Status VhostSession::OpenDescriptors() {
  if (options_.role == VhostRole::kServer) {
    absl::StatusOr<UnixListener> listener =
        UnixListener::Listen({.device = absl::StrCat("vhost ", options_.path),
                              .path = options_.path,
                              .type = SOCK_STREAM,
                              .mode = options_.mode,
                              .owner = options_.owner,
                              .group = options_.group,
                              .if_taken = "stop it, or give each guest a socket of its own"});
    if (!listener.ok()) return listener.status();
    listener_.emplace(*std::move(listener));
  }
  service_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  timer_ = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (Watch(timer_.get()) && (!listener_ || Watch(listener_->fd()))) return absl::OkStatus();
  return Refuse(options_, "open descriptors", errno, "", "raise the limit of open files");
}

// Level-triggered, and gone from the set when it is closed.
bool VhostSession::Watch(int fd) const {
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  return epoll_ctl(service_.get(), EPOLL_CTL_ADD, fd, &wanted) == 0;
}

int VhostSession::service_fd() const { return service_.get(); }

// Looks at everything: it is cheaper to ask each than to tell which of them it was. The front-end that is there comes first, lest
// the next one is turned away on behalf of one that is gone.
void VhostSession::Service() {
  const bool due = TakeExpiry(timer_.get());
  if (dialogue_ != nullptr && !dialogue_->Serve()) HangUp();
  if (listener_) {
    AcceptCallers();
  } else if (dialogue_ == nullptr && due) {
    Connect();
  }
  Publish();
}

// A socket has one front-end: further callers are turned away. One that has said nothing yet makes way for the next, lest a silent
// caller keeps the place.
void VhostSession::AcceptCallers() {
  for (int i = 0; i < kMostCallers; ++i) {
    UniqueFd caller = listener_->Accept();
    if (!caller.valid()) return;
    const bool taken = dialogue_ != nullptr;
    counts_.refused += taken ? 1 : 0;
    changed_ = true;
    if (taken && dialogue_->messages() > 0) continue;
    if (taken) {
      dialogue_->End(
          Refuse(options_, "receive", 0, "it said nothing, and another came", "see what it waits for"));
      HangUp();
    }
    Adopt(std::move(caller));
  }
}

void VhostSession::Connect() {
  UniqueFd connection = ConnectUnix(options_.path, SOCK_STREAM);
  if (connection.valid()) return Adopt(std::move(connection));
  if (errno != ENOENT && errno != ECONNREFUSED) {
    counts_.last_error =
        Refuse(options_, "connect", errno, "", "let this user write to the front-end's socket");
    changed_ = true;
  }
  RetryLater();
}

void VhostSession::Adopt(UniqueFd connection) {
  ++counts_.connections;
  changed_ = true;
  if (!Watch(connection.get())) {
    counts_.last_error = Refuse(options_, "watch", errno, "", "raise the limit of open files");
    if (!listener_) RetryLater();
    return;
  }
  published_ = 0;
  dialogue_ = std::make_unique<VhostDialogue>(std::move(connection), options_, backend_);
}

void VhostSession::HangUp() {
  if (!dialogue_->why().ok()) {
    ++counts_.bad_messages;
    counts_.last_error = dialogue_->why();
  }
  counts_.messages += dialogue_->messages();
  if (dialogue_->messages() > 0) retry_ = kFirstRetry;
  dialogue_.reset();
  changed_ = true;
  if (!listener_) RetryLater();
}

// Twice as late each time, until a front-end was there that spoke.
void VhostSession::RetryLater() {
  itimerspec when{};
  when.it_value = absl::ToTimespec(retry_);
  timerfd_settime(timer_.get(), 0, &when, nullptr);
  retry_ = std::min(2 * retry_, kLastRetry);
}

void VhostSession::Publish() {
  const uint64_t said = dialogue_ != nullptr ? dialogue_->messages() : 0;
  if (!changed_ && said == published_) return;
  published_ = said;
  changed_ = false;
  VhostSnapshot made = counts_;
  made.messages += said;
  made.rings.reserve(size_t{2} * options_.queue_pairs);
  if (dialogue_ != nullptr) dialogue_->Tell(made);
  const std::lock_guard<std::mutex> lock(mutex_);
  snapshot_ = std::move(made);
}

VhostSnapshot VhostSession::Snapshot() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return snapshot_;
}

}  // namespace sluice

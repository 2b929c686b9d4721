// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "nic/wire/shm_meeting_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

// Callers turned away in one Service at most: who floods us with connections gets no more of our time.
constexpr int kMostCallers = 8;

ShmHello HelloFor(const WireOptions& wire) {
  ShmHello hello;
  hello.lanes = wire.lanes;
  hello.ring = wire.ring;
  hello.board_bytes = ShmBoard::BytesFor(wire.lanes, wire.ring);
  hello.packet_bytes = wire.pool->region().size();
  return hello;
}

// Of an eventfd or timerfd: no longer readable.
void Clear(int fd) {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t ignored = read(fd, &count, sizeof(count));  // nothing there is as good
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShmMeeting>> ShmMeeting::Open(const ShmWireOptions& options,
                                                             const WireOptions& wire, ShmLinkSlot& slot) {
  const Region& packets = wire.pool->region();
  if (absl::Status sealed = SealForPeers(packets); !sealed.ok()) return sealed;
  std::unique_ptr<ShmMeeting> meeting(new ShmMeeting(options, HelloFor(wire), slot));
  if (absl::Status opened = meeting->OpenDescriptors(packets); !opened.ok()) return opened;
  meeting->Service();
  return meeting;
}

absl::Status ShmMeeting::OpenDescriptors(const Region& packets) {
  const absl::StatusOr<int> read_only = packets.OpenReadOnly();
  if (!read_only.ok()) return read_only.status();
  packets_ = UniqueFd(*read_only);
  if (options_.role == ShmRole::kServer) {
    absl::StatusOr<UnixListener> listener = ListenForShm(options_.path, options_.mode);
    if (!listener.ok()) return listener.status();
    listener_.emplace(*std::move(listener));
  }

  int bell[2] = {-1, -1};
  const int paired = socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, bell);
  doorbell_ = UniqueFd(bell[0]);
  bell_ = UniqueFd(bell[1]);
  service_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  wake_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  timer_ = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  const bool watched = Watch(wake_.get()) && Watch(timer_.get()) && (!listener_ || Watch(listener_->fd()));
  if (paired == 0 && watched) return absl::OkStatus();
  return ErrorStatus({.device = absl::StrCat("shm ", options_.path),
                      .stage = "open descriptors",
                      .error_number = errno,
                      .remedy = "raise the limit of open files"});
}

// Level-triggered, and gone from the set when it is closed.
bool ShmMeeting::Watch(int fd) const {
  epoll_event event{};
  event.events = EPOLLIN;
  return epoll_ctl(service_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void ShmMeeting::RetryEvery(absl::Duration interval) const {
  itimerspec when{};
  when.it_value = when.it_interval = absl::ToTimespec(interval);
  timerfd_settime(timer_.get(), 0, &when, nullptr);
}

std::string ShmMeeting::detail() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return detail_;
}

void ShmMeeting::SetDetail(const std::string& detail) {
  const std::lock_guard<std::mutex> lock(mutex_);
  detail_ = detail;
}

// Looks at everything: it is cheaper to ask each than to tell which of them it was. Ends after a link is lost, so that
// it shows before the next one comes; whoever waits keeps service_fd readable.
void ShmMeeting::Service() {
  Clear(wake_.get());
  Clear(timer_.get());
  if (link_ != nullptr && !PeerIsWell()) return;
  if (greeting_ != nullptr) Greet();
  if (listener_) {
    AcceptPeers();
  } else if (!connection_.valid()) {
    Connect();
  }
}

// Of a linked peer nothing is expected any more but its end.
bool ShmMeeting::PeerIsWell() {
  if (link_->violation() != ShmViolation::kNone)
    return HangUp(std::string(Meaning(link_->violation()))), false;
  ShmHello hello;
  ShmFds fds;
  const ShmMessage message = ReceiveHello(connection_.get(), hello, fds);
  if (message == ShmMessage::kNothingYet) return true;
  HangUp(message == ShmMessage::kGone ? "the peer is gone" : "the peer talks out of turn");
  return false;
}

// A link has one peer: further callers are turned away. One that has not greeted yet makes way for the next, lest a
// silent caller keeps the place.
void ShmMeeting::AcceptPeers() {
  for (int i = 0; i < kMostCallers; ++i) {
    UniqueFd caller = listener_->Accept();
    if (!caller.valid()) return;
    if (link_ == nullptr) Adopt(std::move(caller));
  }
}

void ShmMeeting::Connect() {
  UniqueFd connection = ConnectShm(options_.path);
  RetryEvery(connection.valid() ? absl::ZeroDuration() : options_.retry);
  if (connection.valid()) Adopt(std::move(connection));
}

void ShmMeeting::Adopt(UniqueFd connection) {
  connection_ = std::move(connection);
  absl::StatusOr<std::shared_ptr<ShmLink>> link = ShmLink::Create(hello_, wake_.get());
  if (!link.ok()) return HangUp(link.status().ToString());
  greeting_ = *std::move(link);
  if (!Watch(connection_.get()) || !SendOurHello(*greeting_))
    return HangUp("the peer went before it was greeted");
  Greet();
}

bool ShmMeeting::SendOurHello(const ShmLink& link) const {
  const absl::StatusOr<int> board = link.own_region().OpenReadOnly();
  const UniqueFd closes(board.ok() ? *board : -1);
  return board.ok() && SendHello(connection_.get(), hello_, {*board, packets_.get(), bell_.get()});
}

void ShmMeeting::Greet() {
  ShmHello hello;
  ShmFds fds;
  switch (ReceiveHello(connection_.get(), hello, fds)) {
    case ShmMessage::kNothingYet:
      return;
    case ShmMessage::kGone:
      return HangUp("the peer went without a greeting: it may have another peer");
    case ShmMessage::kOther:
      return HangUp("the peer is no shared-memory wire");
    case ShmMessage::kHello:
      break;
  }
  if (absl::Status attached = greeting_->Attach(hello, std::move(fds)); !attached.ok())
    return HangUp(attached.ToString());
  LinkUp();
}

void ShmMeeting::LinkUp() {
  link_ = std::move(greeting_);
  slot_.Publish(link_);
  SetDetail("linked");
  WakeReceiver();
}

// A receiver that went to sleep on another link, or on none, will not be rung by this peer.
void ShmMeeting::WakeReceiver() const { send(bell_.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); }

void ShmMeeting::HangUp(const std::string& why) {
  SetDetail(why);
  connection_ = UniqueFd();
  greeting_.reset();
  if (link_ != nullptr) {
    link_.reset();
    slot_.Publish(nullptr);
    WakeReceiver();
  }
  if (!listener_) RetryEvery(options_.retry);
}

}  // namespace sluice

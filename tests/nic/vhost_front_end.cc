// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/vhost_front_end.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/unix_address_internal.h"

namespace sluice::testing {
namespace {

constexpr int kLongestWait = 10'000;  // ms that a back-end may leave its socket full
// Answers that may be out before some are read: a back-end gives up on who asks for more than a socket holds.
constexpr size_t kMostUnread = 64;

[[noreturn]] void Fail(const std::string& what) {
  throw std::runtime_error("vhost-user front-end: " + what + ": " + std::strerror(errno));
}

UnixAddress AddressOf(const std::string& path) {
  const std::optional<UnixAddress> address = UnixAddress::Of(path);
  if (!address) throw std::invalid_argument("no path for a socket: " + path);
  return *address;
}

UniqueFd NewSocket() { return UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

void Watch(int epoll, int fd) {
  epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) Fail("epoll_ctl");
}

// Room for as many descriptors as a message may carry.
struct alignas(cmsghdr) Ancillary {
  std::array<char, CMSG_SPACE(sizeof(int) * kVhostMostFds)> bytes = {};

  void Carry(msghdr& message, const std::vector<int>& fds) {
    if (fds.empty()) return;
    const size_t length = sizeof(int) * fds.size();
    message.msg_control = bytes.data();
    message.msg_controllen = CMSG_SPACE(length);
    cmsghdr* const control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(length);
    std::memcpy(CMSG_DATA(control), fds.data(), length);
  }

  // What a message that was received into it brought.
  std::vector<std::shared_ptr<const UniqueFd>> Unload(msghdr& message) {
    std::vector<std::shared_ptr<const UniqueFd>> fds;
    const cmsghdr* const control = CMSG_FIRSTHDR(&message);
    if (control == nullptr || control->cmsg_type != SCM_RIGHTS) return fds;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= control->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<const uint8_t*>(control) + at, sizeof(fd));
      fds.push_back(std::make_shared<const UniqueFd>(fd));
    }
    return fds;
  }
};

}  // namespace

FrontEnd::FrontEnd(const FrontEndOptions& options) : options_(options), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_.valid()) Fail("epoll_create1");
}

FrontEnd::~FrontEnd() { Leave(); }

void FrontEnd::Listen() {
  UniqueFd listener = NewSocket();
  const UnixAddress address = AddressOf(options_.path);
  unlink(options_.path.c_str());
  if (bind(listener.get(), address.generic(), address.length()) != 0 || listen(listener.get(), 1) != 0)
    Fail("listen at " + options_.path);
  Watch(epoll_.get(), listener.get());
  listener_ = std::move(listener);
}

// A server that is not there yet, or is busy, is asked again by the next Poll.
void FrontEnd::Connect() {
  if (options_.listens) {
    if (!listener_.valid()) Listen();
    return Adopt(UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)));
  }
  UniqueFd socket = NewSocket();
  const UnixAddress address = AddressOf(options_.path);
  if (connect(socket.get(), address.generic(), address.length()) == 0) Adopt(std::move(socket));
}

void FrontEnd::Adopt(UniqueFd socket) {
  if (!socket.valid()) return;
  Watch(epoll_.get(), socket.get());
  socket_ = std::move(socket);
  ++connections_;
}

void FrontEnd::HangUp() {
  socket_ = UniqueFd();
  heard_.clear();
  heard_fds_.clear();
  questions_.clear();
  acknowledged_ = false;
}

void FrontEnd::Leave() {
  HangUp();
  if (!listener_.valid()) return;
  listener_ = UniqueFd();
  unlink(options_.path.c_str());
}

void FrontEnd::Ask(VhostRequest request, const Bytes& payload, OnAnswer on_answer,
                   const std::vector<int>& fds) {
  if (!connected()) return;
  questions_.push_back({request, std::move(on_answer)});
  Send({.request = static_cast<uint32_t>(request), .flags = kVhostVersion}, payload, fds);
}

void FrontEnd::Tell(VhostRequest request, const Bytes& payload, const std::vector<int>& fds) {
  if (!connected()) return;
  uint32_t flags = kVhostVersion;
  if (acknowledged_) {
    flags |= kVhostNeedReply;
    questions_.push_back({request, [this, request](const VhostMessage& answer) {
                            if (answer.Number() != 0) refused_.push_back(request);
                          }});
  }
  Send({.request = static_cast<uint32_t>(request), .flags = flags}, payload, fds);
}

void FrontEnd::Send(VhostHeader header, const Bytes& payload, const std::vector<int>& fds) {
  header.size = static_cast<uint32_t>(payload.size());
  Bytes bytes = PayloadOf(header);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  iovec part = {bytes.data(), bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Ancillary ancillary;
  ancillary.Carry(message, fds);
  if (waiting() > kMostUnread) {
    while (ReadSome()) {
    }
  }
  for (;;) {
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(bytes.size())) return;
    if (sent >= 0) throw std::logic_error("a message went in parts");
    if (errno != EAGAIN) return;  // it has left: Poll finds out
    pollfd room = {.fd = socket_.get(), .events = POLLOUT, .revents = 0};
    if (poll(&room, 1, kLongestWait) <= 0) Fail("the back-end hears nothing");
  }
}

void FrontEnd::SendRaw(const Bytes& bytes) {
  if (send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
    Fail("send");
}

void FrontEnd::Poll() {
  if (!connected()) Connect();
  do {
    while (HearOne()) {
    }
  } while (connected() && ReadSome());
}

bool FrontEnd::ReadSome() {
  std::array<uint8_t, 4096> some;
  iovec part = {some.data(), some.size()};
  Ancillary ancillary;
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = ancillary.bytes.data();
  message.msg_controllen = ancillary.bytes.size();
  const ssize_t got = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  if (got > 0) {
    for (auto& fd : ancillary.Unload(message)) heard_fds_.push_back(std::move(fd));
    heard_.insert(heard_.end(), some.begin(), some.begin() + got);
    return true;
  }
  if (got == 0 || errno != EAGAIN) HangUp();
  return false;
}

bool FrontEnd::HearOne() {
  VhostMessage answer;
  if (heard_.size() < sizeof(answer.header)) return false;
  std::memcpy(&answer.header, heard_.data(), sizeof(answer.header));
  const size_t whole = sizeof(answer.header) + answer.header.size;
  if (heard_.size() < whole) return false;
  answer.payload.assign(heard_.begin() + sizeof(answer.header),
                        heard_.begin() + static_cast<std::ptrdiff_t>(whole));
  heard_.erase(heard_.begin(), heard_.begin() + static_cast<std::ptrdiff_t>(whole));

  const bool asked = !questions_.empty() &&
                     static_cast<uint32_t>(questions_.front().request) == answer.header.request &&
                     (answer.header.flags & kVhostReply) != 0;
  if (!asked)
    throw std::logic_error("an answer to " + VhostRequestName(answer.header.request) +
                           ", which was not asked now");
  // The one answer that brings any; it is the last of those that were read with them.
  if (answer.header.request == static_cast<uint32_t>(VhostRequest::kGetInflightFd))
    answer.fds = std::exchange(heard_fds_, {});
  const OnAnswer on_answer = std::move(questions_.front().on_answer);
  questions_.pop_front();
  on_answer(answer);
  return true;
}

}  // namespace sluice::testing

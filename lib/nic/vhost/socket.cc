// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <cerrno>

#include "nic/vhost/socket_internal.h"

namespace sluice {
namespace {

// The kernel passes no more than 253 at once (SCM_MAX_FD): with room for them all, none is ever cut off unseen but for want of
// free descriptors here, which shows as MSG_CTRUNC.
constexpr size_t kKernelMostFds = 253;

union Control {
  char bytes[CMSG_SPACE(kKernelMostFds * sizeof(int))];
  cmsghdr aligned;
};

}  // namespace

VhostArrival VhostSocket::Receive() {
  if (whole_) Forget();
  constexpr size_t kHead = sizeof(VhostHeader);
  if (have_ < kHead) {
    const absl::Span<uint8_t> head(reinterpret_cast<uint8_t*>(&message_.header), kHead);
    if (const VhostArrival read = Fill(head.subspan(have_)); read != VhostArrival::kMessage) return read;
    if (message_.header.size > message_.payload.size()) return VhostArrival::kTooLong;
  }
  const absl::Span<uint8_t> payload(message_.payload.data(), message_.header.size);
  if (const VhostArrival read = Fill(payload.subspan(have_ - kHead)); read != VhostArrival::kMessage)
    return read;
  whole_ = true;
  return VhostArrival::kMessage;
}

// kMessage when all of `rest` is there. Never reads beyond it: what follows may have descriptors of its own.
VhostArrival VhostSocket::Fill(absl::Span<uint8_t> rest) {
  while (!rest.empty()) {
    iovec part{rest.data(), rest.size()};
    Control control;
    msghdr from{};
    from.msg_iov = &part;
    from.msg_iovlen = 1;
    from.msg_control = control.bytes;
    from.msg_controllen = sizeof(control.bytes);
    const ssize_t got = recvmsg(fd_.get(), &from, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return VhostArrival::kNothing;
    if (got < 0 && errno != ECONNRESET) return VhostArrival::kFailed;
    if (got <= 0) return have_ == 0 ? VhostArrival::kGone : VhostArrival::kCutOff;
    if (const VhostArrival taken = TakeFds(from); taken != VhostArrival::kMessage) return taken;
    have_ += static_cast<size_t>(got);
    rest.remove_prefix(static_cast<size_t>(got));
  }
  return VhostArrival::kMessage;
}

// Takes over all descriptors in `from`: those that are too many are closed here, the others with the message.
VhostArrival VhostSocket::TakeFds(msghdr& from) {
  bool too_many = (from.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&from); part != nullptr; part = CMSG_NXTHDR(&from, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      UniqueFd taken(fd);
      if (message_.fd_count == kVhostMostFds) {
        too_many = true;
        continue;
      }
      message_.fds[message_.fd_count++] = std::move(taken);
    }
  }
  return too_many ? VhostArrival::kTooManyFds : VhostArrival::kMessage;
}

// Closes what nobody took from the message.
void VhostSocket::Forget() {
  for (UniqueFd& fd : message_.fds) UniqueFd closes(std::move(fd));
  message_.fd_count = 0;
  message_.header = {};
  have_ = 0;
  whole_ = false;
}

bool VhostSocket::Send(const VhostHeader& header, absl::Span<const uint8_t> payload,
                       absl::Span<const int> fds) const {
  iovec parts[] = {{const_cast<VhostHeader*>(&header), sizeof(header)},
                   {const_cast<uint8_t*>(payload.data()), payload.size()}};
  Control control{};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  if (!fds.empty()) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  const ssize_t sent = sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(sizeof(header) + payload.size());
}

}  // namespace sluice

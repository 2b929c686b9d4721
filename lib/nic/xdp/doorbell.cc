// SPDX-License-Identifier: Apache-2.0
// A live socket: its two doorbells and what the kernel counts on it.

#include <sys/socket.h>

#include <cerrno>

#include "nic/xdp/socket_internal.h"

namespace sluice {
namespace {

// Two rings send a burst where the kernel takes 32 frames at a time; the others are for frames that got lost.
constexpr int kMostRings = 8;

}  // namespace

XdpSocket::~XdpSocket() {
  if (socket_ != nullptr) xsk_socket__delete(socket_);
}

xdp_statistics XdpSocket::Statistics() const {
  xdp_statistics statistics{};
  socklen_t size = sizeof(statistics);
  if (getsockopt(fd_, SOL_XDP, XDP_STATISTICS, &statistics, &size) != 0) return {};
  return statistics;
}

int XdpSocket::Ring() {
  doorbells_.fetch_add(1, std::memory_order_relaxed);
  return sendto(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, 0) >= 0 ? 0 : errno;
}

int XdpSocket::SendUnsent() {
  for (int rings = 0; rings < kMostRings; ++rings) {
    const uint32_t before = unsent();
    const int error = Ring();
    if (error == 0 || error == ENETDOWN || error == ENXIO) return error;
    // In copy mode EBUSY says that the device took one frame and threw it away (net/xdp/xsk.c,
    // NET_XMIT_DROP), as it does without a carrier.
    if (error == EBUSY && !zero_copy_) {
      lost_.fetch_add(1, std::memory_order_relaxed);
      return EBUSY;
    }
    if (unsent() == before) break;  // full further down: the sender tries again with its next burst
  }
  retries_.fetch_add(1, std::memory_order_relaxed);
  return EAGAIN;
}

void XdpSocket::DriveReceive() {
  doorbells_.fetch_add(1, std::memory_order_relaxed);
  recvfrom(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_SOCKET_INTERNAL_H_
#define SLUICE_NIC_VHOST_SOCKET_INTERNAL_H_

// A connection with the other side: whole messages and the descriptors that came with them, out of a stream of bytes.
// Serves both sides, and the channel of the back-end.
//
// Nothing blocks. A message may come in any number of pieces: what is there of it stays here until the rest has come, and is
// closed with the socket if it never does.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/types/span.h"
#include "base/unique_fd_internal.h"
#include "nic/vhost/message_internal.h"

namespace sluice {

struct VhostMessage {
  VhostHeader header = {};
  alignas(8) std::array<uint8_t, kVhostMostPayload> payload = {};
  std::array<UniqueFd, kVhostMostFds> fds = {};
  size_t fd_count = 0;

  // The payload as a T; what was not sent of it is zero.
  template <typename T>
  T As() const {
    T value{};
    std::memcpy(&value, payload.data(), header.size < sizeof(T) ? header.size : sizeof(T));
    return value;
  }
  UniqueFd TakeFd() { return std::exchange(fds[0], UniqueFd()); }
};

// What came, or why nothing more will.
enum class VhostArrival : uint8_t {
  kNothing,     // not yet
  kMessage,     // one
  kGone,        // the other side hung up, between two messages
  kCutOff,      // it did so within one
  kTooLong,     // a message claims more than kVhostMostPayload
  kTooManyFds,  // more than kVhostMostFds came with it, or more than this process may open
  kFailed,      // errno
};

class VhostSocket {
 public:
  explicit VhostSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }

  // After kMessage, `message` is it, until the next call. After anything but kNothing and kMessage, no more is to be had.
  VhostArrival Receive();
  VhostMessage& message() { return message_; }

  // False when it can't be sent whole and at once: who never reads what he asked for is not waited for. `fds` stay the caller's.
  bool Send(const VhostHeader& header, absl::Span<const uint8_t> payload,
            absl::Span<const int> fds = {}) const;

 private:
  VhostArrival Fill(absl::Span<uint8_t> rest);
  VhostArrival TakeFds(struct msghdr& from);
  void Forget();

  UniqueFd fd_;
  VhostMessage message_;
  size_t have_ = 0;  // bytes of header and payload
  bool whole_ = false;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_SOCKET_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
// What it saves that big sends of a kernel go uncut from TAP to TAP. One thread does all of it, so that what is counted is the
// whole way of a byte: send(2), kernel, TAP, port, port, TAP, kernel, recv(2), and the acknowledgments back.
//
//   socket ── left kernel ── tap0 ── port ═ port ── tap0 ── right kernel ── socket

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/paired.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/tap_wire.h"
#include "tests/support/netns.h"

namespace sluice::bench {
namespace {

using testing::Namespace;

constexpr uint16_t kPort = 5001;
constexpr size_t kKibibyte = 1024;
constexpr size_t kCall = 256 * kKibibyte;  // of one send or recv

// A kernel at 10.0.0.`host` behind a port.
class Kernel {
 public:
  Kernel(int host, Want tso, PacketPool& pool) : where_(Namespace::Make("sluice-bench")) {
    auto wire = MakeTapWire({.interface = "tap0", .netns = where_.path(), .tso = tso, .uso = Want::kOff});
    nic_ = *ModelNic::Open({}, *std::move(wire));
    if (absl::Status started = nic_->Start({.pool = &pool}); !started.ok())
      throw std::runtime_error(started.ToString());
    where_.MustRun("ip addr add 10.0.0." + std::to_string(host) + "/24 dev tap0; ip link set tap0 up");
    while (nic_->link() == LinkState::kDown) nic_->TakeEvents();
  }

  Nic& nic() { return *nic_; }
  int Socket() const {
    const testing::NamespaceScope inside(where_);
    return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  }

 private:
  Namespace where_;
  std::unique_ptr<ModelNic> nic_;
};

class Stream {
 public:
  explicit Stream(Want tso)
      : pool_(*PacketPool::Create({})),
        left_(1, tso, *pool_),
        right_(2, tso, *pool_),
        sender_(left_.Socket()),
        listener_(right_.Socket()),
        bytes_(kCall) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(kPort);
    inet_pton(AF_INET, "10.0.0.2", &address.sin_addr);
    const auto* const there = reinterpret_cast<const sockaddr*>(&address);
    if (bind(listener_, there, sizeof(address)) != 0 || listen(listener_, 1) != 0)
      throw std::runtime_error("cannot listen");
    connect(sender_, there, sizeof(address));
    while (receiver_ < 0) {
      Turn();
      receiver_ = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
  }
  ~Stream() {
    for (const int fd : {sender_, listener_, receiver_}) close(fd);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // All that is sent is received when it returns.
  void Carry(size_t bytes) {
    size_t unsent = bytes, missing = bytes;
    while (missing > 0) {
      const ssize_t sent = send(sender_, bytes_.data(), std::min(unsent, kCall), 0);
      if (sent > 0) unsent -= static_cast<size_t>(sent);
      Turn();
      const ssize_t got = recv(receiver_, bytes_.data(), kCall, 0);
      if (got > 0) missing -= static_cast<size_t>(got);
    }
  }

 private:
  void Turn() {
    Move(left_.nic(), right_.nic());
    Move(right_.nic(), left_.nic());
  }
  static void Move(Nic& from, Nic& to) {
    Burst burst;
    from.rx(QueueId{0}).Receive(burst);
    while (!burst.empty()) to.tx(QueueId{0}).Send(burst);
    to.tx(QueueId{0}).Reclaim();
  }

  const std::unique_ptr<PacketPool> pool_;
  Kernel left_, right_;
  const int sender_, listener_;
  int receiver_ = -1;
  std::vector<char> bytes_;
};

absl::StatusOr<Sampler> Streaming(Want tso) {
  try {
    return NanosecondsPer(
        [stream = std::make_shared<Stream>(tso)](size_t n) { stream->Carry(n * kKibibyte); });
  } catch (const std::runtime_error& error) {
    return absl::InternalError(error.what());
  }
}

// No goal: what is compared is ours both times.
const Registration tcp_stream({.work = "nic/tap/tcp_stream",
                               .unit = "ns/KiB",
                               .peer = "the same ports",
                               .peer_mode = "tso off: the kernel cuts",
                               .goal = 0,
                               .open = []() -> absl::StatusOr<Pair> {
                                 if (geteuid() != 0)
                                   return absl::UnavailableError("needs root, to make network namespaces");
                                 return MakePair(Streaming(Want::kRequire), Streaming(Want::kOff));
                               }});

}  // namespace
}  // namespace sluice::bench

// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/packet_socket_wire.h"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nic/wire/gather_internal.h"
#include "nic/wire/interface_wire_internal.h"
#include "nic/wire/packet_socket_ring_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr size_t kMostPieces = 48;  // of one frame; MAX_SKB_FRAGS is 17, but pieces share pages

// The socket of one lane. It hears nothing: its protocol is 0.
class SendSocket {
 public:
  static absl::StatusOr<SendSocket> Open(const PacketSocketWireOptions& options, uint32_t index) {
    UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(index);
    const int bypass = options.qdisc_bypass;
    if (fd.valid() && setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(bypass)) == 0 &&
        bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return SendSocket(std::move(fd));
    }
    return ErrorStatus({.device = absl::StrCat("packet socket ", options.interface),
                        .stage = "open a socket to send",
                        .error_number = errno,
                        .remedy = "run as root or with CAP_NET_RAW in the interface's network namespace"});
  }

  size_t Transmit(Burst& burst);
  DropCounts drops() const { return drops_->Read(); }

 private:
  explicit SendSocket(UniqueFd fd) : fd_(std::move(fd)), drops_(std::make_unique<DropCounters>()) {}

  size_t Describe(Burst& burst);
  bool DropFirst(Burst& burst, int error);

  UniqueFd fd_;
  std::unique_ptr<DropCounters> drops_;
  std::array<mmsghdr, Burst::kCapacity> messages_{};
  std::array<iovec, Burst::kCapacity + kMostPieces> parts_{};
};

// The kernel has copied a frame when it says that it took it, so it goes back to its pool at once.
size_t SendSocket::Transmit(Burst& burst) {
  size_t taken = 0;
  while (!burst.empty()) {
    const size_t n = Describe(burst);
    const int sent =
        n == 0 ? -1 : sendmmsg(fd_.get(), messages_.data(), static_cast<unsigned>(n), MSG_DONTWAIT);
    if (sent > 0) {
      PacketPool::Put(burst.begin(), static_cast<size_t>(sent));
      burst.DropFront(static_cast<size_t>(sent));
      taken += static_cast<size_t>(sent);
    } else if (DropFirst(burst, n == 0 ? EMSGSIZE : errno)) {
      ++taken;
    } else {
      break;
    }
  }
  return taken;
}

// As many frames from the front as there are places for; 0 when the first has too many pieces.
size_t SendSocket::Describe(Burst& burst) {
  size_t used = 0;
  for (size_t i = 0; i < burst.size(); ++i) {
    if (used + kMostPieces > parts_.size()) return i;
    const size_t pieces = Gather(burst[i], absl::MakeSpan(parts_).subspan(used, kMostPieces));
    if (pieces == 0) return i;
    messages_[i].msg_hdr.msg_iov = &parts_[used];
    messages_[i].msg_hdr.msg_iovlen = pieces;
    used += pieces;
  }
  return burst.size();
}

// Whether the first frame is the culprit: it is then dropped. Else the device is busy or down, and all wait.
bool SendSocket::DropFirst(Burst& burst, int error) {
  if (error != EMSGSIZE && error != EINVAL) return false;
  drops_->Add(error == EMSGSIZE ? DropReason::kTooLong : DropReason::kDeviceError);
  const PacketPtr culprit = burst.PopFront();
  return true;
}

struct PacketSocketSession {
  DropCounts drops() const {
    DropCounts drops = ring->drops();
    for (const SendSocket& lane : lanes) drops += lane.drops();
    return drops;
  }

  std::unique_ptr<InterfaceLink> link;
  std::unique_ptr<PacketSocketRing> ring;
  std::vector<SendSocket> lanes;
};

class PacketSocketWire final : public InterfaceWire<PacketSocketSession> {
 public:
  explicit PacketSocketWire(const PacketSocketWireOptions& options)
      : InterfaceWire({.name = absl::StrCat("packet socket ", options.interface),
                       .max_frame = options.max_frame,
                       .carries_fragments = true},
                      options.netns),
        options_(options) {}

  size_t Transmit(uint16_t lane, Burst& burst) override {
    return link() == LinkState::kUp ? session()->lanes[lane].Transmit(burst) : 0;
  }
  size_t Reclaim(uint16_t) override { return 0; }
  size_t Receive(Burst& burst) override { return session()->ring->Receive(burst); }
  bool Arm() override { return session()->ring->Arm(); }
  int fd() const override { return session() == nullptr ? -1 : session()->ring->fd(); }

 private:
  absl::StatusOr<std::unique_ptr<PacketSocketSession>> MakeSession(const WireOptions& options) override;

  const PacketSocketWireOptions options_;
};

absl::StatusOr<std::unique_ptr<PacketSocketSession>> PacketSocketWire::MakeSession(
    const WireOptions& options) {
  auto link = InterfaceLink::Find(traits_.name, options_.interface);
  if (!link.ok()) return link.status();
  auto session = std::make_unique<PacketSocketSession>();
  session->link = *std::move(link);
  auto ring = PacketSocketRing::Open(options_, session->link->index(), options.ring, *options.pool);
  if (!ring.ok()) return ring.status();
  session->ring = *std::move(ring);
  for (uint16_t lane = 0; lane < options.lanes; ++lane) {
    absl::StatusOr<SendSocket> socket = SendSocket::Open(options_, session->link->index());
    if (!socket.ok()) return socket.status();
    session->lanes.push_back(*std::move(socket));
  }
  return session;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Wire>> MakePacketSocketWire(const PacketSocketWireOptions& options) {
  const std::string device = absl::StrCat("packet socket ", options.interface);
  if (absl::Status checked = CheckInterfaceOptions(device, options.interface, options.max_frame);
      !checked.ok())
    return checked;
  return std::make_unique<PacketSocketWire>(options);
}

}  // namespace sluice

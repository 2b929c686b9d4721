// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "nic/wire/shm_link_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

// What the owner of shared memory must have given up for its reader to be safe: see fcntl(2), "File Sealing".
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;

absl::Status Refuse(std::string what) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument,
                     {.device = "shm wire",
                      .stage = "greet",
                      .what = std::move(what),
                      .remedy = "run the same release of the library at both ends"});
}

absl::Status CheckHello(const ShmHello& hello) {
  if (hello.magic != kShmMagic) return Refuse("the peer is no shared-memory wire");
  if (hello.version != kShmVersion)
    return Refuse(absl::StrCat("the peer speaks version ", hello.version, ", this end ", kShmVersion));
  if (hello.lanes == 0 || hello.lanes > kShmMaxLanes)
    return Refuse(absl::StrCat("the peer has ", hello.lanes, " lanes; 1 to ", kShmMaxLanes, " are possible"));
  if (hello.ring > kShmMaxRing || !absl::has_single_bit(hello.ring))
    return Refuse(absl::StrCat("the peer's ring of ", hello.ring, " is no power of two up to ", kShmMaxRing));
  if (hello.board_bytes < ShmBoard::BytesFor(hello.lanes, hello.ring) || hello.packet_bytes == 0 ||
      hello.packet_bytes > kShmMaxRegion)
    return Refuse("the peer's memory does not have the size that its ring needs");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Region>> MapSealed(int fd, uint64_t bytes) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return Refuse("the peer can take its memory away under us");
  return Region::Map(fd, bytes, /*writable=*/false);
}

bool IsUnixSocket(int fd) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

}  // namespace

absl::string_view Meaning(ShmViolation violation) {
  switch (violation) {
    case ShmViolation::kNone:
      return "";
    case ShmViolation::kProduced:
      return "the peer's producer index left its ring";
    case ShmViolation::kConsumed:
      return "the peer's consumer index passed what was sent, or ran back";
    case ShmViolation::kDescriptor:
      return "a descriptor of the peer names memory outside its region, or an impossible length";
    case ShmViolation::kMeta:
      return "a descriptor of the peer asks for the impossible";
    case ShmViolation::kUnfinished:
      return "the peer published a frame without its last piece";
  }
  return "";
}

absl::Status SealForPeers(const Region& region) {
  if (fcntl(region.fd(), F_ADD_SEALS, kSeals) == 0) return absl::OkStatus();
  const int error = errno;
  const int seals = fcntl(region.fd(), F_GET_SEALS);
  if (seals >= 0 && (seals & kSeals) == kSeals) return absl::OkStatus();
  return ErrorStatus({.device = "shm wire",
                      .stage = "seal memory",
                      .capability = "F_SEAL_FUTURE_WRITE",
                      .error_number = error,
                      .remedy = "use a pool of Region's making, and Linux 5.1 or later"});
}

absl::StatusOr<std::shared_ptr<ShmLink>> ShmLink::Create(const ShmHello& own, int wake_fd) {
  absl::StatusOr<std::unique_ptr<Region>> region =
      Region::Create({.name = "sluice-shm-board", .bytes = own.board_bytes, .huge_pages = HugePages::kOff});
  if (!region.ok()) return region.status();
  if (absl::Status sealed = SealForPeers(**region); !sealed.ok()) return sealed;
  std::shared_ptr<ShmLink> link(new ShmLink(wake_fd));
  link->own_hello_ = own;
  link->own_region_ = *std::move(region);
  link->own_ = ShmBoard(link->own_region_->data(), own);
  return link;
}

absl::Status ShmLink::Attach(const ShmHello& hello, ShmFds fds) {
  if (absl::Status checked = CheckHello(hello); !checked.ok()) return checked;
  absl::StatusOr<std::unique_ptr<Region>> board = MapSealed(fds[0].get(), hello.board_bytes);
  if (!board.ok()) return board.status();
  absl::StatusOr<std::unique_ptr<Region>> packets = MapSealed(fds[1].get(), hello.packet_bytes);
  if (!packets.ok()) return packets.status();
  if (!IsUnixSocket(fds[2].get())) return Refuse("the peer's doorbell is no Unix socket");
  peer_hello_ = hello;
  peer_region_ = *std::move(board);
  peer_packets_ = *std::move(packets);
  peer_ = ShmBoard(peer_region_->data(), hello);
  doorbell_ = std::move(fds[2]);
  return absl::OkStatus();
}

void ShmLink::Accuse(ShmViolation violation) {
  ShmViolation none = ShmViolation::kNone;
  if (violation_.compare_exchange_strong(none, violation)) eventfd_write(wake_fd_, 1);
}

void ShmLink::Ring() const { send(doorbell_.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); }

}  // namespace sluice

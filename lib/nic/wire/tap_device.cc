// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/wire/gather_internal.h"
#include "nic/wire/piece_writer_internal.h"
#include "nic/wire/tap_device_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

// virtio 1.2, 5.1.6, in the byte order of this machine, as tuntap has it. The kernel's own header is no C++.
struct VirtioNetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;
  static constexpr uint8_t kDataValid = 2;
  static constexpr uint8_t kNoSegmenting = 0;

  uint8_t flags = 0;
  uint8_t gso_type = kNoSegmenting;
  uint16_t header_length = 0;
  uint16_t gso_size = 0;
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
};
static_assert(sizeof(VirtioNetHeader) == 10);

constexpr const char* kClone = "/dev/net/tun";
constexpr size_t kMostPieces = 64;
constexpr uint16_t kTcpChecksumAt = 16;  // RFC 9293, 3.1
constexpr uint16_t kUdpChecksumAt = 6;   // RFC 768

absl::Status Refuse(const TapWireOptions& options, std::string stage, std::string remedy) {
  return ErrorStatus({.device = absl::StrCat("tap ", options.interface),
                      .stage = std::move(stage),
                      .error_number = errno,
                      .remedy = std::move(remedy)});
}

// Starts the checksum that the sender asked for, and says in `header` where the kernel has to go on. False for a
// request that the header cannot express.
bool HandOverChecksum(Packet& packet, VirtioNetHeader& header) {
  const OffloadRequest& ask = packet.offload;
  if (ask.l3_checksum || ask.outer_checksum || ask.segment || ask.insert_vlan) return false;
  if (packet.borrows() && !packet.Own()) return false;
  if (Parse(packet) != ParseVerdict::kOk || !StartL4Checksum(packet, LayerSet::kInnermost)) return false;
  const LayerOffsets& layers = Select(packet.layers(), LayerSet::kInnermost);
  header.flags = VirtioNetHeader::kNeedsChecksum;
  header.checksum_start = layers.l4;
  header.checksum_offset = layers.l4_type == L4Type::kTcp ? kTcpChecksumAt : kUdpChecksumAt;
  return true;
}

}  // namespace

absl::StatusOr<TapDevice> TapDevice::Open(const TapWireOptions& options) {
  UniqueFd fd(open(kClone, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) {
    return Refuse(options, absl::StrCat("open ", kClone),
                  "load the module tun; in a container, pass the device in and allow it");
  }
  ifreq request{};
  options.interface.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    return Refuse(options, "attach",
                  errno == EBUSY
                      ? "stop the program that holds the interface, or use another name"
                      : "run with CAP_NET_ADMIN, or use a TAP interface that was made for this user");
  }
  const int header_bytes = sizeof(VirtioNetHeader);
  const unsigned long offloads = options.leave_checksums ? TUN_F_CSUM : 0;
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0 || ioctl(fd.get(), TUNSETOFFLOAD, offloads) != 0) {
    return Refuse(options, "set header and offloads", "use a kernel with CONFIG_TUN and virtio-net headers");
  }
  return TapDevice(std::move(fd));
}

TapResult TapDevice::Write(Packet& packet, DropReason& reason) const {
  VirtioNetHeader header;
  reason = DropReason::kUnsupportedOffload;
  if (packet.offload.any() && !HandOverChecksum(packet, header)) return TapResult::kDropped;

  std::array<iovec, 1 + kMostPieces> parts;
  parts[0] = {&header, sizeof(header)};
  const size_t pieces = Gather(packet, absl::MakeSpan(parts).subspan(1));
  reason = DropReason::kTooLong;
  if (pieces == 0) return TapResult::kDropped;
  if (writev(fd_.get(), parts.data(), static_cast<int>(1 + pieces)) >= 0) return TapResult::kDone;

  reason = DropReason::kDeviceError;
  switch (errno) {
    case EBADFD:
      return TapResult::kGone;
    case EINVAL:  // no frame, in the kernel's eyes
    case EMSGSIZE:
      return TapResult::kDropped;
    default:  // EIO: the interface is down. EAGAIN, ENOBUFS, ENOMEM: busy
      return TapResult::kNotNow;
  }
}

TapResult TapDevice::Read(PacketPool& pool, PacketPtr& packet, DropReason& reason) {
  packet = pool.GetOne();
  if (packet == nullptr) return TapResult::kNotNow;
  VirtioNetHeader header;
  const size_t room = packet->tailroom();
  const std::array<iovec, 3> parts{
      {{&header, sizeof(header)}, {packet->data(), room}, {spill_.data(), spill_.size()}}};
  const ssize_t bytes = readv(fd_.get(), parts.data(), parts.size());
  if (bytes < 0) return errno == EBADFD || errno == EIO ? TapResult::kGone : TapResult::kNotNow;

  // 1. The header, which comes from the kernel: TSO was not asked for, so each frame is whole.
  reason = DropReason::kDeviceError;
  if (bytes < static_cast<ssize_t>(sizeof(header)) || header.gso_type != VirtioNetHeader::kNoSegmenting)
    return TapResult::kDropped;
  const size_t length = static_cast<size_t>(bytes) - sizeof(header);

  // 2. The frame; what did not fit goes into fragments.
  packet->SetLength(static_cast<uint32_t>(std::min(length, room)));
  if (length > room) {
    PieceWriter rest(pool);
    reason = DropReason::kNoBuffer;
    if (!rest.Write(spill_.data(), length - room)) return TapResult::kDropped;
    packet->Append(rest.Finish());
  }
  if ((header.flags & VirtioNetHeader::kNeedsChecksum) != 0) {
    packet->offload.l4_checksum = true;
    packet->l4_checksum = ChecksumVerdict::kPartial;
  } else if ((header.flags & VirtioNetHeader::kDataValid) != 0) {
    packet->l4_checksum = ChecksumVerdict::kGood;
  }
  return TapResult::kDone;
}

}  // namespace sluice

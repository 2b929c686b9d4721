// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/wire/gather_internal.h"
#include "nic/wire/tap_device_internal.h"
#include "nic/wire/virtio_net_header_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr const char* kClone = "/dev/net/tun";
constexpr size_t kMostPieces = 128;

// TUN_F_USO4 and TUN_F_USO6 of Linux 6.2, which are one: either alone is refused.
constexpr unsigned kUso = 0x20 | 0x40;

absl::Status Refuse(const TapWireOptions& options, std::string stage, std::string remedy) {
  return ErrorStatus({.device = absl::StrCat("tap ", options.interface),
                      .stage = std::move(stage),
                      .error_number = errno,
                      .remedy = std::move(remedy)});
}

bool Set(int fd, const TapOffloads& offloads) {
  unsigned long bits = 0;
  if (offloads.checksums) bits |= TUN_F_CSUM;
  if (offloads.tso) bits |= TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (offloads.uso) bits |= kUso;
  return ioctl(fd, TUNSETOFFLOAD, bits) == 0;
}

// The kernel refuses what it does not know, and all that came with it.
bool Agree(int fd, const TapWireOptions& options, TapOffloads& offloads) {
  const int header_bytes = sizeof(VirtioNetHeader);
  if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0) return false;
  offloads.checksums = options.checksums != Want::kOff;
  offloads.tso = offloads.checksums && options.tso != Want::kOff;
  offloads.uso = offloads.checksums && options.uso != Want::kOff;
  if (Set(fd, offloads)) return true;
  offloads.uso = false;
  return Set(fd, offloads);
}

absl::Status CheckRequired(const TapWireOptions& options, const TapOffloads& offloads) {
  for (const ModeInForce& mode : ModesOf(options, offloads)) {
    if (mode.active || mode.wanted != Want::kRequire) continue;
    return ErrorStatus(absl::StatusCode::kUnimplemented,
                       {.device = absl::StrCat("tap ", options.interface),
                        .stage = "set offloads",
                        .capability = mode.name,
                        .what = mode.reason,
                        .remedy = absl::StrCat("use ", mode.name, "=prefer, or Linux 6.2 or later")});
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<ModeInForce> ModesOf(const TapWireOptions& options, const TapOffloads& offloads) {
  const auto mode = [&](const char* name, Want wanted, bool active) {
    const char* const reason = active || wanted == Want::kOff ? ""
                               : offloads.checksums           ? "this kernel's tun has none"
                                                              : "checksums is off";
    return ModeInForce{.name = name, .wanted = wanted, .active = active, .reason = reason};
  };
  return {mode("checksums", options.checksums, offloads.checksums), mode("tso", options.tso, offloads.tso),
          mode("uso", options.uso, offloads.uso)};
}

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
  TapOffloads offloads;
  if (!Agree(fd.get(), options, offloads)) {
    return Refuse(options, "set header and offloads", "use a kernel with CONFIG_TUN and virtio-net headers");
  }
  if (absl::Status checked = CheckRequired(options, offloads); !checked.ok()) return checked;
  return TapDevice(std::move(fd), offloads);
}

TapResult TapDevice::Write(Packet& packet, DropReason& reason) const {
  VirtioNetHeader header;
  if (const std::optional<DropReason> inexpressible = Express(packet, header)) {
    reason = *inexpressible;
    return TapResult::kDropped;
  }
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

}  // namespace sluice

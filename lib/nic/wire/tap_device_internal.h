// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_TAP_DEVICE_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_TAP_DEVICE_INTERNAL_H_

// The descriptor of a TAP interface (Documentation/networking/tuntap.rst), and frames into it, each behind a virtio-net
// header. Frames out of it: tap_receiver_internal.h.

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "sluice/base/drop_reason.h"
#include "sluice/nic/tap_wire.h"
#include "sluice/packet/packet.h"

namespace sluice {

// What became of a frame.
enum class TapResult : uint8_t {
  kDone,
  kNotNow,   // nothing there, or no room
  kDropped,  // for the reason that goes with it
  kGone,     // the interface was deleted
};

// What may be left to the other side.
struct TapOffloads {
  bool checksums = false;
  bool tso = false;
  bool uso = false;
};

class TapDevice {
 public:
  // In the namespace of the calling thread.
  static absl::StatusOr<TapDevice> Open(const TapWireOptions& options);

  int fd() const { return fd_.get(); }
  const TapOffloads& offloads() const { return offloads_; }

  // Any number of threads. kDropped: `reason` says why. The packet stays the caller's; a request to fill a checksum
  // is started in it.
  TapResult Write(Packet& packet, DropReason& reason) const;

 private:
  TapDevice(UniqueFd fd, const TapOffloads& offloads) : fd_(std::move(fd)), offloads_(offloads) {}

  UniqueFd fd_;
  TapOffloads offloads_;
};

// What came of the offloads that were wanted.
std::vector<ModeInForce> ModesOf(const TapWireOptions& options, const TapOffloads& offloads);

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_TAP_DEVICE_INTERNAL_H_

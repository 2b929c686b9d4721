// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_TAP_DEVICE_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_TAP_DEVICE_INTERNAL_H_

// The descriptor of a TAP interface (Documentation/networking/tuntap.rst), and frames through it, each behind a
// virtio-net header in the 10-byte form (virtio 1.2, 5.1.6).

#include <array>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "sluice/base/drop_reason.h"
#include "sluice/nic/tap_wire.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

// What became of a frame.
enum class TapResult : uint8_t {
  kDone,
  kNotNow,   // nothing there, or no room
  kDropped,  // for the reason that goes with it
  kGone,     // the interface was deleted
};

class TapDevice {
 public:
  // In the namespace of the calling thread.
  static absl::StatusOr<TapDevice> Open(const TapWireOptions& options);

  int fd() const { return fd_.get(); }

  // Any number of threads. kDropped: `reason` says why. The packet stays the caller's; a request to fill a checksum
  // is started in it.
  TapResult Write(Packet& packet, DropReason& reason) const;

  // One thread.
  TapResult Read(PacketPool& pool, PacketPtr& packet, DropReason& reason);

 private:
  static constexpr size_t kLongest = 65536;

  explicit TapDevice(UniqueFd fd) : fd_(std::move(fd)), spill_(kLongest) {}

  UniqueFd fd_;
  std::vector<uint8_t> spill_;  // what of an arrival did not fit the first buffer
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_TAP_DEVICE_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_TAP_WIRE_H_
#define SLUICE_NIC_TAP_WIRE_H_

// A wire to the kernel's own stack: the far end is a TAP interface, which gets addresses and routes like any other. What
// is transmitted here the kernel receives on it, and judges; what it sends there arrives here.
//
//   auto wire = MakeTapWire({.interface = "tap0"});       // then: ip addr add 10.0.0.1/24 dev tap0; ip link set tap0 up
//
// Each frame costs a system call in either direction: for management traffic, tests and demonstrations, not for rate.
//
// Checksums: frames go with a virtio-net header (virtio 1.2, 5.1.6). What the kernel left unfinished arrives as a
//   request to finish it (OffloadRequest::l4_checksum), and such a request, if it is the only one of a frame, crosses to
//   the kernel as it is (WireTraits::carries_l4_checksum). The kernel never sends more than a frame at a time: TSO is
//   off.
// Link: up while the interface is. The interface goes with the wire's Close, unless it was made to stay (`ip tuntap add
//   mode tap`).
// Needs /dev/net/tun, CAP_NET_ADMIN or an interface made for this user, and CAP_SYS_ADMIN to enter another namespace.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/base/export.h"
#include "sluice/nic/wire.h"

namespace sluice {

struct TapWireOptions {
  std::string interface = {};  // "tap0": made if there is none of the name, else attached to. Required
  std::string netns =
      {};  // a namespace file, as /run/netns/blue; empty = the one of the thread that calls Open
  uint32_t max_frame = 1518;    // bytes, Ethernet header and tag included, 64 to 65535
  bool leave_checksums = true;  // let the kernel hand over frames with unfinished checksums
};

// Refuses options out of range (kInvalidArgument). Wire::Open fails with kPermissionDenied without the capability,
// kUnavailable when another program holds the interface, kNotFound without /dev/net/tun or the namespace.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<Wire>> MakeTapWire(const TapWireOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_TAP_WIRE_H_

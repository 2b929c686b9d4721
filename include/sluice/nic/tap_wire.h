// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_TAP_WIRE_H_
#define SLUICE_NIC_TAP_WIRE_H_

// A wire to the kernel's own stack: the far end is a TAP interface, which gets addresses and routes like any other. What
// is transmitted here the kernel receives on it, and judges; what it sends there arrives here.
//
//   auto wire = MakeTapWire({.interface = "tap0"});       // then: ip addr add 10.0.0.1/24 dev tap0; ip link set tap0 up
//
//   kernel ═ tap0 ─▶ │ header │ frame of up to 64 KiB ....... │ ─▶ packet with OffloadRequest, in as many pieces as needed
//                      what is still to be done: checksum, segments (virtio 1.2, 5.1.6)
//
// Each frame costs a system call in either direction: for management traffic, tests and demonstrations, not for the rate
// of small frames. With `tso` a frame is 44 of the usual ones, and bulk TCP between TAP interfaces is never cut.
//
// Offloads: each holds in both directions, and an OffloadRequest crosses as what it is (WireTraits).
//   checksums  what the kernel left unfinished arrives as a request to finish it (OffloadRequest::l4_checksum), and such
//              a request the kernel takes over
//   tso, uso   TCP, and UDP of a sender that set UDP_SEGMENT, arrives uncut (OffloadRequest::segment, mss), and the same
//              is taken over; max_frame then counts for the segments. An uncut frame takes up to 35 buffers of 2 KiB.
//              UDP of more than 64 segments is cut here, for kernels before 6.9 take no more. uso needs Linux 6.2.
//   In a tunnel: cut before it goes to the kernel, and by the kernel before it comes from there.
//   What is forwarded to a port that cannot do it is finished there, in software.
// Loss: a frame that its header contradicts is counted, kMalformed, or kUnsupportedOffload for a kind of segmenting that
//   was not asked for; one that the pool has no buffers for, kNoBuffer.
// Link: up while the interface is. The interface goes with the wire's Close, unless it was made to stay (`ip tuntap add
//   mode tap`). One that is deleted before, or moved to another namespace, is gone (Wire::gone).
// Needs /dev/net/tun, CAP_NET_ADMIN or an interface made for this user, and CAP_SYS_ADMIN to enter another namespace.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/base/export.h"
#include "sluice/nic/mode.h"
#include "sluice/nic/wire.h"

namespace sluice {

struct TapWireOptions {
  std::string interface = {};  // "tap0": made if there is none of the name, else attached to. Required
  std::string netns =
      {};  // a namespace file, as /run/netns/blue; empty = the one of the thread that calls Open
  uint32_t max_frame = 1518;  // bytes, Ethernet header and tag included, 64 to 65535
  // What came of them is in Wire::modes. The latter two need the first.
  Want checksums = Want::kPrefer;
  Want tso = Want::kPrefer;  // off where the ports behind cannot take big packets, or latency counts
  Want uso = Want::kPrefer;
};

// Refuses options out of range, and segments that are required without checksums (kInvalidArgument). Wire::Open fails with
// kPermissionDenied without the capability, kUnavailable when another program holds the interface, kNotFound without
// /dev/net/tun or the namespace, kUnimplemented for a required mode that the kernel lacks.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<Wire>> MakeTapWire(const TapWireOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_TAP_WIRE_H_

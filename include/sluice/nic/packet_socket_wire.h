// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_PACKET_SOCKET_WIRE_H_
#define SLUICE_NIC_PACKET_SOCKET_WIRE_H_

// A wire into a kernel interface through AF_PACKET: packet(7). Reaches any interface, shares it with the kernel's stack
// (which sees every frame too), and costs a system call for each burst that is sent. Use an XdpNic where speed counts,
// and a TAP wire to talk to the kernel's own stack.
//
//   receive: a TPACKET_V2 ring, mapped: no system call, one copy out of it. What was sent through the interface by this
//     machine is not heard. A VLAN tag that the kernel took out is put back. A checksum that a local sender left
//     unfinished arrives as a request to finish it (OffloadRequest::l4_checksum).
//   send: one sendmmsg(2) a burst and lane; packets are free as soon as it returns.
//   Frames go finished, and come no longer than max_frame: there is no virtio-net header before them (PACKET_VNET_HDR),
//     for each slot of the ring would have to hold 64 KiB, and past the queueing discipline the kernel drops a frame that
//     the interface does not cut itself. For big frames use a TAP wire.
//   link: the interface's own. A deleted interface, or one that was moved to another namespace, is gone (Wire::gone);
//     open a new wire for a new one.
//
// Loss: a receive ring that nobody empties overflows in the kernel (kReceiveRingFull). Frames longer than max_frame are
//   counted as kTooLong: most often what a local sender left to be segmented; see `ethtool -K PEER tso off gso off`.
// Needs CAP_NET_RAW in the namespace of the interface, and CAP_SYS_ADMIN to enter another one.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/base/export.h"
#include "sluice/nic/wire.h"

namespace sluice {

struct PacketSocketWireOptions {
  std::string interface = {};  // "eth0". Required
  std::string netns =
      {};  // a namespace file, as /run/netns/blue; empty = the one of the thread that calls Open
  uint32_t max_frame =
      1518;  // bytes, Ethernet header and tag included, 64 to 65535; a slot of the ring holds one
  bool promiscuous = true;   // also frames for other addresses, as long as the wire is open
  bool qdisc_bypass = true;  // send past the interface's queueing discipline: faster, and unseen by tc
};

// Refuses options out of range (kInvalidArgument). Wire::Open fails with kNotFound without the interface or namespace,
// kPermissionDenied without the capability.
SLUICE_EXPORT absl::StatusOr<std::unique_ptr<Wire>> MakePacketSocketWire(
    const PacketSocketWireOptions& options);

}  // namespace sluice

#endif  // SLUICE_NIC_PACKET_SOCKET_WIRE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_VIRTIO_NET_HEADER_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_VIRTIO_NET_HEADER_INTERNAL_H_

// The header that goes with a frame between machine and guest, or kernel, and says what of the frame is still to be done
// (virtio 1.2, 5.1.6), and its translation from and to an OffloadRequest.
//
//   │ header, 10 bytes │ Ethernet │ IP │ TCP | pseudo-header's sum | ... │ payload, as many segments as there are │
//     checksum_start ──────────────────▶┘       ▲
//     checksum_offset ──────────────────────────┘
//
// A header says nothing of tunnels: what it asks for is in the one place that it names.

#include <cstdint>
#include <optional>

#include "sluice/base/drop_reason.h"
#include "sluice/packet/packet.h"

namespace sluice {

// In the byte order of this machine, as tuntap has it. The kernel's own <linux/virtio_net.h> is no C++.
struct VirtioNetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;  // of flags
  static constexpr uint8_t kDataValid = 2;

  static constexpr uint8_t kWhole = 0;  // of gso_type
  static constexpr uint8_t kTcp4 = 1;
  static constexpr uint8_t kTcp6 = 4;
  static constexpr uint8_t kUdp = 5;     // USO: datagrams, of either family
  static constexpr uint8_t kEcn = 0x80;  // with TCP: CWR is set

  uint8_t flags = 0;
  uint8_t gso_type = kWhole;
  uint16_t header_length = 0;  // up to the payload or beyond: a hint
  uint16_t gso_size = 0;       // payload of each segment but the last
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;  // of the field, from there

  bool operator==(const VirtioNetHeader&) const = default;
};
static_assert(sizeof(VirtioNetHeader) == 10);

// Notes on a fresh packet what the header that it came with says of it: request and verdict. Each value is compared with
// the frame before it is believed. A reason to drop the packet:
//   kMalformed           a checksum, header or segment size that is not where or what the frame's headers say
//   kUnsupportedOffload  a kind of segmenting that nobody asked for: UFO, or what came later
// A checksum other than that of the innermost TCP or UDP, which a request cannot name, is finished here.
std::optional<DropReason> TakeIn(const VirtioNetHeader& header, Packet& packet);

// The header for what a packet asks for, and the pseudo-header's sum where that wants it: the packet's head is written.
// kUnsupportedOffload for what no header can say: checksums but that of the innermost L4, a tag, segmenting in a tunnel.
std::optional<DropReason> Express(Packet& packet, VirtioNetHeader& header);

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_VIRTIO_NET_HEADER_INTERNAL_H_

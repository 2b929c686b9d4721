// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_TAP_RECEIVER_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_TAP_RECEIVER_INTERNAL_H_

// Frames out of a TAP interface, read straight into as many buffers as the longest may take:
//
//   one readv:  │ header │ buffer │ buffer │ buffer │ ... │ spill │
//                          └─────── frame ─────┘└ kept ┘     what a pool of small buffers, or few, leaves over: copied
//
// The buffers that a frame left over serve the next one. Threads: one at a time.

#include <sys/uio.h>

#include <array>
#include <vector>

#include "nic/wire/tap_device_internal.h"
#include "nic/wire/virtio_net_header_internal.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class TapReceiver {
 public:
  // For frames of up to `longest` bytes as a rule; longer ones are received, too.
  TapReceiver(const TapDevice& device, PacketPool& pool, uint32_t longest);
  ~TapReceiver() { Rest(); }
  TapReceiver(const TapReceiver&) = delete;
  TapReceiver& operator=(const TapReceiver&) = delete;

  // kDropped: `reason` says why.
  TapResult Read(PacketPtr& packet, DropReason& reason);
  // Gives back what is kept for the next frame, when none is there.
  void Rest();

 private:
  static constexpr size_t kMost = Burst::kCapacity;

  bool Stock();
  PacketPtr Take(size_t bytes);
  PacketPtr TakePiece(size_t& left);

  const TapDevice& device_;
  PacketPool& pool_;
  const size_t headroom_;
  const size_t room_;  // of a buffer
  const size_t wanted_;

  // Buffers, as got: those from first_ on. Each has its place in parts_, one further; in front of them is the header's.
  size_t first_ = kMost;
  std::array<Packet*, kMost> stock_{};
  std::array<iovec, 1 + kMost + 1> parts_{};
  VirtioNetHeader header_;
  std::vector<uint8_t> spill_;
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_TAP_RECEIVER_INTERNAL_H_

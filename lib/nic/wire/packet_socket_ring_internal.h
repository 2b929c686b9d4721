// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_PACKET_SOCKET_RING_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_PACKET_SOCKET_RING_INTERNAL_H_

// The receive half of a packet socket wire: a TPACKET_V2 ring (packet_mmap.rst). Each slot belongs to the kernel or to
// us, as its status word says, and changes hands by a store to it.
//
//   slot: │ tpacket2_hdr: status, lengths, VLAN │ ... │ frame, from tp_mac on │
//
// One thread at a time, except where said.

#include <linux/if_packet.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/packet_socket_wire.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

class PacketSocketRing {
 public:
  // Hears the interface `index` of the calling thread's namespace. `slots` is a power of two.
  static absl::StatusOr<std::unique_ptr<PacketSocketRing>> Open(const PacketSocketWireOptions& options,
                                                                uint32_t index, uint32_t slots,
                                                                PacketPool& pool);
  ~PacketSocketRing();
  PacketSocketRing(const PacketSocketRing&) = delete;
  PacketSocketRing& operator=(const PacketSocketRing&) = delete;

  size_t Receive(Burst& burst);
  bool Arm();
  int fd() const { return fd_.get(); }

  // Any thread. What the ring had no room for is the kernel's to count: it is asked.
  DropCounts drops() const;

 private:
  PacketSocketRing(UniqueFd fd, PacketPool& pool) : fd_(std::move(fd)), pool_(pool) {}

  int Configure(const PacketSocketWireOptions& options, uint32_t index, uint32_t slots);
  int Map(uint32_t max_frame, uint32_t slots);
  tpacket2_hdr& slot(uint32_t index) {
    return *reinterpret_cast<tpacket2_hdr*>(ring_ + size_t{index} * slot_size_);
  }
  bool Waiting();
  PacketPtr Take(const tpacket2_hdr& header);

  const UniqueFd fd_;
  PacketPool& pool_;
  uint8_t* ring_ = nullptr;
  size_t ring_bytes_ = 0;
  size_t slot_size_ = 0;
  uint32_t mask_ = 0;
  uint32_t next_ = 0;
  bool armed_ = false;
  DropCounters drops_;
  mutable std::atomic<uint64_t> overflowed_{0};
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_PACKET_SOCKET_RING_INTERNAL_H_

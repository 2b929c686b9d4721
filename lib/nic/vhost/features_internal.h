// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_FEATURES_INTERNAL_H_
#define SLUICE_NIC_VHOST_FEATURES_INTERNAL_H_

// What is offered to a guest, and what comes of what it took (virtio 1.2, 5.1.3 and 6).

#include <cstdint>
#include <vector>

#include "nic/offload/finisher_internal.h"
#include "nic/vhost/ring_internal.h"
#include "sluice/nic/mode.h"
#include "sluice/nic/vhost_nic.h"

namespace sluice {

// Numbers of the bits.
enum class VirtioFeature : uint8_t {
  kChecksum = 0,  // we take frames that are not finished; the next: the guest does
  kGuestChecksum = 1,
  kMtu = 3,
  kGuestTso4 = 7,
  kGuestTso6 = 8,
  kGuestEcn = 9,
  kHostTso4 = 11,
  kHostTso6 = 12,
  kHostEcn = 13,
  kMergeableBuffers = 15,
  kStatus = 16,
  kControlQueue = 17,
  kControlReceive = 18,
  kControlVlan = 19,
  kGuestAnnounce = 21,
  kQueuePairs = 22,
  kControlAddress = 23,
  kAnyLayout = 27,
  kIndirect = 28,
  kEventIndex = 29,
  kVersion1 = 32,
  kPacked = 34,
  kInOrder = 35,
  kGuestUso4 = 54,
  kGuestUso6 = 55,
  kHostUso = 56,
};

constexpr uint64_t BitOf(VirtioFeature feature) { return uint64_t{1} << static_cast<uint8_t>(feature); }
constexpr bool Has(uint64_t features, VirtioFeature feature) { return (features & BitOf(feature)) != 0; }

uint64_t OfferedFeatures(const VhostNicOptions& options);

RingShape ShapeOf(uint64_t features, uint32_t size);
// What the guest leaves to us to finish of packets that go to it.
FinisherOptions WhatGuestFinishes(uint64_t features, uint32_t max_frame, PacketPool* pool);
std::vector<ModeInForce> ModesOf(const VhostNicOptions& options, bool connected, uint64_t features);

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_FEATURES_INTERNAL_H_

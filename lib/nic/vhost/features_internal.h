// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_FEATURES_INTERNAL_H_
#define SLUICE_NIC_VHOST_FEATURES_INTERNAL_H_

// What is offered to a guest, and what comes of what it took (virtio 1.2, 5.1.3 and 6).

#include <cstdint>
#include <vector>

#include "nic/offload/finisher_internal.h"
#include "nic/vhost/message_internal.h"
#include "nic/vhost/ring_internal.h"
#include "sluice/nic/mode.h"
#include "sluice/nic/vhost_nic.h"

namespace sluice {

uint64_t OfferedFeatures(const VhostNicOptions& options);
uint64_t RequiredFeatures(const VhostNicOptions& options);

RingShape ShapeOf(uint64_t features, uint32_t size);
// What the guest leaves to us to finish of packets that go to it.
FinisherOptions WhatGuestFinishes(uint64_t features, uint32_t max_frame, PacketPool* pool);
std::vector<ModeInForce> ModesOf(const VhostNicOptions& options, bool connected, uint64_t features);

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_FEATURES_INTERNAL_H_

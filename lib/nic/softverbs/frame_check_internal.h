// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_FRAME_CHECK_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_FRAME_CHECK_INTERNAL_H_

// The frame check sequence of Ethernet (IEEE 802.3, 3.2.9): four bytes behind a frame, as they are on the wire.

#include <array>
#include <cstdint>

#include "sluice/packet/packet.h"

namespace sluice {

using FrameCheck = std::array<uint8_t, 4>;

// Of the whole frame, across fragments. About 2 ns a byte.
FrameCheck FrameCheckOf(const Packet& packet);

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_FRAME_CHECK_INTERNAL_H_

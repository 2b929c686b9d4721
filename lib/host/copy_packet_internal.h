// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_HOST_COPY_PACKET_INTERNAL_H_
#define SLUICE_HOST_COPY_PACKET_INTERNAL_H_

#include "sluice/packet/packet_pool.h"

namespace sluice {

// A packet of `pool` with the same frame and metadata, in as many pieces as the pool's buffers need; the
// parsed layers are not copied. Null when the pool is dry, with nothing taken from it.
PacketPtr CopyPacket(PacketPool& pool, const Packet& packet);

}  // namespace sluice

#endif  // SLUICE_HOST_COPY_PACKET_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_MLX5_JOINED_INTERNAL_H_
#define SLUICE_NIC_VERBS_MLX5_JOINED_INTERNAL_H_

// Frames that an mlx5 card joined (LRO). Has met no card.
//
//   in memory   │ headers of the first segment, as they came │ payload of all │
//   completion  how many there were, their least TTL, the last acknowledgment and window, PSH, the sum of the payload
//
// What is in the headers is mended by what the completion tells, as Linux (mlx5e_lro_update_hdr) and DPDK do, so that the
// frame is one that a sender could have sent: RFC 9293 for TCP, RFC 791 and RFC 8200 for the rest.

#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "nic/verbs/mlx5_ring_internal.h"
#include "sluice/packet/packet.h"

namespace sluice {

// The most that headers may take, and far more than what a card looks through: so they are in the first piece of a packet.
inline constexpr uint32_t kMlx5JoinedHeaders = 256;

// How to undo it: as Packet::coalesced_segments and the like. The size is that of the first segment, if the others can have
// had it; of others the card does not tell, and it is then such that cutting gives about as many.
struct Mlx5Joined {
  uint16_t segments = 0;
  uint16_t size = 0;
  FixedIds ids{};  // guessed, where that means nothing: DF, and an id of zero
};

// Nothing when it cannot be: no TCP, longer headers, or less payload than segments. Its bytes are then undefined.
std::optional<Mlx5Joined> MendJoined(const Mlx5Completion& said, absl::Span<uint8_t> frame);

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_MLX5_JOINED_INTERNAL_H_

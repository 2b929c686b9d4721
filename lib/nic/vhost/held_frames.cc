// SPDX-License-Identifier: Apache-2.0
#include "nic/vhost/held_frames_internal.h"

namespace sluice {

void HeldFrames::Start(const RingShape& shape, bool logs) {
  SetLog(logs);
  const size_t places = std::bit_ceil(size_t{shape.size});
  frames_.resize(places);
  chains_.resize(places);
  mask_ = places - 1;
  frames_first_ = frames_end_ = chains_first_ = chains_end_ = 0;
}

void HeldFrames::Free(Packet* const* packets, size_t n) {
  const uint64_t held = std::exchange(held_of_burst_, 0);
  for (size_t i = 0; i < n; ++i) {
    if ((held >> i & 1) == 0) PacketPool::Put(&packets[i], 1);
  }
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "nic/vhost/chain_batch_internal.h"

namespace sluice {

RingFault ChainBatch::AddBuffer(const GuestMemory& memory, uint64_t guest, uint32_t bytes,
                                GuestMemory::Hint& hint) {
  if (bytes == 0) return RingFault::kEmptyDescriptor;
  while (bytes != 0) {
    if (!room_for_piece()) {
      full_ = true;
      return RingFault::kChainTooLong;
    }
    const absl::Span<uint8_t> found = memory.At(guest, bytes, hint);
    if (found.empty()) return RingFault::kNotInMemory;
    const auto here = static_cast<uint32_t>(found.size());
    pieces_[pieces_used_++] = {found.data(), here};
    guest += here;
    bytes -= here;
  }
  return RingFault::kNone;
}

// Lengths are of the guest's choice: what is more than can be counted is more than can be used, too.
void ChainBatch::AddChain(uint32_t id, uint32_t slots, uint64_t bytes) {
  const uint32_t first = first_free();
  chains_[chains_used_++] = {
      .id = id,
      .written = 0,
      .bytes = static_cast<uint32_t>(std::min<uint64_t>(bytes, std::numeric_limits<uint32_t>::max())),
      .slots = static_cast<uint16_t>(slots),
      .pieces = static_cast<uint16_t>(pieces_used_ - first),
      .first = first};
}

}  // namespace sluice

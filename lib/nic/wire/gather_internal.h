// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_GATHER_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_GATHER_INTERNAL_H_

#include <sys/uio.h>

#include <cstddef>

#include "absl/types/span.h"
#include "sluice/packet/packet.h"

namespace sluice {

// The pieces of a frame for a system call that takes them all. Returns how many; 0 when there are more than `parts`
// holds, or none.
inline size_t Gather(Packet& packet, absl::Span<iovec> parts) {
  size_t count = 0;
  for (Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    if (count == parts.size()) return 0;
    if (piece->head_length() != 0) parts[count++] = {piece->data(), piece->head_length()};
  }
  return count;
}

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_GATHER_INTERNAL_H_

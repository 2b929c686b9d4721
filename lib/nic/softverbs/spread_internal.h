// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_SPREAD_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_SPREAD_INTERNAL_H_

// Receive side scaling as verbs have it: the fields that were chosen, one by one, are hashed (Toeplitz), and the low bits
// of the hash choose a receive queue.
//
// What of the chosen fields a frame has is put together in the order of the headers: source address, destination
// address, source port, destination port. With all four that is Microsoft's input (packet/rss.h). A frame that has none
// of them is hashed as nothing, and goes to the first queue.
// Threads: under the lock of the device.

#include <cstdint>
#include <utility>
#include <vector>

#include "nic/softverbs/receive_queue_internal.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/rss.h"

namespace sluice {

struct SoftHashFields {
  bool source4 : 1 = false;
  bool destination4 : 1 = false;
  bool source6 : 1 = false;
  bool destination6 : 1 = false;
  bool tcp_source : 1 = false;
  bool tcp_destination : 1 = false;
  bool udp_source : 1 = false;
  bool udp_destination : 1 = false;
  bool inner : 1 = false;  // of the frame in a tunnel, where there is one
};

class SoftSpread {
 public:
  // The table has a power of two of entries.
  SoftSpread(absl::Span<const uint8_t> key, SoftHashFields fields, std::vector<SoftReceiveQueue*> table)
      : key_(key), fields_(fields), table_(std::move(table)) {}

  // Of a parsed packet.
  uint32_t Hash(const Packet& packet) const;
  SoftReceiveQueue& QueueFor(const Packet& packet) const {
    return table_.size() == 1 ? *table_[0] : *table_[Hash(packet) & (table_.size() - 1)];
  }
  // Null where there are several.
  SoftReceiveQueue* only() const { return table_.size() == 1 ? table_[0] : nullptr; }

 private:
  const ToeplitzKey key_;
  const SoftHashFields fields_;
  const std::vector<SoftReceiveQueue*> table_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_SPREAD_INTERNAL_H_

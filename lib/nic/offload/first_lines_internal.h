// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_OFFLOAD_FIRST_LINES_INTERNAL_H_
#define SLUICE_NIC_OFFLOAD_FIRST_LINES_INTERNAL_H_

// What a hop has to know of a burst, gathered in one pass over the first lines of its packets: without a
// branch, so that the fetches of many packets overlap. For nearly every burst the answer is that nothing has
// to be done.

#include <cstdint>

#include "sluice/packet/burst.h"
#include "sluice/packet/packet.h"

namespace sluice {

inline uint64_t BytesOf(const Burst& burst) {
  uint64_t bytes = 0;
  for (const Packet* packet : burst) bytes += packet->length();
  return bytes;
}

class FirstLines {
 public:
  static constexpr uint32_t kShortest = 14;  // an Ethernet header

  explicit FirstLines(uint32_t max_frame) : spread_(max_frame - kShortest) {}

  // Nothing here waits for what was added before but for one cycle: sums and ORs, where a maximum takes two.
  void Add(const Packet& packet) {
    const uint64_t lengths = packet.lengths();
    lengths_ += lengths;
    // Negative when the frame is too long; what is too short wraps round to that.
    outside_ |= spread_ - (static_cast<uint32_t>(lengths) - kShortest);
    requests_ = static_cast<uint8_t>(requests_ | packet.offload.flags());
  }

  uint32_t bytes() const { return static_cast<uint32_t>(lengths_); }
  bool any_outside() const { return outside_ < 0; }  // shorter than kShortest, or longer than max_frame
  bool any_request() const { return requests_ != 0; }
  bool any_fragments() const { return lengths_ >> 32 != bytes(); }

 private:
  const int64_t spread_;
  uint64_t lengths_ =
      0;  // the frames' below 2^32, their heads' above; a burst of frames within 65,535 is far from that
  int64_t outside_ = 0;
  uint8_t requests_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_OFFLOAD_FIRST_LINES_INTERNAL_H_

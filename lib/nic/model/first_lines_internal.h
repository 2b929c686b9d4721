// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_FIRST_LINES_INTERNAL_H_
#define SLUICE_NIC_MODEL_FIRST_LINES_INTERNAL_H_

// What a hop has to know of a burst, gathered in one pass over the first lines of its packets: without a
// branch, so that the fetches of many packets overlap. For nearly every burst the answer is that nothing has
// to be done.

#include <algorithm>
#include <cstdint>

#include "sluice/packet/packet.h"

namespace sluice {

class FirstLines {
 public:
  static constexpr uint32_t kShortest = 14;  // an Ethernet header

  void Add(const Packet& packet) {
    bytes_ += packet.length();
    // What is too short wraps round to something too long.
    longest_ = std::max(longest_, packet.length() - kShortest);
    requests_ = static_cast<uint8_t>(requests_ | packet.offload.flags());
    fragments_ |= reinterpret_cast<uintptr_t>(packet.next());
  }

  uint64_t bytes() const { return bytes_; }
  bool lengths_within(uint32_t max_frame) const { return longest_ <= max_frame - kShortest; }
  bool any_request() const { return requests_ != 0; }
  bool any_fragments() const { return fragments_ != 0; }

 private:
  uint64_t bytes_ = 0;
  uintptr_t fragments_ = 0;
  uint32_t longest_ = 0;
  uint8_t requests_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_FIRST_LINES_INTERNAL_H_

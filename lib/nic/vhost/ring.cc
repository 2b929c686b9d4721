// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>

#include "nic/vhost/guest_words_internal.h"
#include "nic/vhost/ring_internal.h"

namespace sluice {
namespace {

constexpr uint32_t kIndexBits = 15;
constexpr uint16_t kIndexMask = (1u << kIndexBits) - 1;
constexpr size_t kUsedIndex = offsetof(vring_used, idx);

struct FaultText {
  const char* name;
  const char* meaning;
};
constexpr std::array<FaultText, 15> kTexts = {{
    {"none", "Nothing is wrong."},
    {"index-jump", "The driver made more available than the ring holds."},
    {"head-out-of-range", "The available ring names a descriptor that is not there."},
    {"next-out-of-range", "A descriptor is followed by one that is not there."},
    {"chain-loop", "A chain has more descriptors than its table: it goes in a circle."},
    {"chain-too-long", "A chain is of more pieces than are accepted."},
    {"not-in-memory", "A buffer or a table lies outside the memory that the front-end shares."},
    {"empty-descriptor", "A descriptor has no bytes."},
    {"wrong-direction",
     "A buffer to be sent is marked for the device to write, or one to be filled, for it to read."},
    {"indirect-refused", "A table of descriptors was used without the feature INDIRECT_DESC."},
    {"nested-indirect", "A table of descriptors names another table."},
    {"indirect-chained", "A table of descriptors has more descriptors behind it."},
    {"indirect-length", "A table's length is no number of descriptors, or of more than may be."},
    {"id-out-of-range", "A packed ring's buffer id is not below the size of the ring."},
    {"inflight-broken", "What is noted as in flight contradicts itself, or the ring."},
}};
static_assert(kTexts.size() == static_cast<size_t>(RingFault::kInflightBroken) + 1);

uint32_t Pack(uint16_t index, bool wrap) { return index | uint32_t{wrap} << kIndexBits; }

}  // namespace

RingPosition RingPosition::OfSplit(const RingPlace& place) {
  const uint16_t used = Load<uint16_t>(place.device + kUsedIndex, __ATOMIC_RELAXED);
  return {.available = used, .used = used};
}

// The upper half says where chains were given back to. That is where they were taken to, for a device at rest has given back
// all; DPDK's driver leaves it out.
RingPosition RingPosition::OfPacked(uint32_t base) {
  const auto index = static_cast<uint16_t>(base & kIndexMask);
  const bool wrap = (base >> kIndexBits & 1) != 0;
  return {.available = index, .used = index, .available_wrap = wrap, .used_wrap = wrap};
}

uint32_t RingPosition::Base(bool packed) const {
  return packed ? Pack(available, available_wrap) | Pack(used, used_wrap) << 16 : available;
}

RingAreas RingAreas::Of(uint32_t size, bool packed) {
  const uint64_t descriptors = uint64_t{size} * sizeof(vring_desc);
  if (packed) return {descriptors, sizeof(vring_packed_desc_event), sizeof(vring_packed_desc_event)};
  // Behind either ring lies an event index, whether it is negotiated or not.
  return {.descriptors = descriptors,
          .driver = sizeof(vring_avail) + sizeof(uint16_t) * (uint64_t{size} + 1),
          .device = sizeof(vring_used) + sizeof(vring_used_elem) * uint64_t{size} + sizeof(uint16_t)};
}

uint64_t GuestAddressOf(const GuestMemory& memory, const uint8_t* at) {
  for (const GuestRegion& region : memory.regions()) {
    if (at >= region.here && at < region.here + region.bytes)
      return region.guest + static_cast<uint64_t>(at - region.here);
  }
  return 0;
}

absl::string_view Name(RingFault fault) { return kTexts[static_cast<size_t>(fault)].name; }
absl::string_view Meaning(RingFault fault) { return kTexts[static_cast<size_t>(fault)].meaning; }

}  // namespace sluice

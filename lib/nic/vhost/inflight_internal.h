// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_INFLIGHT_INTERNAL_H_
#define SLUICE_NIC_VHOST_INFLIGHT_INTERNAL_H_

// The memory in which a back-end notes what it has taken from a ring, so that its successor can take it again (vhost-user,
// "Inflight I/O tracking"): a region for each ring, one after the other.
//
// Each begins at a multiple of 64 bytes. The document is silent on that; the back-ends at large do it so, and one may follow
// the other. What is done with it is in split_notes_internal.h and packed_notes_internal.h.

#include <cstddef>
#include <cstdint>

namespace sluice {

struct VhostInflightSplitEntry {
  uint8_t inflight;
  uint8_t padding[5];
  uint16_t next;
  uint64_t counter;
};
static_assert(sizeof(VhostInflightSplitEntry) == 16 && offsetof(VhostInflightSplitEntry, next) == 6);

struct VhostInflightSplit {
  uint64_t features;
  uint16_t version;  // 0: nobody has written here yet; else 1
  uint16_t entries;
  uint16_t last_batch_head;
  uint16_t used_index;
  // VhostInflightSplitEntry of each descriptor
};
static_assert(sizeof(VhostInflightSplit) == 16);

struct VhostInflightPackedEntry {
  uint8_t inflight;
  uint8_t padding;
  uint16_t next;
  uint16_t last;
  uint16_t count;
  uint64_t counter;
  uint16_t id;
  uint16_t flags;
  uint32_t length;
  uint64_t address;
};
static_assert(sizeof(VhostInflightPackedEntry) == 32 && offsetof(VhostInflightPackedEntry, address) == 24);

struct VhostInflightPacked {
  uint64_t features;
  uint16_t version;
  uint16_t entries;
  uint16_t free_head;
  uint16_t old_free_head;
  uint16_t used_index;
  uint16_t old_used_index;
  uint8_t used_wrap;
  uint8_t old_used_wrap;
  uint8_t padding[7];
  // VhostInflightPackedEntry of each descriptor
};
static_assert(sizeof(VhostInflightPacked) == 32 && offsetof(VhostInflightPacked, old_used_wrap) == 21);

inline constexpr uint16_t kVhostInflightVersion = 1;
inline constexpr size_t kVhostInflightAlignment = 64;
static_assert(offsetof(VhostInflightSplit, version) == offsetof(VhostInflightPacked, version));

// Of one ring of so many entries.
constexpr size_t VhostInflightBytes(bool packed, size_t entries) {
  const size_t bytes = packed ? sizeof(VhostInflightPacked) + entries * sizeof(VhostInflightPackedEntry)
                              : sizeof(VhostInflightSplit) + entries * sizeof(VhostInflightSplitEntry);
  return (bytes + kVhostInflightAlignment - 1) / kVhostInflightAlignment * kVhostInflightAlignment;
}

// Reads a field that the front-end may change at any time, once.
template <typename Field>
Field NoteRead(const Field& field) {
  return __atomic_load_n(&field, __ATOMIC_RELAXED);
}
// Writes one, behind all that was written before.
template <typename Field>
void Note(Field& field, Field value) {
  __atomic_store_n(&field, value, __ATOMIC_RELEASE);
}

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_INFLIGHT_INTERNAL_H_

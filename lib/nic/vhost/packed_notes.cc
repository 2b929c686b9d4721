// SPDX-License-Identifier: Apache-2.0
#define VIRTIO_RING_NO_LEGACY  // the rest of it is no C++
#include <linux/virtio_ring.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "nic/vhost/guest_words_internal.h"
#include "nic/vhost/packed_notes_internal.h"

namespace sluice {
namespace {

constexpr uint16_t kAvailable = 1u << VRING_PACKED_DESC_F_AVAIL;
constexpr uint16_t kUsed = 1u << VRING_PACKED_DESC_F_USED;

// The words of the header that change whole.
struct HeadsWord {
  uint16_t version;
  uint16_t entries;
  uint16_t free_head;
  uint16_t old_free_head;
};
struct PlacesWord {
  uint16_t used_index;
  uint16_t old_used_index;
  uint8_t used_wrap;
  uint8_t old_used_wrap;
  uint16_t padding = 0;
};
constexpr size_t kHeads = offsetof(VhostInflightPacked, version);
constexpr size_t kPlaces = offsetof(VhostInflightPacked, used_index);
static_assert(sizeof(HeadsWord) == sizeof(uint64_t) && kHeads % sizeof(uint64_t) == 0);
static_assert(sizeof(PlacesWord) == sizeof(uint64_t) && kPlaces % sizeof(uint64_t) == 0);

}  // namespace

PackedNotes::PackedNotes(uint8_t* region, const uint8_t* ring, uint32_t size)
    : region_(region),
      header_(reinterpret_cast<VhostInflightPacked*>(region)),
      entries_(reinterpret_cast<VhostInflightPackedEntry*>(region + sizeof(VhostInflightPacked))),
      ring_(ring),
      size_(size),
      next_(size),
      last_(size),
      out_(size) {}

std::optional<PackedNotes::Place> PackedNotes::TakeOver(Place start) {
  const uint16_t version = NoteRead(header_->version);
  if (version == 0) {
    Begin(start);
    return start;
  }
  if (version != kVhostInflightVersion || NoteRead(header_->entries) != size_) return std::nullopt;
  Lists lists = Read();
  if (lists.used.index >= size_ || lists.old_used.index >= size_) return std::nullopt;
  // A batch that the driver has seen counts as given back, one that it has not seen as in flight still.
  const bool shown = lists.used != lists.old_used && WasShown(lists.old_used);
  free_ = shown_free_ = shown ? lists.free : lists.old_free;
  shown_used_ = shown ? lists.used : lists.old_used;
  for (uint32_t i = 0; i < size_; ++i) next_[i] = NoteRead(entries_[i].next);
  std::vector<bool> seen(size_);
  if (!FindFree(seen) || !FindInFlight(seen)) return std::nullopt;
  NoteFree(free_);
  NoteUsed(shown_used_, shown_used_);
  return shown_used_;
}

// Whatever else is there is rubbish. The version last: it says that the rest holds.
void PackedNotes::Begin(Place start) {
  for (uint32_t i = 0; i < size_; ++i) {
    next_[i] = static_cast<uint16_t>(i + 1);
    Note(entries_[i].next, next_[i]);
    Note(entries_[i].inflight, uint8_t{0});
  }
  shown_used_ = start;
  Note(header_->features, uint64_t{0});
  NoteUsed(start, start);
  NoteFree(free_);
}

PackedNotes::Lists PackedNotes::Read() const {
  const auto heads = std::bit_cast<HeadsWord>(Load<uint64_t>(region_ + kHeads, __ATOMIC_RELAXED));
  const auto places = std::bit_cast<PlacesWord>(Load<uint64_t>(region_ + kPlaces, __ATOMIC_RELAXED));
  return {.free = heads.free_head,
          .old_free = heads.old_free_head,
          .used = {places.used_index, places.used_wrap != 0},
          .old_used = {places.old_used_index, places.old_used_wrap != 0}};
}

// Once it was, the driver may have made it available again, in the next round.
bool PackedNotes::WasShown(Place at) const {
  const auto flags = Load<uint16_t>(
      ring_ + sizeof(vring_packed_desc) * at.index + offsetof(vring_packed_desc, flags), __ATOMIC_RELAXED);
  return (flags & (kAvailable | kUsed)) != (at.wrap ? kAvailable : kUsed);
}

// Of what is in the list nothing is in flight. It ends with what is no entry.
bool PackedNotes::FindFree(std::vector<bool>& seen) {
  for (uint16_t at = free_; at < size_; at = next_[at]) {
    if (seen[at]) return false;
    seen[at] = true;
    Note(entries_[at].inflight, uint8_t{0});
  }
  return true;
}

// Each entry is in the list, or in one chain.
bool PackedNotes::FindInFlight(std::vector<bool>& seen) {
  std::vector<std::pair<uint64_t, uint16_t>> found;  // counter, first entry
  for (uint32_t i = 0; i < size_; ++i) {
    if (NoteRead(entries_[i].inflight) != 0)
      found.emplace_back(NoteRead(entries_[i].counter), static_cast<uint16_t>(i));
  }
  std::sort(found.begin(), found.end());
  for (const auto& [counter, first] : found) {
    if (!Add(first, seen)) return false;
    counter_ = counter + 1;
  }
  return std::all_of(seen.begin(), seen.end(), [](bool one) { return one; });
}

bool PackedNotes::Add(uint16_t first, std::vector<bool>& seen) {
  const uint16_t count = NoteRead(entries_[first].count);
  again_.push_back({.first = first, .slots = count});
  if (count == 0) return false;
  uint16_t at = first;
  for (uint16_t i = 0; i < count; ++i, at = next_[at]) {
    if (at >= size_ || seen[at]) return false;
    seen[at] = true;
    last_[first] = at;
    in_flight_.push_back({.inflight = 1,
                          .padding = 0,
                          .next = 0,
                          .last = 0,
                          .count = count,
                          .counter = 0,
                          .id = NoteRead(entries_[at].id),
                          .flags = NoteRead(entries_[at].flags),
                          .length = NoteRead(entries_[at].length),
                          .address = NoteRead(entries_[at].address)});
  }
  return true;
}

// What is taken again keeps its counter, and so its place, should this process die as well. It has as many descriptors as
// before, unless the guest changed them: then there might be too few entries for what comes later.
bool PackedNotes::Take(uint16_t index, const RingChain* chains, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (again_taken_ == again_.size()) {
      PushOut(NoteChain(index, chains[i].slots));
    } else if (again_[again_taken_].slots == chains[i].slots) {
      PushOut(again_[again_taken_++].first);
    } else {
      return false;
    }
    index = static_cast<uint16_t>((index + chains[i].slots) % size_);
  }
  NoteFree(shown_free_ = free_);
  return true;
}

// Into the first free entries: there are as many as the ring has slots that are not out. Returns the first.
uint16_t PackedNotes::NoteChain(uint16_t index, uint32_t slots) {
  const uint16_t first = free_;
  Note(entries_[first].count, static_cast<uint16_t>(slots));
  Note(entries_[first].counter, counter_++);
  Note(entries_[first].inflight, uint8_t{1});
  for (uint32_t i = 0; i < slots; ++i) {
    VhostInflightPackedEntry& entry = entries_[free_];
    const uint8_t* const at = ring_ + sizeof(vring_packed_desc) * ((index + i) % size_);
    const auto rest = ReadOnce<uint64_t>(at + offsetof(vring_packed_desc, len));
    Note(entry.address, ReadOnce<uint64_t>(at));
    Note(entry.length, static_cast<uint32_t>(rest));
    Note(entry.id, static_cast<uint16_t>(rest >> 32));
    Note(entry.flags, static_cast<uint16_t>(rest >> 48));
    last_[first] = free_;
    free_ = next_[free_];
  }
  Note(entries_[first].last, last_[first]);
  return first;
}

void PackedNotes::Show(Place used) {
  for (size_t i = 0; i < given_; ++i) {
    const uint16_t last = last_[OutAt(i)];
    next_[last] = free_;
    Note(entries_[last].next, free_);
    free_ = OutAt(i);
  }
  NoteFree(shown_free_);
  NoteUsed(used, shown_used_);
}

void PackedNotes::Shown(Place used) {
  for (size_t i = 0; i < given_; ++i) Note(entries_[OutAt(i)].inflight, uint8_t{0});
  shown_free_ = free_;
  shown_used_ = used;
  NoteFree(free_);
  NoteUsed(used, used);
  out_first_ = (out_first_ + given_) % size_;
  out_count_ -= given_;
  given_ = 0;
}

void PackedNotes::NoteFree(uint16_t old_free) {
  const HeadsWord heads = {.version = kVhostInflightVersion,
                           .entries = static_cast<uint16_t>(size_),
                           .free_head = free_,
                           .old_free_head = old_free};
  Store(region_ + kHeads, std::bit_cast<uint64_t>(heads), __ATOMIC_RELEASE);
}

void PackedNotes::NoteUsed(Place used, Place old_used) {
  const PlacesWord places = {.used_index = used.index,
                             .old_used_index = old_used.index,
                             .used_wrap = used.wrap,
                             .old_used_wrap = old_used.wrap};
  Store(region_ + kPlaces, std::bit_cast<uint64_t>(places), __ATOMIC_RELEASE);
}

}  // namespace sluice

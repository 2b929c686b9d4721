// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "nic/vhost/split_notes_internal.h"

namespace sluice {

SplitNotes::SplitNotes(uint8_t* region, uint32_t size)
    : header_(reinterpret_cast<VhostInflightSplit*>(region)),
      entries_(reinterpret_cast<VhostInflightSplitEntry*>(region + sizeof(VhostInflightSplit))),
      size_(size) {
  given_.reserve(size);
}

bool SplitNotes::TakeOver(uint16_t used, uint16_t available) {
  const uint16_t version = NoteRead(header_->version);
  if (version == 0) {
    Begin(used);
    return true;
  }
  if (version != kVhostInflightVersion || NoteRead(header_->entries) != size_) return false;
  last_batch_head_ = NoteRead(header_->last_batch_head);
  if (!Settle(static_cast<uint16_t>(used - NoteRead(header_->used_index)))) return false;
  Note(header_->used_index, used);
  FindInFlight();
  return again() <= static_cast<uint16_t>(available - used);
}

// Whatever else is there is rubbish. The version last: it says that the rest holds.
void SplitNotes::Begin(uint16_t used) {
  for (uint32_t i = 0; i < size_; ++i) Note(entries_[i].inflight, uint8_t{0});
  Note(header_->features, uint64_t{0});
  Note(header_->entries, static_cast<uint16_t>(size_));
  Note(header_->last_batch_head, last_batch_head_);
  Note(header_->used_index, used);
  Note(header_->version, kVhostInflightVersion);
}

// Notes as given back what the driver has seen already: the first of the list, as many as the last batch had.
bool SplitNotes::Settle(uint16_t batch) {
  if (batch > size_) return false;
  uint16_t head = last_batch_head_;
  for (uint16_t i = 0; i < batch; ++i) {
    if (head >= size_) return false;
    Note(entries_[head].inflight, uint8_t{0});
    head = NoteRead(entries_[head].next);
  }
  return true;
}

void SplitNotes::FindInFlight() {
  std::vector<std::pair<uint64_t, uint16_t>> found;  // counter, head
  for (uint32_t i = 0; i < size_; ++i) {
    if (NoteRead(entries_[i].inflight) != 0)
      found.emplace_back(NoteRead(entries_[i].counter), static_cast<uint16_t>(i));
  }
  std::sort(found.begin(), found.end());
  for (const auto& [counter, head] : found) again_.push_back(head);
  if (!found.empty()) counter_ = found.back().first + 1;
}

// What is taken again keeps its counter, and so its place, should this process die as well.
void SplitNotes::Take(const RingChain* chains, size_t n) {
  if (again() != 0) {
    again_taken_ += n;
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    VhostInflightSplitEntry& entry = entries_[chains[i].id];
    Note(entry.counter, counter_++);
    Note(entry.inflight, uint8_t{1});
  }
}

void SplitNotes::GiveBack(const RingChain* chains, size_t n) {
  for (size_t i = 0; i < n; ++i) given_.push_back(static_cast<uint16_t>(chains[i].id));
}

void SplitNotes::Show() {
  for (const uint16_t head : given_) {
    Note(entries_[head].next, last_batch_head_);
    last_batch_head_ = head;
    Note(header_->last_batch_head, head);
  }
}

void SplitNotes::Shown(uint16_t used) {
  for (const uint16_t head : given_) Note(entries_[head].inflight, uint8_t{0});
  Note(header_->used_index, used);
  given_.clear();
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "nic/vhost/guest_words_internal.h"
#include "nic/vhost/packed_ring_internal.h"

namespace sluice {
namespace {

constexpr size_t kDescriptor = sizeof(vring_packed_desc);
constexpr size_t kRest = offsetof(vring_packed_desc, len);  // length, id and flags, in one word
constexpr size_t kFlags = offsetof(vring_packed_desc, flags);
constexpr size_t kEventFlags = offsetof(vring_packed_desc_event, flags);
constexpr uint16_t kAvailable = 1u << VRING_PACKED_DESC_F_AVAIL;
constexpr uint16_t kUsed = 1u << VRING_PACKED_DESC_F_USED;
constexpr uint16_t kKinds = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT;
constexpr uint16_t kWrapBit = 1u << VRING_PACKED_EVENT_F_WRAP_CTR;

}  // namespace

void PackedRing::Start(const RingShape& shape, const RingPlace& place, const RingPosition& position) {
  shape_ = shape;
  taken_ = {position.available, position.available_wrap};
  used_ = shown_ = {position.used, position.used_wrap};
  const bool same_round = taken_.wrap == used_.wrap;
  outstanding_ = taken_.index + (same_round ? 0 : shape.size) - used_.index;
  unshown_ = 0;
  pending_ = false;
  never_called_ = true;
  notes_ = nullptr;
  Replace(place);
  fault_ = place.inflight.here == nullptr || TakeOverNotes() ? RingFault::kNone : RingFault::kInflightBroken;
}

// Puts the descriptors that were in flight back as the driver had made them available, where what is given back next begins:
// so they are found there first. The device that died may have written there already, and behind the first of a batch also that
// they are used: to be seen by the driver once the first one is.
bool PackedRing::TakeOverNotes() {
  notes_ = std::make_unique<PackedNotes>(place_.inflight.here, place_.descriptors, shape_.size);
  const std::optional<Place> start = notes_->TakeOver(used_);
  if (!start) return false;
  taken_ = used_ = shown_ = *start;
  outstanding_ = 0;
  Place at = used_;
  for (const VhostInflightPackedEntry& noted : notes_->InFlight()) {
    PutBack(at, noted);
    at = After(at, 1);
  }
  return true;
}

void PackedRing::PutBack(Place place, const VhostInflightPackedEntry& noted) {
  uint8_t* const at = place_.descriptors + kDescriptor * place.index;
  const auto flags = static_cast<uint16_t>((noted.flags & kKinds) | (place.wrap ? kAvailable : kUsed));
  Store<uint64_t>(at, noted.address, __ATOMIC_RELAXED);
  Store<uint64_t>(at + kRest, noted.length | uint64_t{noted.id} << 32 | uint64_t{flags} << 48,
                  __ATOMIC_RELEASE);
  if (place_.log != nullptr) LogDescriptor(place.index);
}

void PackedRing::Replace(const RingPlace& place) {
  place_ = place;
  hint_ = {};
  descriptors_guest_ = GuestAddressOf(*place_.memory, place_.descriptors);
  device_guest_ = GuestAddressOf(*place_.memory, place_.device);
  if (notes_ != nullptr) notes_->Replace(place_.descriptors);
  AskForKicks(false);
}

RingPosition PackedRing::position() const {
  return {
      .available = taken_.index, .used = used_.index, .available_wrap = taken_.wrap, .used_wrap = used_.wrap};
}

void PackedRing::Fetch(ChainBatch& batch, size_t most, bool writable) {
  if (fault_ != RingFault::kNone) return;
  uint32_t room = shape_.size - outstanding_;
  Place at = taken_;
  const size_t n = std::min(most, ChainBatch::kChains);
  while (batch.size() < n) {
    const auto plain =
        static_cast<uint32_t>(FetchPlain(batch, at, std::min<size_t>(n - batch.size(), room), writable));
    at = After(at, plain);
    room -= plain;
    if (batch.size() == n || !IsAvailable(at)) return;
    const uint32_t slots = FetchOdd(batch, at, room, writable);
    if (slots == 0) return;
    at = After(at, slots);
    room -= slots;
  }
}

// Those of one descriptor each, in the region of the one before, as most are: up to the first that is not, or is not there.
size_t PackedRing::FetchPlain(ChainBatch& batch, Place at, size_t most, bool writable) {
  const GuestMemory::Window window = place_.memory->window(hint_);
  const uint16_t plain = writable ? VRING_DESC_F_WRITE : 0;
  const uint32_t size = shape_.size;
  return batch.AddPlain(most, [&](RingChain& chain, RingPiece& piece) {
    if (!IsAvailable(at)) return false;
    const Descriptor descriptor = Read(place_.descriptors + kDescriptor * at.index);
    at = After(at, 1);
    chain.SetPlain(descriptor.id(), descriptor.bytes());
    piece = {window.At(descriptor.address), descriptor.bytes()};
    return (descriptor.flags() & kKinds) == plain && descriptor.id() < size &&
           window.Outside(descriptor.address, descriptor.bytes()) >= 0;
  });
}

// A chain of any kind, looked at afresh: several descriptors, which lie one behind the other, or a table; or what is wrong with
// it. Returns how many slots it takes, or 0. The id is in the last of them (2.8.6).
uint32_t PackedRing::FetchOdd(ChainBatch& batch, Place at, uint32_t room, bool writable) {
  if (room == 0) return Fail(batch, RingFault::kIndexJump);
  Descriptor descriptor = Read(place_.descriptors + kDescriptor * at.index);
  uint64_t bytes = 0;
  for (uint32_t slots = 1;; ++slots) {
    if (slots > room) return Fail(batch, RingFault::kChainLoop);
    if ((descriptor.flags() & VRING_DESC_F_INDIRECT) != 0) {
      // It stands alone: nothing before it, nothing behind it (2.8.19).
      if (slots != 1 || (descriptor.flags() & VRING_DESC_F_NEXT) != 0)
        return Fail(batch, RingFault::kIndirectChained);
      if (!AddTable(batch, descriptor, writable, bytes)) return 0;
    } else {
      if (!AddPieces(batch, descriptor, writable)) return 0;
      bytes += descriptor.bytes();
    }
    if ((descriptor.flags() & VRING_DESC_F_NEXT) == 0) {
      if (descriptor.id() >= shape_.size) return Fail(batch, RingFault::kIdOutOfRange);
      batch.AddChain(descriptor.id(), slots, bytes);
      return slots;
    }
    at = After(at, 1);
    descriptor = Read(place_.descriptors + kDescriptor * at.index);
  }
}

// Descriptors in a table follow one another, and know of no flag but that for writing (2.8.7).
bool PackedRing::AddTable(ChainBatch& batch, const Descriptor& table, bool writable, uint64_t& bytes) {
  if (!shape_.indirect) return Fail(batch, RingFault::kIndirectRefused);
  if (table.bytes() == 0 || table.bytes() % kDescriptor != 0) return Fail(batch, RingFault::kIndirectLength);
  const absl::Span<uint8_t> found = place_.memory->At(table.address, table.bytes(), hint_);
  if (found.size() != table.bytes()) return Fail(batch, RingFault::kNotInMemory);
  for (size_t offset = 0; offset < found.size(); offset += kDescriptor) {
    const Descriptor descriptor = Read(found.data() + offset);
    if ((descriptor.flags() & VRING_DESC_F_INDIRECT) != 0) return Fail(batch, RingFault::kNestedIndirect);
    if (!AddPieces(batch, descriptor, writable)) return false;
    bytes += descriptor.bytes();
  }
  return true;
}

bool PackedRing::AddPieces(ChainBatch& batch, const Descriptor& descriptor, bool writable) {
  if (((descriptor.flags() & VRING_DESC_F_WRITE) != 0) != writable)
    return Fail(batch, RingFault::kWrongDirection);
  const RingFault fault = batch.AddBuffer(*place_.memory, descriptor.address, descriptor.bytes(), hint_);
  return fault == RingFault::kNone || Fail(batch, fault);
}

// False, always. What is wrong behind good chains is found again when it is at the front.
bool PackedRing::Fail(ChainBatch& batch, RingFault fault) {
  if (batch.size() == 0) fault_ = fault;
  batch.DropPieces();
  return false;
}

// Acquire: what the flags stand for, in this descriptor and in those of its chain, is read behind them, and not before it is
// there.
bool PackedRing::IsAvailable(Place place) const {
  const uint8_t* const at = place_.descriptors + kDescriptor * place.index;
  const auto flags = Load<uint16_t>(at + kFlags, __ATOMIC_ACQUIRE);
  return (flags & (kAvailable | kUsed)) == (place.wrap ? kAvailable : kUsed);
}

PackedRing::Descriptor PackedRing::Read(const uint8_t* at) {
  return {.address = ReadOnce<uint64_t>(at), .rest = ReadOnce<uint64_t>(at + kRest)};
}

void PackedRing::Take(const RingChain* chains, size_t n) {
  uint32_t slots = 0;
  for (size_t i = 0; i < n; ++i) slots += chains[i].slots;
  if (notes_ != nullptr && !notes_->Take(taken_.index, chains, n)) [[unlikely]] {
    fault_ = RingFault::kInflightBroken;
    notes_ = nullptr;
  }
  outstanding_ += slots;
  taken_ = After(taken_, slots);
}

void PackedRing::GiveBack(const RingChain* chains, size_t n) {
  if (notes_ != nullptr) [[unlikely]]
    notes_->GiveBack(n);
  for (size_t i = 0; i < n; ++i) PutUsed(chains[i], chains[i].slots);
}

// In order, one descriptor may stand for those before it, too, in the place of the first (2.8.9).
void PackedRing::GiveBackUnwritten(const RingChain* chains, size_t n) {
  if (!shape_.in_order) return GiveBack(chains, n);
  if (n == 0) return;
  uint32_t slots = 0;
  for (size_t i = 0; i < n; ++i) slots += chains[i].slots;
  if (notes_ != nullptr) [[unlikely]]
    notes_->GiveBack(n);
  PutUsed(chains[n - 1], slots);
}

// The first since the driver was last shown something waits: behind it, it sees none of the others. Each is written whole, so that
// one which was not shown is as the driver made it.
void PackedRing::PutUsed(const RingChain& chain, uint32_t slots) {
  uint8_t* const at = place_.descriptors + kDescriptor * used_.index;
  const int write = chain.written != 0 ? VRING_DESC_F_WRITE : 0;
  const auto flags = static_cast<uint16_t>((used_.wrap ? kAvailable | kUsed : 0) | write);
  const uint64_t rest = chain.written | uint64_t{chain.id} << 32 | uint64_t{flags} << 48;
  if (pending_) {
    Store<uint64_t>(at + kRest, rest, __ATOMIC_RELEASE);
    if (place_.log != nullptr) [[unlikely]]
      LogDescriptor(used_.index);
  } else {
    shown_ = used_;
    first_rest_ = rest;
    pending_ = true;
  }
  used_ = After(used_, slots);
  unshown_ += slots;
}

bool PackedRing::Publish() {
  if (!pending_) return false;
  pending_ = false;
  outstanding_ -= std::exchange(unshown_, 0);
  if (notes_ != nullptr) [[unlikely]]
    notes_->Show(used_);
  // Release: the others, and the frames, are there before it.
  Store<uint64_t>(place_.descriptors + kDescriptor * shown_.index + kRest, first_rest_, __ATOMIC_RELEASE);
  if (notes_ != nullptr) [[unlikely]]
    notes_->Shown(used_);
  if (place_.log != nullptr) [[unlikely]]
    LogDescriptor(shown_.index);
  // The driver says what it wants to be called for and then looks at the ring again; we do it the other way round. One of
  // the two sees what the other did.
  GuestFence();
  return WantsCall();
}

// 2.8.10. An index in the round before ours is as far back as the ring is long.
bool PackedRing::WantsCall() {
  const auto event = Load<uint32_t>(place_.driver, __ATOMIC_RELAXED);
  const auto flags = static_cast<uint16_t>(event >> 16);
  const bool first = std::exchange(never_called_, false);
  if (flags != VRING_PACKED_EVENT_FLAG_DESC || !shape_.event_index)
    return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
  const auto wanted = static_cast<uint16_t>(event);
  const uint32_t back = ((wanted & kWrapBit) != 0) == used_.wrap ? 0 : shape_.size;
  const uint32_t before = shown_.index - (shown_.wrap == used_.wrap ? 0 : shape_.size);
  const uint32_t at = (wanted & ~uint32_t{kWrapBit}) - back;
  return first ||
         vring_need_event(static_cast<uint16_t>(at), used_.index, static_cast<uint16_t>(before)) != 0;
}

void PackedRing::AskForKicks(bool wanted) {
  uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;
  if (wanted) flags = shape_.event_index ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;
  if (wanted) {
    const uint32_t at = taken_.index | (taken_.wrap ? kWrapBit : 0);
    Store<uint16_t>(place_.device, static_cast<uint16_t>(at), __ATOMIC_RELAXED);
  }
  // Release: the place is there before the flag that says that it counts.
  Store<uint16_t>(place_.device + kEventFlags, flags, __ATOMIC_RELEASE);
  if (place_.log != nullptr) place_.log->Mark(device_guest_, sizeof(vring_packed_desc_event));
  // As in Publish: either the driver sees the wish, or we, in waiting(), what it made available.
  if (wanted) GuestFence();
}

bool PackedRing::waiting() const { return IsAvailable(taken_); }

void PackedRing::LogDescriptor(uint32_t index) const {
  place_.log->Mark(descriptors_guest_ + kDescriptor * index, kDescriptor);
}

}  // namespace sluice

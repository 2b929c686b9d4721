// SPDX-License-Identifier: Apache-2.0
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "nic/vhost/guest_words_internal.h"
#include "nic/vhost/split_ring_internal.h"

namespace sluice {
namespace {

constexpr size_t kAvailableIndex = offsetof(vring_avail, idx);
constexpr size_t kHeads = sizeof(vring_avail);
constexpr size_t kUsedIndex = offsetof(vring_used, idx);
constexpr size_t kElements = sizeof(vring_used);
constexpr size_t kElement = sizeof(vring_used_elem);
constexpr size_t kDescriptor = sizeof(vring_desc);
// A table may be longer than the ring: Linux makes such ones. A descriptor's next names no more.
constexpr uint32_t kLongestTable = 65536;

static_assert(offsetof(RingChain, id) == offsetof(vring_used_elem, id));
static_assert(offsetof(RingChain, written) == offsetof(vring_used_elem, len));

// As ReadOnce.
TwoWords ReadTwoWords(const uint8_t* at) {
  TwoWords words;
  std::memcpy(&words, at, sizeof(words));
  asm volatile("" : "+x"(words));
  return words;
}

bool AnySign(TwoWords words) {
#if defined(__SSE2__)
  return _mm_movemask_pd(std::bit_cast<__m128d>(words)) != 0;
#else
  return static_cast<int64_t>(words[0] | words[1]) < 0;
#endif
}

}  // namespace

void SplitRing::Start(const RingShape& shape, const RingPlace& place, const RingPosition& position) {
  shape_ = shape;
  mask_ = static_cast<uint16_t>(shape.size - 1);
  taken_ = position.available;
  used_ = shown_ = position.used;
  never_called_ = true;
  notes_ = nullptr;
  Replace(place);
  fault_ = place.inflight.here == nullptr || TakeOverNotes() ? RingFault::kNone : RingFault::kInflightBroken;
}

bool SplitRing::TakeOverNotes() {
  notes_ = std::make_unique<SplitNotes>(place_.inflight.here, shape_.size);
  return notes_->TakeOver(used_, Load<uint16_t>(place_.driver + kAvailableIndex, __ATOMIC_ACQUIRE));
}

void SplitRing::Replace(const RingPlace& place) {
  place_ = place;
  hint_ = {};
  device_guest_ = GuestAddressOf(*place_.memory, place_.device);
  AskForKicks(false);
}

void SplitRing::Fetch(ChainBatch& batch, size_t most, bool writable) {
  if (fault_ != RingFault::kNone) return;
  // 1. Look. Acquire: the heads and descriptors that the index stands for are read after it.
  const uint16_t available = Load<uint16_t>(place_.driver + kAvailableIndex, __ATOMIC_ACQUIRE);
  const uint16_t waiting = static_cast<uint16_t>(available - taken_);
  if (waiting == 0) return;
  // Those that were taken and not given back count as well, behind which an index that went back would stand.
  if (uint32_t{waiting} + static_cast<uint16_t>(taken_ - shown_) > shape_.size) {
    fault_ = RingFault::kIndexJump;
    return;
  }
  size_t n = std::min({size_t{waiting}, most, ChainBatch::kChains});

  // 2. The heads. Their descriptors are on the way while the rest is looked at: of four, which mostly share a line, one.
  std::array<uint16_t, ChainBatch::kChains> heads;
  ReadHeads(heads.data(), n);
  for (size_t i = 0; i < n; i += kLine / kDescriptor)
    __builtin_prefetch(place_.descriptors + kDescriptor * (heads[i] & mask_));
  if (notes_ != nullptr) [[unlikely]]
    n = HeadsInFlight(heads.data(), n);

  // 3. The descriptors.
  for (size_t i = 0; i < n; ++i) {
    i += FetchPlain(batch, &heads[i], n - i, writable);
    if (i < n && !FetchOdd(batch, heads[i], writable)) return;
  }
}

// Of the next `n` chains, which may be at the ring's end and its beginning.
void SplitRing::ReadHeads(uint16_t* heads, size_t n) const {
  const uint8_t* const ring = place_.driver + kHeads;
  const size_t first = taken_ & mask_;
  const size_t until_end = std::min<size_t>(n, shape_.size - first);
  std::memcpy(heads, ring + sizeof(uint16_t) * first, sizeof(uint16_t) * until_end);
  std::memcpy(heads + until_end, ring, sizeof(uint16_t) * (n - until_end));
  asm volatile("" : : : "memory");  // from here on they are in private memory: see ReadOnce
}

// Those of one descriptor each, in the region of the one before, as most are: up to the first that is not. All that may be
// wrong with one is made a sign of a word, for one branch:
//
//   descriptor             address                     length, flags, next
//   place                  offset in the region        length, or more where the flags are not those of a plain one
//   rest                   region behind the offset    what a length may have above it
//   rest - length          region behind the buffer
size_t SplitRing::FetchPlain(ChainBatch& batch, const uint16_t* heads, size_t n, bool writable) {
  constexpr uint64_t kAll = ~uint64_t{0}, kNoNext = kAll >> 16, kLongest = 0xffff'ffff;
  const GuestMemory::Window window = place_.memory->window(hint_);
  const TwoWords base = {window.guest, 0}, shift = {window.shift, 0}, most = {window.bytes, kLongest};
  const TwoWords plain = {0, uint64_t{writable ? VRING_DESC_F_WRITE : 0u} << 32}, kept = {kAll, kNoNext};
  const uint8_t* const descriptors = place_.descriptors;
  const uint64_t last = mask_;
  return batch.AddPlain(n, [&](RingChain& chain, RingPiece& piece) {
    const uint64_t id = *heads++;
    const TwoWords descriptor = ReadTwoWords(descriptors + kDescriptor * (id & last));
    piece.SetWords(descriptor + shift);
    const TwoWords place = ((descriptor - base) ^ plain) & kept;
    const TwoWords length = __builtin_shufflevector(place, TwoWords{}, 1, 2);
    chain.SetWords(__builtin_shufflevector(TwoWords{id}, place | RingChain::kOneEach, 0, 3));
    const TwoWords rest = most - place;
    return id <= last && !AnySign((place - TwoWords{0, 1}) | rest | (rest - length));
  });
}

// Those that were in flight stand for the first of the ring, which may have been others: with a batch of their own.
size_t SplitRing::HeadsInFlight(uint16_t* heads, size_t n) const {
  const size_t again = std::min(n, notes_->again());
  for (size_t i = 0; i < again; ++i) heads[i] = notes_->again(i);
  return again != 0 ? again : n;
}

// A chain of any kind, looked at afresh: several descriptors, a table of them, or both (2.7.5.3.2); or what is wrong with it.
bool SplitRing::FetchOdd(ChainBatch& batch, uint16_t head, bool writable) {
  if (head > mask_) return Fail(batch, RingFault::kHeadOutOfRange);
  Table table{place_.descriptors, shape_.size, false};
  Descriptor descriptor = Read(table.at + kDescriptor * head);
  uint64_t bytes = 0;
  for (uint32_t steps = 1;; ++steps) {
    if (steps > table.size) return Fail(batch, RingFault::kChainLoop);
    if ((descriptor.flags() & VRING_DESC_F_INDIRECT) != 0) {
      if (const RingFault fault = Open(descriptor, table); fault != RingFault::kNone)
        return Fail(batch, fault);
      descriptor = Read(table.at);
      steps = 0;
      continue;
    }
    if (!AddPieces(batch, descriptor, writable)) return false;
    bytes += descriptor.bytes();
    if ((descriptor.flags() & VRING_DESC_F_NEXT) == 0) break;
    if (descriptor.next() >= table.size) return Fail(batch, RingFault::kNextOutOfRange);
    descriptor = Read(table.at + kDescriptor * descriptor.next());
  }
  batch.AddChain(head, 1, bytes);
  return true;
}

// From a descriptor to the table that it names.
RingFault SplitRing::Open(const Descriptor& descriptor, Table& table) {
  if (!shape_.indirect) return RingFault::kIndirectRefused;
  if (table.indirect) return RingFault::kNestedIndirect;
  if ((descriptor.flags() & VRING_DESC_F_NEXT) != 0) return RingFault::kIndirectChained;
  const auto size = static_cast<uint32_t>(descriptor.bytes() / kDescriptor);
  if (size == 0 || size > kLongestTable || descriptor.bytes() % kDescriptor != 0)
    return RingFault::kIndirectLength;
  const absl::Span<uint8_t> found = place_.memory->At(descriptor.address, descriptor.bytes(), hint_);
  if (found.size() != descriptor.bytes()) return RingFault::kNotInMemory;
  table = {found.data(), size, true};
  return RingFault::kNone;
}

bool SplitRing::AddPieces(ChainBatch& batch, const Descriptor& descriptor, bool writable) {
  if (((descriptor.flags() & VRING_DESC_F_WRITE) != 0) != writable)
    return Fail(batch, RingFault::kWrongDirection);
  const RingFault fault = batch.AddBuffer(*place_.memory, descriptor.address, descriptor.bytes(), hint_);
  return fault == RingFault::kNone || Fail(batch, fault);
}

// False, always. What is wrong behind good chains is found again when it is at the front.
bool SplitRing::Fail(ChainBatch& batch, RingFault fault) {
  if (batch.size() == 0) fault_ = fault;
  batch.DropPieces();
  return false;
}

SplitRing::Descriptor SplitRing::Read(const uint8_t* at) {
  return {.address = ReadOnce<uint64_t>(at), .rest = ReadOnce<uint64_t>(at + offsetof(vring_desc, len))};
}

void SplitRing::GiveBack(const RingChain* chains, size_t n) {
  if (notes_ != nullptr) [[unlikely]]
    notes_->GiveBack(chains, n);
  for (size_t i = 0; i < n; ++i) PutElement(static_cast<uint16_t>(used_ + i), chains[i]);
  LogElements(n);
  used_ = static_cast<uint16_t>(used_ + n);
}

// In order, one element may stand for those before it, too, in the place of the first (2.7.9).
void SplitRing::GiveBackUnwritten(const RingChain* chains, size_t n) {
  if (!shape_.in_order) return GiveBack(chains, n);
  if (n == 0) return;
  if (notes_ != nullptr) [[unlikely]]
    notes_->GiveBack(chains, n);
  PutElement(used_, chains[n - 1]);
  LogElements(1);
  used_ = static_cast<uint16_t>(used_ + n);
}

void SplitRing::PutElement(uint16_t index, const RingChain& chain) {
  std::memcpy(place_.device + kElements + kElement * (index & mask_), &chain.id, kElement);
}

bool SplitRing::Publish() {
  if (shown_ == used_) return false;
  if (notes_ != nullptr) [[unlikely]]
    notes_->Show();
  // Release: the elements, and the frames that they stand for, are there before the index.
  Store<uint16_t>(place_.device + kUsedIndex, used_, __ATOMIC_RELEASE);
  if (notes_ != nullptr) [[unlikely]]
    notes_->Shown(used_);
  if (place_.log != nullptr) [[unlikely]]
    Log(kUsedIndex, sizeof(uint16_t));
  const uint16_t before = std::exchange(shown_, used_);
  // The driver says what it wants to be called for and then looks at the index again; we do it the other way round. One of
  // the two sees what the other did.
  GuestFence();
  return WantsCall(before);
}

void SplitRing::GiveUpInFlight() {
  while (notes_ != nullptr && notes_->again() != 0) {
    const RingChain chain{
        .id = notes_->again(0), .written = 0, .bytes = 0, .slots = 1, .pieces = 0, .first = 0};
    Take(&chain, 1);
    GiveBack(&chain, 1);
  }
}

bool SplitRing::WantsCall(uint16_t before) {
  if (!shape_.event_index)
    return (Load<uint16_t>(place_.driver, __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
  const uint8_t* const event = place_.driver + kHeads + sizeof(uint16_t) * shape_.size;
  const bool first = std::exchange(never_called_, false);
  return first || vring_need_event(Load<uint16_t>(event, __ATOMIC_RELAXED), used_, before) != 0;
}

void SplitRing::AskForKicks(bool wanted) {
  if (shape_.event_index) {
    // A kick is for the step from this index to the next one. One behind us is not met again.
    const size_t offset = kElements + kElement * shape_.size;
    Store<uint16_t>(place_.device + offset, static_cast<uint16_t>(wanted ? taken_ : taken_ - 1),
                    __ATOMIC_RELAXED);
    if (place_.log != nullptr) Log(offset, sizeof(uint16_t));
  } else {
    Store<uint16_t>(place_.device, wanted ? 0 : VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
    if (place_.log != nullptr) Log(0, sizeof(uint16_t));
  }
  // As in Publish: either the driver sees the wish, or we, in waiting(), what it made available.
  if (wanted) GuestFence();
}

bool SplitRing::waiting() const {
  return Load<uint16_t>(place_.driver + kAvailableIndex, __ATOMIC_RELAXED) != taken_;
}

// Of the next `n` elements, which may be at the ring's end and its beginning.
void SplitRing::LogElements(size_t n) const {
  if (place_.log == nullptr) [[likely]]
    return;
  const size_t first = used_ & mask_;
  const size_t until_end = std::min<size_t>(n, shape_.size - first);
  Log(kElements + kElement * first, kElement * until_end);
  Log(kElements, kElement * (n - until_end));
}

void SplitRing::Log(uint64_t offset, uint64_t bytes) const {
  place_.log->Mark(device_guest_ + offset, bytes);
}

}  // namespace sluice

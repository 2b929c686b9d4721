// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <thread>

#include "host/address_table_internal.h"

namespace sluice {
namespace {

// Successive outputs of SplitMix64, to make a key out of one seed.
uint64_t NextRandom(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Newton's iteration: each step doubles the number of right bits, from the 3 that any odd number has.
uint64_t InverseOf(uint64_t odd) {
  uint64_t inverse = odd;
  for (int step = 0; step < 5; ++step) inverse *= 2 - odd * inverse;
  return inverse & kAddressKeyMask;
}

// Four addresses for six slots at most. 1,024 is the least that leaves tag and port room in one word.
size_t BucketsFor(uint32_t max_addresses) {
  return std::max<size_t>(1024, std::bit_ceil((max_addresses + size_t{3}) / 4));
}

}  // namespace

AddressTable::AddressTable(const Options& options)
    : bits_(std::countr_zero(BucketsFor(options.max_addresses))),
      mask_(BucketsFor(options.max_addresses) - 1),
      ageing_(static_cast<int16_t>(options.ageing)),
      buckets_(std::make_unique<Bucket[]>(mask_ + 1)),
      owned_(options.max_ports),
      owner_slot_(bucket_count() * kSlots) {
  uint64_t state = options.seed;
  for (size_t i = 0; i < multipliers_.size(); ++i) {
    multipliers_[i] = NextRandom(state) | 1;
    inverses_[i] = InverseOf(multipliers_[i]);
  }
  offset_ = NextRandom(state) & kAddressKeyMask;
}

uint64_t AddressTable::Unmix(uint64_t mixed) const {
  for (size_t i = inverses_.size(); i-- > 0;) {
    mixed ^= mixed >> 32;
    mixed = (mixed * inverses_[i]) & kAddressKeyMask;
  }
  return mixed ^ offset_;
}

// Named by the tag alone and by exclusive-or, so that the way back is the way there.
size_t AddressTable::OtherBucket(size_t bucket, uint64_t tag) const {
  return bucket ^ (((tag * 0x9e3779b97f4a7c15) >> 40 & mask_) | 1);
}

uint64_t AddressTable::KeyAt(size_t bucket, uint64_t word) const {
  const uint64_t tag = word >> kTagShift;
  const size_t home = (word & kAway) != 0 ? OtherBucket(bucket, tag) : bucket;
  return Unmix(tag << bits_ | home);
}

// The entry may be gone by the time that it is read again: that is no match.
AddressTable::Match AddressTable::Scan(const Bucket& bucket, uint64_t want) {
  unsigned same = 0;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    same |= unsigned{Compare(bucket, want, slot) <= kPortMask} << slot;
  }
  if (same == 0) return {kNowhere, 0};
  const auto slot = static_cast<size_t>(std::countr_zero(same));
  return {Compare(bucket, want, slot), slot};
}

uint32_t AddressTable::FindAway(uint64_t mixed, Tick now) const {
  const Bucket& other = buckets_[OtherBucket(BucketOf(mixed), TagOf(mixed))];
  const Match match = Search(other, TagOf(mixed) << kTagShift | kInUse | kAway);
  if (match.port > kPortMask) return kNowhere;
  if (TooOld(other.seen[match.slot].load(std::memory_order_relaxed), now)) return kNowhere;
  return static_cast<uint32_t>(match.port);
}

// Learning.
// -----------------------------------------------------------------------------------------------------------
AddressTable::Learned AddressTable::Learn(uint64_t mixed, PortId port, Tick now, uint64_t& evicted) {
  Owned& owned = owned_[port.value()];
  if (owned.bound == 0) return Learned::kNoRoom;
  Place place = PlaceOf(mixed);
  if (place != kNowhere && TooOld(seen(place), now)) {
    Clear(place);
    place = kNowhere;
  }
  if (place != kNowhere && (entry(place) & kPortMask) == port.value()) {
    Refresh(mixed, port, now);
    return Learned::kKnown;
  }

  if (owned.slots.size() >= owned.bound) {
    Clear(Victim(owned, now));
    ++evicted;
  }
  if (place != kNowhere) {
    const uint64_t word = entry(place).load(std::memory_order_relaxed);
    Disown(place);
    Write(place, (word & ~kPortMask) | port.value(), now);
    return Learned::kMoved;
  }

  const size_t home = BucketOf(mixed);
  const uint64_t tag = TagOf(mixed);
  const uint64_t word = tag << kTagShift | kInUse | port.value();
  const size_t other = OtherBucket(home, tag);
  if (const Place at_home = FreePlace(home, tag, now); at_home != kNowhere) {
    Write(at_home, word, now);
  } else if (const Place away = FreePlace(other, tag, now); away != kNowhere) {
    Write(away, word | kAway, now);
  } else if (MakePlace(home, now)) {
    Write(FreePlace(home, tag, now), word, now);
  } else if (MakePlace(other, now)) {
    Write(FreePlace(other, tag, now), word | kAway, now);
  } else {
    return Learned::kNoRoom;
  }
  return Learned::kNew;
}

void AddressTable::Restore(const Entry& entry, Tick now) {
  uint64_t evicted = 0;
  Learn(Mix(entry.key), entry.port, static_cast<Tick>(now - entry.age), evicted);
}

AddressTable::Place AddressTable::PlaceOf(uint64_t mixed) const {
  const uint64_t want = TagOf(mixed) << kTagShift | kInUse;
  const size_t home = BucketOf(mixed);
  if (const Match match = Search(buckets_[home], want); match.port <= kPortMask) {
    return static_cast<Place>(home * kSlots + match.slot);
  }
  const size_t other = OtherBucket(home, TagOf(mixed));
  const Match match = Search(buckets_[other], want | kAway);
  return match.port <= kPortMask ? static_cast<Place>(other * kSlots + match.slot) : kNowhere;
}

AddressTable::Place AddressTable::FreePlace(size_t bucket, uint64_t tag, Tick now) {
  for (size_t i = 0; i < kSlots; ++i) {
    const auto place = static_cast<Place>(bucket * kSlots + (PreferredSlot(tag) + i) % kSlots);
    const bool used = entry(place).load(std::memory_order_relaxed) != 0;
    if (used && TooOld(seen(place), now)) Clear(place);
    if (entry(place).load(std::memory_order_relaxed) == 0) return place;
  }
  return kNowhere;
}

// Moves one entry of a full bucket to its other bucket. Only one that is at home: a reader looks at home
// first, so it meets the entry in the old place or in the new one.
bool AddressTable::MakePlace(size_t bucket, Tick now) {
  for (size_t slot = 0; slot < kSlots; ++slot) {
    const auto from = static_cast<Place>(bucket * kSlots + slot);
    const uint64_t word = entry(from).load(std::memory_order_relaxed);
    if ((word & kAway) != 0) continue;
    const uint64_t tag = word >> kTagShift;
    const Place to = FreePlace(OtherBucket(bucket, tag), tag, now);
    if (to == kNowhere) continue;
    Write(to, word | kAway, seen(from));
    Clear(from);
    return true;
  }
  return false;
}

// Changing one entry, and who owns it.
// -----------------------------------------------------------------------------------------------------------
void AddressTable::Write(Place place, uint64_t word, Tick at) {
  buckets_[place / kSlots].seen[place % kSlots].store(at, std::memory_order_relaxed);
  entry(place).store(word, std::memory_order_release);
  Own(place);
}

void AddressTable::Clear(Place place) {
  Disown(place);
  entry(place).store(0, std::memory_order_release);
}

void AddressTable::Own(Place place) {
  std::vector<Place>& slots = owned_[entry(place) & kPortMask].slots;
  owner_slot_[place] = static_cast<uint32_t>(slots.size());
  slots.push_back(place);  // reserved by SetBound
}

void AddressTable::Disown(Place place) {
  std::vector<Place>& slots = owned_[entry(place) & kPortMask].slots;
  const uint32_t gap = owner_slot_[place];
  slots[gap] = slots.back();
  owner_slot_[slots[gap]] = gap;
  slots.pop_back();
}

// The least recently seen of the next few, so that addresses in use outlive a flood of others.
AddressTable::Place AddressTable::Victim(Owned& owned, Tick now) const {
  constexpr size_t kLookAt = 8;
  Place oldest = kNowhere;
  int16_t oldest_age = 0;
  for (size_t i = 0; i < std::min(kLookAt, owned.slots.size()); ++i) {
    if (owned.hand >= owned.slots.size()) owned.hand = 0;
    const Place place = owned.slots[owned.hand++];
    const auto age = static_cast<int16_t>(now - seen(place));
    if (oldest == kNowhere || age > oldest_age) {
      oldest = place;
      oldest_age = age;
    }
  }
  return oldest;
}

// Control.
// -----------------------------------------------------------------------------------------------------------
bool AddressTable::WaitLock() {
  while (!TryLock()) std::this_thread::yield();
  return true;
}

void AddressTable::SetBound(PortId port, uint32_t bound) {
  Owned& owned = owned_[port.value()];
  owned.bound = bound;
  while (owned.slots.size() > bound) Clear(owned.slots.back());
  // One more than the bound: MakePlace owns the new place before it gives up the old one.
  owned.slots.reserve(size_t{bound} + 1);
}

size_t AddressTable::Forget(PortId port) {
  std::vector<Place>& slots = owned_[port.value()].slots;
  const size_t forgotten = slots.size();
  while (!slots.empty()) Clear(slots.back());
  return forgotten;
}

size_t AddressTable::Expire(Tick now, size_t count) {
  size_t expired = 0;
  for (size_t i = 0; i < count; ++i) {
    sweep_ = (sweep_ + 1) & mask_;
    for (size_t slot = 0; slot < kSlots; ++slot) {
      const auto place = static_cast<Place>(sweep_ * kSlots + slot);
      if (entry(place).load(std::memory_order_relaxed) == 0 || !TooOld(seen(place), now)) continue;
      Clear(place);
      ++expired;
    }
  }
  return expired;
}

std::vector<AddressTable::Entry> AddressTable::List(Tick now) const {
  std::vector<Entry> list;
  for (size_t bucket = 0; bucket < bucket_count(); ++bucket) {
    for (size_t slot = 0; slot < kSlots; ++slot) {
      const auto place = static_cast<Place>(bucket * kSlots + slot);
      const uint64_t word = entry(place).load(std::memory_order_acquire);
      if (word == 0 || TooOld(seen(place), now)) continue;
      const auto age = static_cast<int16_t>(now - seen(place));
      list.push_back({KeyAt(bucket, word), PortId(static_cast<uint16_t>(word & kPortMask)),
                      static_cast<Tick>(std::max<int16_t>(age, 0))});
    }
  }
  return list;
}

}  // namespace sluice

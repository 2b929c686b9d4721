// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_HOST_ADDRESS_TABLE_INTERNAL_H_
#define SLUICE_HOST_ADDRESS_TABLE_INTERNAL_H_

// Which port a (VLAN, MAC address) was last seen on. Many workers look up and learn at once; none ever waits.
//
//   (VLAN, MAC): 60 bits ──Mix, a keyed permutation──▶ │ tag │ bucket │
//
//   bucket, one cache line:  │ entry 0 │ ... │ entry 5 │ last seen 0-5 │
//   entry, one 64-bit word:  │ tag │ away │ in use │ port, 12 bits │
//
// Because Mix loses nothing, tag and bucket are together the whole key: one word is a whole entry, and a
// reader can see an old one or a new one, but never half of one. An entry lives in its own bucket or, *away*,
// in one other bucket that its tag names; when both are full, a neighbour is moved to its own other bucket.
// In a bucket it takes one of the two slots that its tag prefers, if it can: a look-up looks there first.
// The table is sized so that it can hold max_addresses with a third of its slots free.
//
// Threads: Find and Refresh from any, without a lock. What changes entries (Learn, Forget, Expire) needs the
//   Learner, which one thread holds at a time; a worker that does not get it at once goes on without
//   learning.
// Isolation: each port has room for its own bound of addresses, and only its own are evicted to make room.
// Not for security proofs: Mix keeps a sender from aiming at a bucket as long as it cannot see the key.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/base/counters.h"
#include "sluice/base/ids.h"

namespace sluice {

// 60 bits: the VLAN above the address, whose first byte is lowest.
using AddressKey = uint64_t;
constexpr AddressKey MakeAddressKey(uint16_t vlan, uint64_t mac) {
  return (static_cast<uint64_t>(vlan) << 48) | mac;
}

// Seconds, wrapping: compared by difference. Entries must be swept more often than every nine hours.
using Tick = uint16_t;

class AddressTable {
 public:
  struct Options {
    uint32_t max_addresses = 65536;
    uint16_t max_ports = 64;  // at most 4096
    uint16_t ageing = 300;    // ticks without a frame after which an address is unknown
    uint64_t seed = 0;        // of the key
  };
  enum class Learned : uint8_t { kNew, kMoved, kKnown, kNoRoom };
  struct Entry {
    AddressKey key = 0;
    PortId port;
    Tick age = 0;
  };
  static constexpr uint32_t kNowhere = UINT32_MAX;

  explicit AddressTable(const Options& options);

  // Look-up, any thread. A mixed key is good for this table only.
  // ---------------------------------------------------------------------------------------------------------
  static constexpr uint64_t kNoKey = ~uint64_t{0};  // what Mix never gives
  uint64_t Mix(AddressKey key) const;
  void Prefetch(uint64_t mixed) const { __builtin_prefetch(&buckets_[BucketOf(mixed)]); }

  // The port, or kNowhere when the address is unknown or too old.
  uint32_t Find(uint64_t mixed, Tick now) const;
  // True when `port` is what the table says already; notes that the address was seen. False: Learn it.
  bool Refresh(uint64_t mixed, PortId port, Tick now);

  // Change. Made by the holder of the Learner.
  // ---------------------------------------------------------------------------------------------------------
  struct Wait {};
  static constexpr Wait kWait{};  // for control, which may

  class Learner {
   public:
    explicit Learner(AddressTable& table) : table_(table), holds_(table.TryLock()) {}
    Learner(AddressTable& table, Wait) : table_(table), holds_(table.WaitLock()) {}
    ~Learner() {
      if (holds_) table_.learning_.store(false, std::memory_order_release);
    }
    Learner(const Learner&) = delete;
    Learner& operator=(const Learner&) = delete;
    explicit operator bool() const { return holds_; }

   private:
    AddressTable& table_;
    const bool holds_;
  };

  // How many addresses the port may hold from now on; forgets what is above it.
  void SetBound(PortId port, uint32_t bound);
  // `evicted` grows when an older address of the same port had to go.
  Learned Learn(uint64_t mixed, PortId port, Tick now, uint64_t& evicted);
  // Learns with an age, for restored state.
  void Restore(const Entry& entry, Tick now);
  size_t Forget(PortId port);
  // Sweeps the next `count` buckets, and returns how many entries were too old.
  size_t Expire(Tick now, size_t count);
  // Those not too old, in no order.
  std::vector<Entry> List(Tick now) const;

  size_t bucket_count() const { return mask_ + 1; }
  size_t size(PortId port) const { return owned_[port.value()].slots.size(); }

 private:
  static constexpr size_t kSlots = 6;
  static constexpr uint64_t kInUse = 1 << 12;
  static constexpr uint64_t kAway = 1 << 13;
  static constexpr uint64_t kPortMask = kInUse - 1;
  static constexpr int kTagShift = 14;

  struct alignas(kCacheLine) Bucket {
    std::array<std::atomic<uint64_t>, kSlots> entries{};
    std::array<std::atomic<Tick>, kSlots> seen{};
  };
  static_assert(sizeof(Bucket) == kCacheLine, "a look-up touches one line");

  // Where an entry is, as bucket * kSlots + slot.
  using Place = uint32_t;
  // The places of one port, for its bound and to find a victim without a scan of the table.
  struct Owned {
    std::vector<Place> slots;
    uint32_t bound = 0;
    uint32_t hand = 0;
  };

  bool TryLock() {
    return !learning_.load(std::memory_order_relaxed) && !learning_.exchange(true, std::memory_order_acquire);
  }
  bool WaitLock();

  size_t BucketOf(uint64_t mixed) const { return mixed & mask_; }
  uint64_t TagOf(uint64_t mixed) const { return mixed >> bits_; }
  size_t OtherBucket(size_t bucket, uint64_t tag) const;
  // The first of the two slots that the tag prefers, in whichever bucket: 0, 2 or 4.
  static size_t PreferredSlot(uint64_t tag) { return ((tag & 0xff) * (kSlots / 2) >> 8) * 2; }
  uint64_t KeyAt(size_t bucket, uint64_t word) const;
  uint64_t Unmix(uint64_t mixed) const;
  bool TooOld(Tick seen, Tick now) const { return static_cast<int16_t>(now - seen) > ageing_; }

  struct Match {
    uint64_t port;  // above kPortMask: no match
    size_t slot;
  };
  static uint64_t Compare(const Bucket& bucket, uint64_t want, size_t slot);
  static Match Search(const Bucket& bucket, uint64_t want);
  static Match Scan(const Bucket& bucket, uint64_t want);
  uint32_t FindAway(uint64_t mixed, Tick now) const;
  Place PlaceOf(uint64_t mixed) const;
  Place FreePlace(size_t bucket, uint64_t tag, Tick now);
  bool MakePlace(size_t bucket, Tick now);
  void Write(Place place, uint64_t word, Tick seen);
  void Clear(Place place);
  void Own(Place place);
  void Disown(Place place);
  Place Victim(Owned& owned, Tick now) const;

  std::atomic<uint64_t>& entry(Place place) { return buckets_[place / kSlots].entries[place % kSlots]; }
  const std::atomic<uint64_t>& entry(Place place) const {
    return buckets_[place / kSlots].entries[place % kSlots];
  }
  Tick seen(Place place) const {
    return buckets_[place / kSlots].seen[place % kSlots].load(std::memory_order_relaxed);
  }

  const int bits_;
  const size_t mask_;
  const int16_t ageing_;
  std::array<uint64_t, 2> multipliers_;  // odd
  std::array<uint64_t, 2> inverses_;     // of the multipliers, modulo 2^60
  uint64_t offset_;
  const std::unique_ptr<Bucket[]> buckets_;

  // Guarded by learning_.
  std::vector<Owned> owned_;          // by port
  std::vector<uint32_t> owner_slot_;  // by place: its index in the owner's slots
  size_t sweep_ = 0;
  alignas(kCacheLine) std::atomic<bool> learning_{false};
};

// Hot paths.
// -----------------------------------------------------------------------------------------------------------
inline constexpr uint64_t kAddressKeyMask = (uint64_t{1} << 60) - 1;

// Two rounds of multiply and fold; each is a permutation of 60 bits, since the factors are odd and the fold
// is by more than half the width.
inline uint64_t AddressTable::Mix(AddressKey key) const {
  uint64_t mixed = key ^ offset_;
  for (const uint64_t multiplier : multipliers_) {
    mixed = (mixed * multiplier) & kAddressKeyMask;
    mixed ^= mixed >> 32;
  }
  return mixed;
}

// What an entry in the slot says beside what is wanted: the port, if it is that entry.
inline uint64_t AddressTable::Compare(const Bucket& bucket, uint64_t want, size_t slot) {
  // Acquire: whoever reads a port here has seen everything that its owner did before learning it.
  return bucket.entries[slot].load(std::memory_order_acquire) ^ want;
}

// Without a branch between the two: which of them holds the entry is random, and a wrong guess costs more than both.
inline AddressTable::Match AddressTable::Search(const Bucket& bucket, uint64_t want) {
  const size_t slot = PreferredSlot(want >> kTagShift);
  const uint64_t first = Compare(bucket, want, slot);
  const uint64_t second = Compare(bucket, want, slot + 1);
  const Match match{std::min(first, second), slot + (second < first)};
  return match.port <= kPortMask ? match : Scan(bucket, want);
}

inline uint32_t AddressTable::Find(uint64_t mixed, Tick now) const {
  const Bucket& home = buckets_[BucketOf(mixed)];
  const Match match = Search(home, TagOf(mixed) << kTagShift | kInUse);
  if (match.port > kPortMask) return FindAway(mixed, now);
  if (TooOld(home.seen[match.slot].load(std::memory_order_relaxed), now)) return kNowhere;
  return static_cast<uint32_t>(match.port);
}

inline bool AddressTable::Refresh(uint64_t mixed, PortId port, Tick now) {
  Bucket* bucket = &buckets_[BucketOf(mixed)];
  Match match = Search(*bucket, TagOf(mixed) << kTagShift | kInUse);
  if (match.port > kPortMask) {
    bucket = &buckets_[OtherBucket(BucketOf(mixed), TagOf(mixed))];
    match = Search(*bucket, TagOf(mixed) << kTagShift | kInUse | kAway);
  }
  if (match.port != port.value()) return false;
  std::atomic<Tick>& seen = bucket->seen[match.slot];
  const Tick last = seen.load(std::memory_order_relaxed);
  if (last == now) return true;
  if (TooOld(last, now)) return false;
  // Lost against a change of the slot by a Learner, this makes another entry a little younger: harmless.
  seen.store(now, std::memory_order_relaxed);
  return true;
}

}  // namespace sluice

#endif  // SLUICE_HOST_ADDRESS_TABLE_INTERNAL_H_

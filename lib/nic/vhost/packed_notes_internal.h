// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_PACKED_NOTES_INTERNAL_H_
#define SLUICE_NIC_VHOST_PACKED_NOTES_INTERNAL_H_

// What a packed ring has in flight, noted where it outlives this process (vhost-user, "Inflight I/O tracking").
//
// A device writes into the descriptors that it gives back, and where it stands only it knows: so the descriptors are copied, each
// into an entry of the region, and the position is there too. Entries that are free make a list; a chain has as many of
// them as slots, in the order of the list, and is known by the first.
//
//   Take        descriptors and counter into the first free entries; then both heads of the list behind them
//   Show        entries of what is given back to the front of the list: head and position, but not the old ones
//               ── the driver sees the flags of the first descriptor given back ──
//   Shown       inflight = 0 of each; then the old head and position, too
//
// Who comes after one that died between Show and Shown finds two positions that differ, and in the ring, at the old one, whether
// the driver has seen the batch. Two words of the header change whole, heads and positions: so no store finds half of either.
//
// The memory is the front-end's, too. It is read in TakeOver alone, each word once, and checked there.
// Threads: the ring's.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "nic/vhost/chain_batch_internal.h"
#include "nic/vhost/inflight_internal.h"

namespace sluice {

class PackedNotes {
 public:
  // A place in the ring, and the wrap counter there.
  struct Place {
    uint16_t index = 0;
    bool wrap = true;
    bool operator==(const Place&) const = default;
  };

  // For a ring of `size` descriptors, which are at `ring`, in a region for at least as many.
  PackedNotes(uint8_t* region, const uint8_t* ring, uint32_t size);
  // The same ring elsewhere.
  void Replace(const uint8_t* ring) { ring_ = ring; }

  // Goes on from what the one before has noted, or, if it has noted nothing, from `start` on. Nothing when the region cannot be
  // of this ring; else where the driver finds what is given back next, and what is taken next lies.
  std::optional<Place> TakeOver(Place start);
  // Descriptors of the chains that were in flight then, in the order in which those were taken: they are taken again before any
  // other.
  absl::Span<const VhostInflightPackedEntry> InFlight() const { return in_flight_; }

  // From the descriptor at `index` on. False when what is taken again is not what it was.
  bool Take(uint16_t index, const RingChain* chains, size_t n);
  void GiveBack(size_t n) { given_ += n; }
  // Before and after the driver sees what was given back, up to `used`.
  void Show(Place used);
  void Shown(Place used);

 private:
  struct Lists {
    uint16_t free = 0, old_free = 0;
    Place used, old_used;
  };
  struct Chain {
    uint16_t first;  // entry
    uint16_t slots;
  };
  void Begin(Place start);
  Lists Read() const;
  bool WasShown(Place at) const;
  bool FindFree(std::vector<bool>& seen);
  bool FindInFlight(std::vector<bool>& seen);
  bool Add(uint16_t first, std::vector<bool>& seen);
  uint16_t NoteChain(uint16_t index, uint32_t slots);
  void PushOut(uint16_t first) { out_[(out_first_ + out_count_++) % size_] = first; }
  uint16_t OutAt(size_t i) const { return out_[(out_first_ + i) % size_]; }
  void NoteFree(uint16_t old_free);
  void NoteUsed(Place used, Place old_used);

  uint8_t* const region_;
  VhostInflightPacked* const header_;
  VhostInflightPackedEntry* const entries_;
  const uint8_t* ring_;
  const uint32_t size_;
  uint64_t counter_ = 0;

  // As in the region, but out of the front-end's reach.
  std::vector<uint16_t> next_;  // of each entry
  std::vector<uint16_t> last_;  // of each chain's first entry
  uint16_t free_ = 0;           // head of the list
  uint16_t shown_free_ = 0;     // as it was when the driver last saw anything
  Place shown_used_;

  std::vector<uint16_t> out_;  // first entries of the chains that are out, in order: a ring
  size_t out_first_ = 0;
  size_t out_count_ = 0;
  size_t given_ = 0;  // the first of those, since Shown

  std::vector<VhostInflightPackedEntry> in_flight_;
  std::vector<Chain> again_;  // the same, by chains
  size_t again_taken_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_PACKED_NOTES_INTERNAL_H_

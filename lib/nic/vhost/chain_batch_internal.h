// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_CHAIN_BATCH_INTERNAL_H_
#define SLUICE_NIC_VHOST_CHAIN_BATCH_INTERNAL_H_

// Chains of descriptors as they were read from a ring, each once, and checked: private memory, which the guest cannot change.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"
#include "nic/vhost/guest_memory_internal.h"
#include "nic/vhost/ring_internal.h"

namespace sluice {

// Handled at once, as most machines can.
using TwoWords = uint64_t __attribute__((vector_size(16)));

// Bytes in one place, all of them in the guest's memory.
struct RingPiece {
  uint8_t* at;
  uint32_t bytes;

  // What is above the length counts for nothing.
  void SetWords(TwoWords words) { std::memcpy(reinterpret_cast<uint8_t*>(this), &words, sizeof(words)); }
};
static_assert(sizeof(RingPiece) == sizeof(TwoWords) && offsetof(RingPiece, bytes) == 8);

struct RingChain {
  uint32_t id;       // what the driver knows it by: a split ring's head, a packed ring's buffer id
  uint32_t written;  // bytes that we put there: with the id, a used element of 2.7.8
  uint32_t bytes;    // that it has room for, or brings
  uint16_t slots;    // entries of the ring that it takes: 1, in a packed ring as many as its descriptors
  uint16_t pieces;
  uint32_t first;  // of its pieces

  // All but `first` in two words, for chains of one slot and one piece, of which nothing is written.
  static constexpr uint64_t kOneEach = uint64_t{0x0001'0001} << 32;
  void SetPlain(uint64_t of, uint64_t room) { SetWords(TwoWords{of, room | kOneEach}); }
  void SetWords(TwoWords words) { std::memcpy(reinterpret_cast<uint8_t*>(this), &words, sizeof(words)); }
};
static_assert(offsetof(RingChain, written) == 4 && offsetof(RingChain, bytes) == 8 &&
              offsetof(RingChain, slots) == 12 && offsetof(RingChain, pieces) == 14);

class ChainBatch {
 public:
  static constexpr size_t kChains = 64;
  static constexpr size_t kPieces = 512;  // of all chains; so also the most that one may have

  void Clear() {
    chains_used_ = pieces_used_ = 0;
    full_ = false;
  }
  size_t size() const { return chains_used_; }
  // Whether that is why it has no more of them.
  bool full() const { return full_ || chains_used_ == kChains; }
  RingChain& operator[](size_t i) { return chains_[i]; }
  const RingChain& operator[](size_t i) const { return chains_[i]; }
  absl::Span<const RingPiece> pieces(const RingChain& chain) const {
    return {&pieces_[chain.first], chain.pieces};
  }
  // Of all chains from one on: they lie one behind the other.
  absl::Span<const RingPiece> PiecesFrom(size_t i) const {
    return {&pieces_[chains_[i].first], pieces_used_ - chains_[i].first};
  }
  const RingPiece& first_piece(const RingChain& chain) const { return pieces_[chain.first]; }

  // For rings, which fill it: the pieces of a chain first, then the chain, which takes those that came since the last.
  // ----------------------------------------------------------------------------------------------------
  bool room_for_piece() const { return pieces_used_ < kPieces; }
  // Up to `most` chains of one piece and one slot each, as long as there is room and `next`(chain, piece) says that there is
  // another. Returns how many. They are counted at the end, and not in memory one by one.
  template <typename Next>
  size_t AddPlain(size_t most, Next next) {
    uint32_t first = pieces_used_;
    RingPiece* piece = &pieces_[first];
    RingChain* chain = &chains_[chains_used_];
    RingChain* const end = chain + std::min({most, kChains - chains_used_, kPieces - first});
    for (; chain != end && next(*chain, *piece); ++chain, ++piece) chain->first = first++;
    const uint32_t added = first - pieces_used_;
    chains_used_ += added;
    pieces_used_ = first;
    return added;
  }
  // A descriptor's buffer: as many pieces as it lies in regions.
  RingFault AddBuffer(const GuestMemory& memory, uint64_t guest, uint32_t bytes, GuestMemory::Hint& hint);
  void AddChain(uint32_t id, uint32_t slots, uint64_t bytes);
  // Forgets the pieces that no chain took.
  void DropPieces() { pieces_used_ = first_free(); }

 private:
  uint32_t first_free() const {
    if (chains_used_ == 0) return 0;
    const RingChain& last = chains_[chains_used_ - 1];
    return last.first + last.pieces;
  }

  uint32_t chains_used_ = 0;
  uint32_t pieces_used_ = 0;
  bool full_ = false;
  std::array<RingChain, kChains> chains_;
  std::array<RingPiece, kPieces> pieces_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_CHAIN_BATCH_INTERNAL_H_

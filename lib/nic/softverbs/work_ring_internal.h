// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_WORK_RING_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_WORK_RING_INTERNAL_H_

// The work requests of a send or receive queue, from being posted to being given back.
//
//        retired_         next_              end_
//   ──────┼── done, not ──┼── to be done ────┼──────▶
//         │   polled yet  │
//
// A slot is free again when the completion of its request, or of a later one, was polled: not before, as on a card whose
// program is the only one to know what completed. Allocates when it is made, and never after.
// Threads: under the lock of the device.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "nic/softverbs/memory_internal.h"

namespace sluice {

struct SoftWork {
  uint64_t id = 0;
  SoftPiece only{};  // where there is one piece; several are beside the ring
  uint16_t pieces = 0;
  uint16_t bytes = 0;         // kept with the request: all of an inline one, or the headers to be repeated
  uint16_t segment_size = 0;  // payload bytes; 0 = not to be segmented
  bool signaled = true;
  bool checksums = false;
};

class SoftWorkRing {
 public:
  SoftWorkRing(uint32_t size, uint32_t max_pieces, uint32_t max_bytes)
      : size_(size),
        max_pieces_(max_pieces),
        max_bytes_(max_bytes),
        works_(std::bit_ceil(size)),
        pieces_(max_pieces > 1 ? works_.size() * max_pieces : 0),
        bytes_(works_.size() * max_bytes) {}

  uint32_t size() const { return size_; }
  uint32_t max_pieces() const { return max_pieces_; }
  uint32_t max_bytes() const { return max_bytes_; }

  uint64_t room() const { return size_ - (end_ - retired_); }
  bool full() const { return end_ - retired_ == size_; }
  // The slots of the next requests, to be filled and then posted: as many as there is room for.
  SoftWork& Fresh(uint64_t ahead = 0) { return works_[Slot(end_ + ahead)]; }
  SoftPiece* FreshPieces(int count, uint64_t ahead = 0) {
    return count == 1 ? &Fresh(ahead).only : PiecesOf(end_ + ahead);
  }
  uint8_t* FreshBytes(uint64_t ahead = 0) { return BytesOf(end_ + ahead); }
  void Post(uint64_t count = 1) { end_ += count; }

  // The requests that wait, by place.
  uint64_t next() const { return next_; }
  uint64_t end() const { return end_; }
  uint64_t waiting() const { return end_ - next_; }
  const SoftWork& At(uint64_t place) const { return works_[Slot(place)]; }
  absl::Span<const SoftPiece> Pieces(uint64_t place) {
    const SoftWork& work = At(place);
    return absl::MakeConstSpan(work.pieces == 1 ? &work.only : PiecesOf(place), work.pieces);
  }
  absl::Span<const uint8_t> Bytes(uint64_t place) {
    return absl::MakeConstSpan(BytesOf(place), At(place).bytes);
  }
  // The first of them is done.
  void Advance() { ++next_; }

  void Retire(uint64_t place) { retired_ = place + 1; }
  void Reset() { retired_ = next_ = end_; }

 private:
  size_t Slot(uint64_t place) const { return place & (works_.size() - 1); }
  SoftPiece* PiecesOf(uint64_t place) { return pieces_.data() + Slot(place) * max_pieces_; }
  uint8_t* BytesOf(uint64_t place) { return bytes_.data() + Slot(place) * max_bytes_; }

  const uint32_t size_;
  const uint32_t max_pieces_;
  const uint32_t max_bytes_;
  std::vector<SoftWork> works_;
  std::vector<SoftPiece> pieces_;
  std::vector<uint8_t> bytes_;
  uint64_t retired_ = 0;
  uint64_t next_ = 0;
  uint64_t end_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_WORK_RING_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_DRIVER_RING_BOOK_H_
#define SLUICE_TESTS_NIC_DRIVER_RING_BOOK_H_

// What split and packed driver rings have in common: which chains are out, and what a device's word on one of them means.

#define VIRTIO_RING_NO_LEGACY  // the rest of the header is no C++
#include <linux/virtio_ring.h>

#include <deque>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/nic/driver_ring.h"

namespace sluice::testing {

// Words that both sides read and write, in the byte order of this machine, which is little-endian like virtio's.
template <typename Word>
Word LoadShared(const Word& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
template <typename Word>
void StoreShared(Word& word, Word value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

// Whether moving an index from `old` to `now` passed `event` (2.7.7.2).
inline bool Passed(uint16_t event, uint16_t now, uint16_t old) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - old);
}

inline void Demand(bool held, const char* what) {
  if (!held) throw std::logic_error(std::string("the device ") + what);
}

class BookedRing : public DriverRing {
 public:
  std::optional<UsedChain> TakeUsed() final;
  const RingParts& parts() const final { return parts_; }
  const DriverRingOptions& options() const final { return options_; }
  uint16_t free_descriptors() const final { return static_cast<uint16_t>(options_.size - taken_slots_); }
  uint16_t outstanding() const final { return out_; }

 protected:
  // What the device says of one chain, by its id; of a batch in order only of the last.
  struct Said {
    uint16_t id = 0;
    uint32_t written = 0;
  };
  // How many descriptors a chain takes, and of which pieces.
  struct Shape {
    size_t direct = 0;   // pieces with a descriptor of their own, first
    bool table = false;  // the others are in a table
    uint16_t slots() const { return static_cast<uint16_t>(direct + (table ? 1 : 0)); }
  };
  struct Chain {
    uint64_t token = 0;
    uint32_t writable = 0;  // bytes
    uint16_t slots = 0;
    bool out = false;
  };

  BookedRing(const DriverRingOptions& options, const SharedMemory& memory, const RingParts& parts,
             uint8_t* tables);

  // The device's next word, where it has written one; and on behind `chain`, which was used.
  virtual std::optional<Said> ReadUsed() const = 0;
  virtual void Pass(uint16_t id, const Chain& chain) = 0;

  std::optional<Shape> ShapeOf(absl::Span<const DriverPiece> chain, Lay lay) const;
  void NoteOut(uint16_t id, absl::Span<const DriverPiece> chain, uint16_t slots, uint64_t token);
  bool TakenAll() const { return !said_.has_value(); }

  uint8_t* Table(uint16_t which) const {
    return tables_ + size_t{which} * options_.table * sizeof(vring_desc);
  }
  uint64_t GuestOf(const void* place) const { return memory_.GuestOf(place); }
  uint16_t size() const { return options_.size; }

 private:
  const DriverRingOptions options_;
  const SharedMemory memory_;
  const RingParts parts_;
  uint8_t* const tables_;

  std::vector<Chain> chains_;   // by id
  std::deque<uint16_t> order_;  // of the ids that are out; with IN_ORDER
  std::optional<Said> said_;    // read, and not reached yet
  uint16_t taken_slots_ = 0;
  uint16_t out_ = 0;
};

std::unique_ptr<DriverRing> MakeSplitRing(const DriverRingOptions& options, const SharedMemory& memory,
                                          const RingParts& parts, uint8_t* tables);
std::unique_ptr<DriverRing> MakePackedRing(const DriverRingOptions& options, const SharedMemory& memory,
                                           const RingParts& parts, uint8_t* tables);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_DRIVER_RING_BOOK_H_

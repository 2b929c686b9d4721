// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_DRIVER_RING_H_
#define SLUICE_TESTS_NIC_DRIVER_RING_H_

// The guest's side of a virtqueue, split or packed (virtio 1.2, 2.7 and 2.8): the twin of the device's, made to be plainly
// right and strict, not fast.
//
//   DriverRing::Make({.packed = true, .event_index = true, .size = 64}, memory)
//   ring->Add({{.guest = 0x1000, .bytes = 12}, {.guest = 0x2000, .bytes = 60}}, 7);
//   ring->Publish();
//   if (ring->KickWanted()) ...
//   while (std::optional<UsedChain> used = ring->TakeUsed()) ...            // {.token = 7, .written = 0}
//
// It fills what a device must not look at with rubbish, and throws std::logic_error with words for what a device must never
// do: use a chain that is not out, or twice, or out of order where it promised order, or write more than there was room for.
//
// Threads: one at a time; the device is another.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>

#include "absl/types/span.h"

namespace sluice::testing {

// Memory that a driver and its device share, as the one sees it and the other is told of it.
struct SharedMemory {
  uint8_t* here = nullptr;
  uint64_t guest = 0;  // address of the first byte, as descriptors name it
  size_t bytes = 0;

  uint64_t GuestOf(const void* place) const {
    return guest + static_cast<uint64_t>(static_cast<const uint8_t*>(place) - here);
  }
  uint8_t* At(uint64_t address) const { return here + (address - guest); }
  // A part of it; a multiple of 16 keeps what rings need aligned.
  SharedMemory Part(size_t offset, size_t length) const { return {here + offset, guest + offset, length}; }
};

struct DriverRingOptions {
  bool packed = false;
  bool indirect = false;     // chains of several pieces go into tables, where they fit
  bool event_index = false;  // else flags
  bool in_order = false;
  uint16_t size = 256;       // at most 32,768; of a split ring a power of two
  uint16_t table = 64;       // pieces that fit a table; each descriptor of the ring has one
  uint16_t went_before = 0;  // chains (split), slots (packed) that were used before: where both sides begin
};

// One piece of a chain. Those that the device writes come last.
struct DriverPiece {
  uint64_t guest = 0;
  uint32_t bytes = 0;
  bool writable = false;  // by the device
};

struct UsedChain {
  uint64_t token = 0;  // as it was added with
  uint32_t written =
      0;  // by the device, as it says; all that was writable where it skipped the chain (IN_ORDER)
  bool operator==(const UsedChain&) const = default;
};

// Where the ring's three parts are. The names are of 1.2: the driver's area is the available ring, or the packed ring's driver
// event; the device's area the used ring, or the device event.
struct RingParts {
  uint8_t* descriptors = nullptr;
  uint8_t* driver = nullptr;
  uint8_t* device = nullptr;
  size_t descriptor_bytes = 0, driver_bytes = 0, device_bytes = 0;
};

class DriverRing {
 public:
  // How a chain of several pieces is laid out.
  enum class Lay : uint8_t {
    kAsOptions,
    kDirect,
    kMixed,  // split with tables only: the first piece direct, and behind it a table with the others (2.7.5.3.2)
  };

  // Of memory that a ring and its tables take.
  static size_t BytesFor(const DriverRingOptions& options);
  // Clears the memory; `memory.here` and `memory.guest` are multiples of 16. Throws for options that cannot be.
  static std::unique_ptr<DriverRing> Make(const DriverRingOptions& options, const SharedMemory& memory);

  virtual ~DriverRing() = default;

  // Puts a chain into the ring; the device sees it from Publish on. False when there are not enough descriptors free.
  virtual bool Add(absl::Span<const DriverPiece> chain, uint64_t token, Lay lay = Lay::kAsOptions) = 0;
  bool Add(std::initializer_list<DriverPiece> chain, uint64_t token, Lay lay = Lay::kAsOptions) {
    return Add(absl::MakeConstSpan(chain.begin(), chain.size()), token, lay);
  }
  virtual void Publish() = 0;
  // Whether the device asks to be told of what was published since the last call.
  virtual bool KickWanted() = 0;

  // The next chain that the device is done with, in its order.
  virtual std::optional<UsedChain> TakeUsed() = 0;

  // Calls: both hints hold until the other. With an event index the device still calls once, long after.
  virtual void RefuseCalls() = 0;
  // False when there are used ones already: take them, then ask again.
  virtual bool AskForCall() = 0;

  virtual const RingParts& parts() const = 0;
  virtual const DriverRingOptions& options() const = 0;
  virtual uint16_t free_descriptors() const = 0;
  virtual uint16_t outstanding() const = 0;  // chains that were added and not taken back

  // For SET_VRING_BASE: where a device begins that is to do all again that none has used. Of a split ring the used index in
  // memory; of a packed ring, where nothing in memory says, what this side has taken: take all first.
  virtual uint32_t BaseFromUsed() const = 0;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_DRIVER_RING_H_

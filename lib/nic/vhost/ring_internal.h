// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_RING_INTERNAL_H_
#define SLUICE_NIC_VHOST_RING_INTERNAL_H_

// What a virtqueue is to the device that serves it: its shape, where it lies, where it stands, and what can be wrong with it
// (virtio 1.2, 2.7 split and 2.8 packed).
//
//                    split                              packed
//   descriptors      table, named by index              ring: the driver makes them available, we make them used, in place
//   driver area      available ring: heads, index       what the driver wants to be called for
//   device area      used ring: heads, index            what we want to be kicked for
//
// Chains are taken in the order in which they were made available, and given back in that order, whether or not IN_ORDER was
// negotiated. After a device that was killed, another goes on so that each chain is given back once:
//
//   split                  from the used index, which is in the ring; what was taken beyond it is taken again
//   with InflightRegion    from what was noted there; right also after a device that gives chains back in any order
//   packed, without        nothing in memory says where: the front-end must know (one that is the driver does, QEMU does not).
//                          Even then, a device that is killed while it shows several chains leaves behind the first others
//                          that look used: the driver will take them so, the device waits for them. Only a reset helps.

#define VIRTIO_RING_NO_LEGACY  // the rest of it is no C++
#include <linux/virtio_ring.h>

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "nic/vhost/guest_memory_internal.h"

namespace sluice {

// What was agreed on, and does not change while the ring is there.
struct RingShape {
  uint32_t size = 0;  // descriptors: to 32768, and a power of two where split
  uint32_t header_bytes =
      12;  // before each frame (5.1.6.1): 10, 12 with VERSION_1 or MRG_RXBUF, 20 with HASH_REPORT
  bool packed = false;          // RING_PACKED
  bool indirect = false;        // INDIRECT_DESC
  bool event_index = false;     // EVENT_IDX
  bool in_order = false;        // IN_ORDER
  bool mergeable = false;       // MRG_RXBUF: a frame may take several chains
  bool takes_verdicts = false;  // GUEST_CSUM: the driver understands DATA_VALID
  // CSUM or HOST_...: the driver's headers may ask for something. Else they are zeros (5.1.6.2.1), and not read.
  bool asks = true;
};

// Frames that went through it.
struct RingTraffic {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t lent = 0;  // of those, what was not copied
};

// The part of a ring in the memory that outlives this process (vhost-user, "Inflight I/O tracking"); see inflight_internal.h.
struct InflightRegion {
  uint8_t* here = nullptr;  // null: what is in flight is not noted
  size_t bytes = 0;         // enough for the ring
  std::shared_ptr<const GuestMapping> mapping = {};
};

// Where it lies now: exchanged at rest, when the front-end shares other memory, or a log. The areas are checked by who fills
// this in: wholly inside `memory`, aligned as 2.7 and 2.8 ask.
struct RingPlace {
  uint8_t* descriptors = nullptr;
  uint8_t* driver = nullptr;
  uint8_t* device = nullptr;
  std::shared_ptr<const GuestMemory> memory = {};
  std::shared_ptr<const DirtyLog> log = {};  // null: nothing is logged
  InflightRegion inflight = {};              // the same from Start on
};

// How far it was served. `used` follows `available`: between them are chains that were taken and not given back.
struct RingPosition {
  uint16_t available = 0;      // split: free-running; packed: below the size, with the wrap counter beside it
  uint16_t used = 0;           // likewise
  bool available_wrap = true;  // of packed rings
  bool used_wrap = true;

  // Of a split ring: after the last chain given back, which is what the driver goes by, whoever served the ring before.
  static RingPosition OfSplit(const RingPlace& place);
  // Of a packed ring, as SET_VRING_BASE has it: two indices of 15 bits with their wrap counters above them.
  static RingPosition OfPacked(uint32_t base);
  // As GET_VRING_BASE has it.
  uint32_t Base(bool packed) const;

  bool operator==(const RingPosition&) const = default;
};

// Whether a ring of that size can be there at all: its areas' bytes, and their alignment (2.7, 2.8).
struct RingAreas {
  uint64_t descriptors = 0;  // bytes; their alignment is 16
  uint64_t driver = 0;       // alignment 2 split, 4 packed
  uint64_t device = 0;       // alignment 4
  static RingAreas Of(uint32_t size, bool packed);
};

// Where the guest sees a byte of its memory; 0 for one that is not of it.
uint64_t GuestAddressOf(const GuestMemory& memory, const uint8_t* at);

// Why a ring stopped: what the driver put there cannot be. It stays stopped until it is started anew.
enum class RingFault : uint8_t {
  kNone,
  kIndexJump,        // more made available than the ring holds
  kHeadOutOfRange,   // the available ring names a descriptor that is not there
  kNextOutOfRange,   // a descriptor does so
  kChainLoop,        // a chain has more descriptors than there are
  kChainTooLong,     // more pieces than a chain may have here
  kNotInMemory,      // an address that is in no region, or a length that leads out of the last one
  kEmptyDescriptor,  // of no bytes: there is nothing it could mean
  kWrongDirection,   // to be written where we read, or the other way round
  kIndirectRefused,  // a table, which was not negotiated
  kNestedIndirect,   // a table in a table
  kIndirectChained,  // a table with more descriptors behind it
  kIndirectLength,   // a table of no, of broken, or of too many descriptors
  kIdOutOfRange,     // a packed ring's buffer id
  kInflightBroken,   // what is noted as in flight cannot be
};
// Short, as in tables ("chain-loop"), and one sentence for people.
absl::string_view Name(RingFault fault);
absl::string_view Meaning(RingFault fault);

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_RING_INTERNAL_H_

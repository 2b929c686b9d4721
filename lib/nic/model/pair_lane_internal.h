// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_PAIR_LANE_INTERNAL_H_
#define SLUICE_NIC_MODEL_PAIR_LANE_INTERNAL_H_

// A lane of a pair wire: a ring of packets, and with each push what its sender found out in looking at them, so that the
// receiver need not look again.
//
//   manifests   [0: 3 packets, 192 bytes]           [3: 2 packets ...]          by the number of the push's first packet
//   ring        │     p     │     p     │     p     │     p     │     p     │
//
// A manifest says which packet it begins with. Where the next packet to be received has none of its own, because it
// was pushed without or because only a part of its push was received, nothing is known of it.
//
// Threads: as PacketRing, which also orders the manifests.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "nic/model/packet_ring_internal.h"
#include "sluice/packet/packet.h"

namespace sluice {

// What a receiver makes of plain frames, and leaves to its senders: it takes none that is longer, and they arrive there. In
// one word, which is compared and read as a whole. The default takes none.
class Terms {
 public:
  Terms() = default;
  Terms(PortId port, QueueId queue, uint32_t max_frame)
      : word_(port.value() | uint64_t{queue.value()} << 16 | uint64_t{max_frame} << 32) {}
  bool operator==(const Terms&) const = default;

  Packet::Arrival arrival() const {
    return {PortId(static_cast<uint16_t>(word_)), QueueId(static_cast<uint16_t>(word_ >> 16))};
  }
  uint32_t max_frame() const { return static_cast<uint32_t>(word_ >> 32); }

 private:
  uint64_t word_ = 0;
};

// Of packets that ask for nothing, are no shorter than an Ethernet header, and arrived on these terms.
struct Manifest {
  Terms terms;
  uint32_t packets = 0;
  uint32_t bytes = 0;
};

class PairLane {
 public:
  // `capacity` is a power of two.
  explicit PairLane(uint32_t capacity) : ring_(capacity), entries_(new Entry[capacity]) {}

  size_t capacity() const { return ring_.capacity(); }

  // Sender.
  // -----------------------------------------------------------------------------------------------------
  size_t Room(size_t wanted) { return ring_.Room(wanted); }
  // Packets of which nothing is known; takes as many as fit.
  size_t Push(Packet* const* packets, size_t n) { return ring_.Push(packets, n); }
  // All of those that `manifest` tells of; there is room, and at least one.
  void Push(Packet* const* packets, const Manifest& manifest) {
    Entry& entry = entries_[ring_.pushed() & (capacity() - 1)];
    entry.first = ring_.pushed();
    entry.manifest = manifest;
    ring_.PushAll(packets, manifest.packets);
  }

  // Receiver.
  // ---------------------------------------------------------------------------------------------------
  size_t Pop(Packet** to, size_t n) { return ring_.Pop(to, n); }
  // The packets of a manifest, which waits in front.
  void Pop(Packet** to, const Manifest& manifest) { ring_.PopAll(to, manifest.packets); }
  // What is known of the next packets; null when nothing is, or when none waits. Good until they are popped.
  const Manifest* Next() {
    const uint64_t next = ring_.popped();
    if (!ring_.Holds(next)) return nullptr;
    const Entry& entry = entries_[next & (capacity() - 1)];
    return entry.first == next ? &entry.manifest : nullptr;
  }
  bool EmptyBeforeSleep() const { return ring_.EmptyBeforeSleep(); }

 private:
  struct Entry {
    uint64_t first = ~uint64_t{0};
    Manifest manifest;
  };

  PacketRing ring_;
  const std::unique_ptr<Entry[]> entries_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_PAIR_LANE_INTERNAL_H_

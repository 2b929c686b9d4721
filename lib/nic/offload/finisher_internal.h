// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_OFFLOAD_FINISHER_INTERNAL_H_
#define SLUICE_NIC_OFFLOAD_FINISHER_INTERNAL_H_

// What is done to a packet before it may go on the wire: whatever its sender asked for and neither the device
// nor the wire takes over. The bytes are the same whoever does it. See egress_internal.h for whole bursts.
// Threads: any; one at a time where copies are counted.

#include <optional>

#include "nic/offload/first_lines_internal.h"
#include "sluice/base/counters.h"
#include "sluice/base/drop_reason.h"
#include "sluice/nic/wire.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/segment.h"

namespace sluice {

// A device that does of some packets what they ask for, and knows by looking at them.
class Taker {
 public:
  // Whether it takes the packet as it is.
  virtual bool Takes(const Packet& packet) const = 0;

 protected:
  ~Taker() = default;
};

struct FinisherOptions {
  uint32_t max_frame = 0;
  const Taker* taker = nullptr;    // what it takes is left alone; null: the rest says what goes unfinished
  bool carries_checksums = false;  // may cross unfinished
  bool carries_segmenting = false;
  bool carries_l4_checksum = false;  // these three as in WireTraits
  bool carries_tso = false;
  bool carries_cwr = true;  // of the TCP segments that go uncut, those with CWR set too (RFC 3168, 6.1.2)
  uint16_t uso_segments = 0;
  bool carries_vlan = false;
  bool carries_fragments = false;
  PacketPool* pool = nullptr;    // for copies
  bool reads_only_pool = false;  // the device sees no memory but that of `pool`
  Counter* copies = nullptr;     // of packets that were copied to be sent, where somebody wants to know
};

class Finisher {
 public:
  explicit Finisher(const FinisherOptions& options) : options_(options) {}

  FirstLines Look() const { return FirstLines(options_.max_frame); }
  uint32_t max_frame() const { return options_.max_frame; }

  // Whether any packet of a burst needs Finish.
  bool AnyOdd(const FirstLines& burst) const {
    return burst.any_odd() || (burst.any_fragments() && !options_.carries_fragments);
  }

  // Whether the device can read a packet from where it lies; asked only where it is choosy (reads_only_pool).
  bool InReach(const Packet& packet) const { return packet.pool() == options_.pool && !packet.borrows(); }

  // Makes `packet`, or a copy in its place, fit to go; or says why it cannot. Finishing twice changes
  // nothing. Not for what has to be cut.
  std::optional<DropReason> Finish(PacketPtr& packet) const;

  // Whether a packet has to be cut into segments, of which each is then finished. One in pieces that the wire does not
  // take would have to be joined first, for which it is too long.
  bool MustCut(const Packet& packet) const {
    if (!packet.offload.segment || Takes(packet)) return false;
    if (!packet.contiguous() && !options_.carries_fragments) return true;
    return !options_.carries_segmenting && !GoesUncut(packet);
  }
  // Begins it; or says why it cannot be.
  std::optional<DropReason> BeginCut(PacketPtr& packet, Segmenter& segmenter) const;

  SegmentOptions segmenting() const {
    return {.pool = options_.pool, .finish_checksums = !leaves_l4_checksum()};
  }

 private:
  bool Takes(const Packet& packet) const {
    return options_.taker != nullptr && options_.taker->Takes(packet);
  }
  bool leaves_l4_checksum() const { return options_.carries_checksums || options_.carries_l4_checksum; }
  bool MustCopy(const Packet& packet) const {
    return (!packet.contiguous() && !options_.carries_fragments) ||
           (options_.reads_only_pool && !InReach(packet));
  }
  bool GoesUncut(const Packet& packet) const;
  bool DeviceCuts(const Packet& packet, const LayerOffsets& at) const;
  std::optional<DropReason> Measure(const Packet& packet) const;
  std::optional<DropReason> Copy(PacketPtr& packet) const;
  std::optional<DropReason> FillChecksums(Packet& packet) const;
  static void FillOuter(Packet& packet);
  std::optional<DropReason> PutTag(PacketPtr& packet) const;

  const FinisherOptions options_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_OFFLOAD_FINISHER_INTERNAL_H_

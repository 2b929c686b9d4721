// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_NIC_VHOST_RING_RIG_H_
#define SLUICE_TESTS_NIC_VHOST_RING_RIG_H_

// One virtqueue between a driver (driver_ring.h) and the device's side of it, over memory of several regions:
//
//   guest's addresses   │ ring │   hole   │ low buffers │ high buffers │
//   here                each elsewhere: what runs from low to high buffers is in two pieces
//
// Threads: one, but where a test says so.

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "nic/vhost/guest_sink_internal.h"
#include "nic/vhost/guest_source_internal.h"
#include "tests/nic/driver_ring.h"
#include "tests/support/frames.h"

namespace sluice::testing {

struct RigOptions {
  DriverRingOptions ring = {};
  uint32_t header_bytes = 12;
  bool mergeable = false;
  bool takes_verdicts = true;
  bool asks = true;
  bool log = false;
  uint32_t packets = 512;
  GuestSourceOptions source = {};   // its pool and drops are the rig's
  DeferredCopyOptions copies = {};  // of the sink
};

// The kinds of ring, for tests that hold for each.
std::vector<DriverRingOptions> RingKinds(uint16_t size = 16);
// What a kind is, for messages.
std::string TextOf(const DriverRingOptions& kind);

class RingRig {
 public:
  static constexpr uint64_t kRing = 0x10'0000;
  static constexpr uint64_t kLow = 0x4000'0000;
  static constexpr size_t kBufferBytes = size_t{1} << 20;  // of each region of buffers
  static constexpr uint64_t kHigh = kLow + kBufferBytes;

  explicit RingRig(const RigOptions& options = {});

  // The driver.
  // ----------------------------------------------------------------------------------------------------
  DriverRing& driver() { return *driver_; }
  // Room for `bytes`, which nothing else was given since the last Rewind; and from there on.
  uint64_t Alloc(size_t bytes);
  void Rewind(uint64_t to = kLow) { next_ = to; }
  uint8_t* At(uint64_t guest) const;  // each byte alone: the next may be elsewhere
  void Write(uint64_t guest, absl::Span<const uint8_t> bytes) const;
  Bytes Read(uint64_t guest, size_t bytes) const;

  // Writes header and frame into fresh memory, cut into pieces of these lengths, the last one taking the rest, and makes them
  // available.
  std::vector<DriverPiece> Lay(const Bytes& frame, const std::vector<uint32_t>& cuts = {},
                               const Bytes& header = {});
  void Offer(const Bytes& frame, const std::vector<uint32_t>& cuts = {}, const Bytes& header = {});
  // Posts a chain for the device to write, of pieces of these lengths; its address and length stay known by its token.
  void Post(const std::vector<uint32_t>& pieces);
  // What the driver got back: how many chains, all in order.
  size_t TakeAllUsed();
  // The next frame that arrived in posted chains, header first; empty when there is none.
  Bytes TakeArrival();

  // The device.
  // ----------------------------------------------------------------------------------------------------
  RingShape shape() const;
  RingPlace place() const;
  GuestSource& source() { return source_; }
  GuestSink& sink() { return sink_; }
  void StartSource() { source_.Start(shape(), place(), Base()); }
  void StartSink() { sink_.Start(shape(), place(), Base()); }
  RingPosition Base() const {
    return options_.ring.packed ? RingPosition::OfPacked(driver_->BaseFromUsed())
                                : RingPosition::OfSplit(place());
  }
  // Where one goes on that stopped there, as a front-end says it.
  RingPosition After(const RingPosition& stopped) const {
    return options_.ring.packed ? RingPosition::OfPacked(stopped.Base(true)) : RingPosition::OfSplit(place());
  }
  PacketPool& pool() { return *pool_; }
  PacketPtr Make(const Bytes& frame) { return MakePacket(*pool_, frame); }
  // As a queue does: how many packets came, how many were taken.
  size_t Receive(Burst& burst) { return source_.Receive(burst).packets; }
  size_t Send(Burst& burst);
  DropCounts drops() const { return drops_.Read(); }
  const RingTraffic& sent() const { return sent_; }
  // Everything that the source has now, as bytes.
  std::vector<Bytes> ReceiveAll();

  const std::shared_ptr<const GuestMemory>& memory() const { return memory_; }
  std::vector<uint8_t>& log_bits() { return log_bits_; }

 private:
  struct Free {
    void operator()(uint8_t* bytes) const { std::free(bytes); }
  };
  using Area = std::unique_ptr<uint8_t, Free>;  // ends where the sanitizer says so
  static Area MakeArea(size_t bytes);

  const RigOptions options_;
  const std::unique_ptr<PacketPool> pool_;
  const Area ring_area_, low_, high_;
  const std::shared_ptr<const GuestMemory> memory_;
  std::vector<uint8_t> log_bits_;
  std::unique_ptr<DriverRing> driver_;
  std::vector<std::vector<DriverPiece>> posted_;  // by token
  uint64_t next_ = kLow;
  uint64_t tokens_ = 0;
  DropCounters drops_;
  RingTraffic sent_;
  GuestSource source_;
  GuestSink sink_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_NIC_VHOST_RING_RIG_H_

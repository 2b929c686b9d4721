// SPDX-License-Identifier: Apache-2.0
// Notes of what is in flight: a host that is killed at any store to them, or to the ring, is followed by one that gives each
// chain back once, in order.
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>

#include "nic/vhost/guest_sink_internal.h"
#include "nic/vhost/guest_source_internal.h"
#include "tests/nic/driver_ring.h"
#include "tests/support/frames.h"
#include "tests/support/process.h"
#include "tests/support/seed.h"
#include "tests/support/write_trap.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kSize = 8;
constexpr size_t kPage = 4096;
constexpr size_t kRingBytes = 2 * kPage, kNotesBytes = kPage, kBufferBytes = 64 * kPage;
constexpr size_t kAllBytes = kRingBytes + kNotesBytes + kBufferBytes;
constexpr uint64_t kGuest = 0x4000'0000;
constexpr uint64_t kBuffers = kGuest + kRingBytes;
constexpr uint32_t kHeader = 12;

DriverRingOptions AnyKind() {
  return GENERATE(
      DriverRingOptions{.size = kSize, .went_before = 65530},
      DriverRingOptions{.packed = true, .size = kSize, .went_before = 13},
      DriverRingOptions{.packed = true, .indirect = true, .in_order = true, .size = kSize, .table = 4});
}

// A ring, notes and buffers in memory that outlives the hosts that serve it. The driver is here.
class Machine {
 public:
  Machine(const DriverRingOptions& ring, bool writable, bool tracked = true)
      : options_(ring),
        writable_(writable),
        tracked_(tracked),
        here_(Map()),
        driver_(DriverRing::Make(ring, {here_, kGuest, kRingBytes})),
        base_(driver_->BaseFromUsed()) {}
  ~Machine() { munmap(here_, kAllBytes); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Makes so many chains available, or as many as there is room for: short and long, of one piece and of two, each with its
  // number behind the header.
  void Offer(int count) {
    for (; count > 0; --count) {
      const size_t offset = next_ % 64 * kPage;
      const uint64_t at = kBuffers + offset;
      const uint32_t bytes = next_ % 2 == 0 ? 100 : 2000;
      std::vector<DriverPiece> pieces = {{at, bytes, writable_}};
      if (next_ % 3 == 2) pieces = {{at, kHeader, writable_}, {at + kHeader, bytes - kHeader, writable_}};
      std::memcpy(buffers() + offset + kHeader, &next_, sizeof(next_));
      if (!driver_->Add(pieces, next_)) break;
      ++next_;
    }
    driver_->Publish();
  }
  // Takes back what the device gives. The driver throws for what is not out.
  void TakeBack() {
    while (const std::optional<UsedChain> used = driver_->TakeUsed()) REQUIRE(used->token == returned_++);
  }
  // Numbers of the chains that are with the device.
  std::vector<uint64_t> Out() const {
    std::vector<uint64_t> out(next_ - returned_);
    std::iota(out.begin(), out.end(), returned_);
    REQUIRE(driver_->outstanding() == out.size());
    return out;
  }

  RingShape shape() const {
    return {.size = options_.size,
            .header_bytes = kHeader,
            .packed = options_.packed,
            .indirect = options_.indirect,
            .in_order = options_.in_order};
  }
  RingPlace place() const {
    const RingParts& parts = driver_->parts();
    RingPlace place = {.descriptors = parts.descriptors, .driver = parts.driver, .device = parts.device};
    place.memory = std::make_shared<GuestMemory>(std::vector<GuestRegion>{
        {.guest = kGuest, .user = kGuest, .bytes = kRingBytes, .here = here_},
        {.guest = kBuffers, .user = kBuffers, .bytes = kBufferBytes, .here = buffers()}});
    if (tracked_) place.inflight = {.here = notes(), .bytes = kNotesBytes};
    return place;
  }
  // Where the ring began, which the notes know better; or, without them, where the driver is.
  RingPosition position() const {
    if (!options_.packed) return RingPosition::OfSplit(place());
    return RingPosition::OfPacked(tracked_ ? base_ : driver_->BaseFromUsed());
  }
  uint8_t* notes() const { return here_ + kRingBytes; }
  uint8_t* here() const { return here_; }

 private:
  static uint8_t* Map() {
    void* const here = mmap(nullptr, kAllBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(here != MAP_FAILED);
    return static_cast<uint8_t*>(here);
  }
  uint8_t* buffers() const { return here_ + kRingBytes + kNotesBytes; }

  const DriverRingOptions options_;
  const bool writable_;
  const bool tracked_;
  uint8_t* const here_;
  const std::unique_ptr<DriverRing> driver_;
  const uint32_t base_;
  uint64_t next_ = 0;
  uint64_t returned_ = 0;
};

// Serves a ring that the guest sends by: takes what there is, lets go of two at a time, until nothing is left. Returns the
// numbers of the frames.
std::vector<uint64_t> ServeSource(Machine& machine) {
  const auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
  DropCounters drops;
  GuestSource source({.pool = pool.get(), .drops = &drops, .copy_up_to = 500});
  source.Start(machine.shape(), machine.place(), machine.position());
  std::vector<uint64_t> numbers;
  Burst held;
  while (source.Receive(held).packets != 0 || !held.empty()) {
    for (int i = 0; i < 2 && !held.empty(); ++i) {
      const PacketPtr packet = held.PopFront();
      numbers.emplace_back();
      std::memcpy(&numbers.back(), packet->data(), sizeof(uint64_t));
    }
    source.Reclaim();
  }
  return numbers;
}

// Serves one that it receives by: fills all chains that are there, three at a time. Returns how many packets went.
size_t ServeSink(Machine& machine) {
  const auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
  DropCounters drops;
  GuestSink sink;
  sink.Start(machine.shape(), machine.place(), machine.position());
  size_t sent = 0;
  for (Burst burst;;) {
    while (burst.size() < 3) burst.Push(MakePacket(*pool, Bytes(60)));
    const uint64_t packets = sink.Send(burst, drops).packets;
    if (packets == 0) break;
    sent += packets;
  }
  sink.Stop();
  return sent;
}

// A host that is killed at that store to ring or notes. False when it came to its end before.
template <typename Life>
bool IsKilledAt(size_t store, Machine& machine, Life life) {
  Process host = Process::Fork([&] {
    TrapWrites(machine.here(), kRingBytes + kNotesBytes, store);
    life(machine);
    return 0;
  });
  const int status = host.Wait(absl::Seconds(30));
  REQUIRE((status == 0 || status == kTrapped));
  return status == kTrapped;
}

// Two hosts are killed one after the other, the first at `store`, the second now and then, anywhere; between their deaths the
// driver goes on. Whatever they left undone, `last` finds. False when the first was not killed.
template <typename Life, typename Last>
bool SurvivesAt(size_t store, const DriverRingOptions& kind, bool writable, Random& random, Life life,
                Last last) {
  Machine machine(kind, writable);
  machine.Offer(5);
  const bool killed = IsKilledAt(store, machine, life);
  machine.TakeBack();
  machine.Offer(3);
  if (Below(random, 4) == 0) IsKilledAt(Below(random, 80), machine, life);
  machine.TakeBack();
  machine.Offer(2);
  const std::vector<uint64_t> out = machine.Out();
  last(machine, out);
  machine.TakeBack();
  CHECK(machine.Out().empty());
  return killed;
}

}  // namespace

TEST_CASE("a host that is killed at any store is followed by one that has every frame not given back, once",
          "[vhost]") {
  Random random(PrintedSeed());
  const DriverRingOptions kind = AnyKind();
  const auto last = [](Machine& machine, const std::vector<uint64_t>& out) {
    CHECK(ServeSource(machine) == out);
  };
  size_t stores = 0;
  while (SurvivesAt(stores, kind, false, random, ServeSource, last)) ++stores;
  CAPTURE(kind.packed, stores);
  CHECK(stores > 40);
}

TEST_CASE("a host that is killed at any store is followed by one that fills every chain not given back, once",
          "[vhost]") {
  Random random(PrintedSeed());
  const DriverRingOptions kind = AnyKind();
  const auto last = [](Machine& machine, const std::vector<uint64_t>& out) {
    CHECK(ServeSink(machine) == out.size());
  };
  size_t stores = 0;
  while (SurvivesAt(stores, kind, true, random, ServeSink, last)) ++stores;
  CAPTURE(kind.packed, stores);
  CHECK(stores > 40);
}

TEST_CASE("without notes a split ring goes on from its used index, wherever its host was killed", "[vhost]") {
  for (size_t store = 0, killed = 1; killed != 0; ++store) {
    Machine machine({.size = kSize, .went_before = 65530}, false, /*tracked=*/false);
    machine.Offer(5);
    killed = IsKilledAt(store, machine, ServeSource) ? 1 : 0;
    machine.TakeBack();
    machine.Offer(3);
    CHECK(ServeSource(machine) == machine.Out());
    machine.TakeBack();
    CHECK(machine.Out().empty());
  }
}

TEST_CASE("without notes a packed ring goes on from where its driver is, if chains went back one by one",
          "[vhost]") {
  for (size_t store = 0, killed = 1; killed != 0; ++store) {
    Machine machine({.packed = true, .size = kSize, .went_before = 13}, false, /*tracked=*/false);
    machine.Offer(1);
    killed = IsKilledAt(store, machine, ServeSource) ? 1 : 0;
    machine.TakeBack();
    machine.Offer(3);
    CHECK(ServeSource(machine) == machine.Out());
    machine.TakeBack();
    CHECK(machine.Out().empty());
  }
}

TEST_CASE("notes that contradict themselves or the ring stop it, by name, whatever they say", "[vhost]") {
  Random random(PrintedSeed());
  const DriverRingOptions kind = AnyKind();
  size_t broken = 0;
  for (int round = 0; round < 100; ++round) {
    Machine machine(kind, false);
    machine.Offer(5);
    if (round % 2 == 0) (void)IsKilledAt(40, machine, ServeSource);
    for (uint64_t i = Below(random, 6); i > 0; --i)
      machine.notes()[Below(random, 300)] =
          static_cast<uint8_t>(Below(random, 3) == 0 ? random() : Below(random, 9));
    const auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
    DropCounters drops;
    GuestSource source({.pool = pool.get(), .drops = &drops});
    source.Start(machine.shape(), machine.place(), machine.position());
    Burst burst;
    for (int i = 0; i < 4; ++i) source.Receive(burst);
    const RingFault fault = source.fault();
    broken += fault == RingFault::kInflightBroken ? 1 : 0;
    CHECK(!Name(fault).empty());
  }
  CHECK(broken > 0);
}

TEST_CASE("a ring that is given up gives back, unused, what was in flight before it", "[vhost]") {
  Machine machine(AnyKind(), false);
  machine.Offer(5);
  REQUIRE(IsKilledAt(40, machine, ServeSource));
  machine.TakeBack();
  DropCounters drops;
  const auto pool = *PacketPool::Create({.packets = 64, .huge_pages = HugePages::kOff});
  GuestSource source({.pool = pool.get(), .drops = &drops});
  source.Start(machine.shape(), machine.place(), machine.position());
  const RingPosition stopped = source.Stop();
  std::memset(machine.notes(), 0, kNotesBytes);
  machine.TakeBack();
  const std::vector<uint64_t> out = machine.Out();
  source.Start(machine.shape(), machine.place(), stopped);
  Burst burst;
  CHECK(source.Receive(burst).packets == out.size());
  burst.Clear();
  source.Stop();
  machine.TakeBack();
  CHECK(machine.Out().empty());
}

}  // namespace sluice::testing

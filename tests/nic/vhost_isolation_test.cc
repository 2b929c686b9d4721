// SPDX-License-Identifier: Apache-2.0
// Guests that do what they must not: each is stopped by name, and another guest of the same worker goes on at its rate: as many
// frames in as many polls.
#include <sys/eventfd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "base/unique_fd_internal.h"
#include "nic/vhost/ring_internal.h"
#include "tests/nic/vhost_pair.h"

namespace sluice::testing {
namespace {

constexpr uint64_t kSplit = kVirtioUserFeatures & ~feature::kPacked & ~feature::kInOrder;
constexpr uint16_t kSends = 1;  // number of the ring that the guest sends by
constexpr uint16_t kSize = 256;

// A port whose guest misbehaves, and one whose guest does not, polled by one loop.
struct Neighbours {
  VhostPair bad{{.port = {.copy_up_to = 500},
                 .guest = {.features = kSplit, .strict = false},
                 .guest_queues = {.tx_ring = kSize}}};
  VhostPair good{{.guest = {.features = kSplit}}};

  void PollBad() {
    Burst burst;
    bad.port().TakeEvents();
    bad.port().rx(QueueId{0}).Receive(burst);
    bad.port().tx(QueueId{0}).Send(burst);
    bad.port().rx(QueueId{0}).Arm();
  }
  // Whether in so many polls of both the good guest has as many frames each way.
  bool GoodKeepsItsRate(size_t polls = 100) {
    size_t there = 0, back = 0;
    for (size_t i = 0; i < polls; ++i) {
      PollBad();
      good.Serve();
      good.FromGuest(UdpFrame({}));
      if (good.ReceiveOne() != nullptr) ++there;
      good.FromPort(UdpFrame({}));
      if (good.GuestReceivesOne() != nullptr) ++back;
    }
    return there == polls && back == polls;
  }
  // What is told of the bad guest: its rings' faults, and why it was hung up on.
  std::string Told() {
    const VhostReport report = bad.port().report();
    std::string told = report.last_error;
    for (const VhostRingReport& ring : report.rings) told += ring.fault;
    return told;
  }
};

// Descriptors and heads of the ring that a guest sends by, written by hand.
class SpoiledRing {
 public:
  explicit SpoiledRing(VhostPair& pair) : parts_(pair.guest().Parts(kSends)), memory_(MemoryOf(pair)) {}

  uint64_t good() const { return memory_.guest; }
  uint64_t end() const { return memory_.guest + memory_.bytes; }
  void Put(const vring_desc& descriptor) {
    std::memcpy(parts_.descriptors, &descriptor, sizeof(descriptor));
    auto* const available = reinterpret_cast<vring_avail*>(parts_.driver);
    available->ring[available->idx % kSize] = 0;
    Jump(1);
  }
  void Jump(uint16_t by) {
    auto* const available = reinterpret_cast<vring_avail*>(parts_.driver);
    __atomic_store_n(&available->idx, static_cast<uint16_t>(available->idx + by), __ATOMIC_RELEASE);
  }

 private:
  static SharedMemory MemoryOf(VhostPair& pair) { return pair.guest().regions().files()[0]->memory(); }

  const RingParts parts_;
  const SharedMemory memory_;
};

struct Misdeed {
  const char* what;
  const char* told;
  std::function<void(VhostPair&)> deed;
};

Misdeed InRing(const char* what, const char* told, const std::function<void(SpoiledRing&)>& deed) {
  return {what, told, [deed](VhostPair& pair) {
            SpoiledRing ring(pair);
            deed(ring);
          }};
}

const std::vector<Misdeed>& Misdeeds() {
  static const std::vector<Misdeed> kMisdeeds = {
      InRing("a chain that goes in a circle", "chain-loop",
             [](SpoiledRing& ring) {
               ring.Put({ring.good(), 60, VRING_DESC_F_NEXT, 0});
             }),
      InRing("a length past the region", "not-in-memory",
             [](SpoiledRing& ring) {
               ring.Put({ring.end() - 16, 1 << 20, 0, 0});
             }),
      InRing("a descriptor in memory that is not there", "not-in-memory",
             [](SpoiledRing& ring) {
               ring.Put({5, 60, 0, 0});
             }),
      InRing("an address that wraps round 64 bits", "not-in-memory",
             [](SpoiledRing& ring) {
               ring.Put({~uint64_t{0} - 3, 60, 0, 0});
             }),
      InRing("an index that jumps", "index-jump", [](SpoiledRing& ring) { ring.Jump(kSize + 1); }),
      {"a used ring outside its memory", "SET_VRING_ADDR: the used ring",
       [](VhostPair& pair) {
         const SharedMemory memory = pair.guest().regions().files()[0]->memory();
         const uint64_t user = GuestMemoryFile::UserOf(memory.guest);
         pair.guest().front().Tell(VhostRequest::kSetVringAddr,
                                   PayloadOf(VhostRingAddress{.index = kSends,
                                                              .flags = 0,
                                                              .descriptors = user,
                                                              .used = user + memory.bytes - 16,
                                                              .available = user + 8192,
                                                              .log = 0}));
       }},
      {"a message of a gigabyte", "claims more than 4096 bytes",
       [](VhostPair& pair) {
         pair.guest().front().SendRaw(PayloadOf(
             VhostHeader{static_cast<uint32_t>(VhostRequest::kSetOwner), kVhostVersion, uint32_t{1} << 30}));
       }},
      {"a front-end that dies within a message", "hung up within a message",
       [](VhostPair& pair) {
         pair.guest().front().SendRaw(Bytes{1, 0, 0, 0, 1});
         pair.guest().Vanish();
       }},
      {"a call by what is no eventfd", "SET_VRING_CALL: it is no eventfd",
       [](VhostPair& pair) {
         int ends[2];
         REQUIRE(pipe(ends) == 0);
         const UniqueFd in(ends[0]), out(ends[1]);
         pair.guest().front().Tell(VhostRequest::kSetVringCall, PayloadOf(uint64_t{0}), {out.get()});
       }},
  };
  return kMisdeeds;
}

}  // namespace

TEST_CASE("a guest that does what cannot be is stopped by name, and its neighbour keeps its rate",
          "[vhost]") {
  for (const Misdeed& misdeed : Misdeeds()) {
    CAPTURE(misdeed.what);
    Neighbours both;
    CHECK(both.GoodKeepsItsRate());
    misdeed.deed(both.bad);
    CHECK(both.GoodKeepsItsRate());
    CHECK_THAT(both.Told(), Catch::Contains(misdeed.told));
    both.bad.guest().Vanish();
  }
}

TEST_CASE("a guest that takes memory away in use has its rings rest, and its neighbour keeps its rate",
          "[vhost]") {
  Neighbours both;
  both.bad.FromGuest(UdpFrame({.payload_size = 1400}));
  const PacketPtr lent = both.bad.ReceiveOne();
  REQUIRE(lent != nullptr);
  const Bytes before = BytesOf(*lent);
  const VhostMemoryRegion region = both.bad.guest().regions().files()[0]->description();
  both.bad.guest().front().Tell(VhostRequest::kRemMemReg, PayloadOf(VhostSingleRegion{.region = region}));
  CHECK(both.GoodKeepsItsRate());
  CHECK(both.bad.port().report().memory_regions == 0);
  for (const VhostRingReport& ring : both.bad.port().report().rings) CHECK_FALSE(ring.running);
  CHECK(BytesOf(*lent) == before);  // who holds a loan holds the memory
  both.bad.guest().Vanish();
}

TEST_CASE("a guest that kicks as fast as it can is counted, and its neighbour and the control thread go on",
          "[vhost][threads]") {
  Neighbours both;
  std::atomic<bool> stop = false;
  std::thread flood([&, kick = both.bad.guest().KickFd(kSends)] {
    while (!stop) (void)eventfd_write(kick, 1);
  });
  while (both.bad.port().report().idle_kicks == 0) both.PollBad();
  CHECK(both.GoodKeepsItsRate());
  both.bad.Settle();  // the control thread answers
  CHECK(both.bad.BothUp());
  both.bad.FromGuest(UdpFrame({}));
  CHECK(both.bad.ReceiveOne() != nullptr);
  stop = true;
  flood.join();
  CHECK(both.good.port().report().idle_kicks == 0);
}

TEST_CASE("a guest whose call blocks, filled to the brim, blocks no worker", "[vhost]") {
  Neighbours both;
  const UniqueFd call(eventfd(0, EFD_CLOEXEC));
  REQUIRE(eventfd_write(call.get(), ~uint64_t{0} - 1) == 0);
  both.bad.guest().front().Tell(VhostRequest::kSetVringCall, PayloadOf(uint64_t{0}), {call.get()});
  both.bad.Settle();
  for (int i = 0; i < 5; ++i) {
    both.bad.guest().rx(QueueId{0}).Arm();  // asks for a call
    both.bad.FromPort(UdpFrame({}));
    CHECK(both.bad.GuestReceivesOne() != nullptr);
  }
  CHECK(both.GoodKeepsItsRate());
}

}  // namespace sluice::testing

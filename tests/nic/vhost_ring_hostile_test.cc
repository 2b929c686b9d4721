// SPDX-License-Identifier: Apache-2.0
// Rings with things in them that cannot be: each stops its ring, by name, and no other; nothing is kept or touched.
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>

#include "tests/nic/vhost_ring_rig.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kSize = 8;
constexpr uint16_t kNext = VRING_DESC_F_NEXT, kWrite = VRING_DESC_F_WRITE, kIndirect = VRING_DESC_F_INDIRECT;

// A driver that writes what it likes.
class HostileDriver {
 public:
  explicit HostileDriver(RingRig& rig) : rig_(rig), parts_(rig.driver().parts()) {
    rig.Write(RingRig::kLow, Bytes(12));  // a header that asks for nothing
  }

  void Split(uint16_t at, const vring_desc& descriptor) {
    std::memcpy(parts_.descriptors + sizeof(descriptor) * at, &descriptor, sizeof(descriptor));
  }
  // Of the first round: available, unless `flags` has what says otherwise.
  void Packed(uint16_t at, vring_packed_desc descriptor) {
    descriptor.flags = static_cast<uint16_t>(descriptor.flags | 1u << VRING_PACKED_DESC_F_AVAIL);
    std::memcpy(parts_.descriptors + sizeof(descriptor) * at, &descriptor, sizeof(descriptor));
  }
  // A split ring's heads, all shown.
  void Heads(const std::vector<uint16_t>& heads) {
    for (const uint16_t head : heads) {
      auto* const available = reinterpret_cast<vring_avail*>(parts_.driver);
      available->ring[available->idx % kSize] = head;
      ++available->idx;
    }
  }
  void JumpTo(uint16_t index) { reinterpret_cast<vring_avail*>(parts_.driver)->idx = index; }
  // Two descriptors in a table in low memory.
  uint64_t Table(const vring_desc& first, const vring_desc& second) {
    const uint64_t at = rig_.Alloc(2 * sizeof(vring_desc));
    std::memcpy(rig_.At(at), &first, sizeof(first));
    std::memcpy(rig_.At(at) + sizeof(first), &second, sizeof(second));
    return at;
  }

 private:
  RingRig& rig_;
  const RingParts parts_;
};

struct Case {
  std::string what;
  RingFault fault;
  std::function<void(HostileDriver&)> spoil;
};

constexpr uint64_t kLow = RingRig::kLow;
constexpr uint64_t kHigh = RingRig::kHigh;  // where a ring looks first
constexpr uint64_t kEnd = kHigh + RingRig::kBufferBytes;
constexpr uint64_t kFarthest = ~0ull >> 1;  // with a length on top, as a signed number it is below all memory
constexpr vring_desc kGood = {kLow, 100, 0, 0};

std::vector<Case> SplitCases() {
  using enum RingFault;
  using Driver = HostileDriver;
  return {
      {"more than the ring", kIndexJump, [](Driver& d) { d.JumpTo(kSize + 1); }},
      {"backwards", kIndexJump, [](Driver& d) { d.JumpTo(0xffff); }},
      {"head", kHeadOutOfRange,
       [](Driver& d) {
         d.Split(0, {kHigh, 100, 0, 0}), d.Heads({kSize});
       }},
      {"next", kNextOutOfRange,
       [](Driver& d) {
         d.Split(0, {kLow, 9, kNext, kSize}), d.Heads({0});
       }},
      {"circle of one", kChainLoop,
       [](Driver& d) {
         d.Split(0, {kLow, 9, kNext, 0}), d.Heads({0});
       }},
      {"circle of two", kChainLoop,
       [](Driver& d) {
         d.Split(0, {kLow, 9, kNext, 1}), d.Split(1, {kLow, 9, kNext, 0}), d.Heads({0});
       }},
      {"no region", kNotInMemory,
       [](Driver& d) {
         d.Split(0, {5, 100, 0, 0}), d.Heads({0});
       }},
      {"past the last", kNotInMemory,
       [](Driver& d) {
         d.Split(0, {kEnd - 9, 10, 0, 0}), d.Heads({0});
       }},
      {"into a hole", kNotInMemory,
       [](Driver& d) {
         d.Split(0, {kLow - 9, 100, 0, 0}), d.Heads({0});
       }},
      {"all of it", kNotInMemory,
       [](Driver& d) {
         d.Split(0, {kLow, ~0u, 0, 0}), d.Heads({0});
       }},
      {"over the top", kNotInMemory,
       [](Driver& d) {
         d.Split(0, {~0ull, ~0u, 0, 0}), d.Heads({0});
       }},
      {"to the other side", kNotInMemory,
       [](Driver& d) {
         d.Split(0, {kFarthest, ~0u, 0, 0}), d.Heads({0});
       }},
      {"nothing", kEmptyDescriptor,
       [](Driver& d) {
         d.Split(0, {kLow, 0, 0, 0}), d.Heads({0});
       }},
      {"to write", kWrongDirection,
       [](Driver& d) {
         d.Split(0, {kLow, 9, kWrite, 0}), d.Heads({0});
       }},
      {"writable end", kWrongDirection,
       [](Driver& d) {
         d.Split(0, {kLow, 99, kNext, 1}), d.Split(1, {kLow, 9, kWrite, 0}), d.Heads({0});
       }},
      {"nested", kNestedIndirect,
       [](Driver& d) {
         d.Split(0, {d.Table({kLow, 16, kIndirect, 0}, kGood), 32, kIndirect, 0}), d.Heads({0});
       }},
      {"table and more", kIndirectChained,
       [](Driver& d) {
         d.Split(0, {d.Table(kGood, kGood), 32, kIndirect | kNext, 1}), d.Heads({0});
       }},
      {"part of a descriptor", kIndirectLength,
       [](Driver& d) {
         d.Split(0, {d.Table(kGood, kGood), 24, kIndirect, 0}), d.Heads({0});
       }},
      {"empty table", kIndirectLength,
       [](Driver& d) {
         d.Split(0, {kLow, 0, kIndirect, 0}), d.Heads({0});
       }},
      {"huge table", kIndirectLength,
       [](Driver& d) {
         d.Split(0, {kLow, 16u << 17, kIndirect, 0}), d.Heads({0});
       }},
      {"table nowhere", kNotInMemory,
       [](Driver& d) {
         d.Split(0, {5, 32, kIndirect, 0}), d.Heads({0});
       }},
      {"circle in a table", kChainLoop,
       [](Driver& d) {
         d.Split(0, {d.Table({kLow, 9, kNext, 0}, kGood), 32, kIndirect, 0}), d.Heads({0});
       }},
      {"out of the table", kNextOutOfRange,
       [](Driver& d) {
         d.Split(0, {d.Table({kLow, 9, kNext, 2}, kGood), 32, kIndirect, 0}), d.Heads({0});
       }},
  };
}

std::vector<Case> PackedCases() {
  using enum RingFault;
  using Driver = HostileDriver;
  return {
      {"no region", kNotInMemory,
       [](Driver& d) {
         d.Packed(0, {5, 100, 0, 0});
       }},
      {"past the last", kNotInMemory,
       [](Driver& d) {
         d.Packed(0, {kEnd - 9, 10, 0, 0});
       }},
      {"over the top", kNotInMemory,
       [](Driver& d) {
         d.Packed(0, {~0ull, ~0u, 0, 0});
       }},
      {"to the other side", kNotInMemory,
       [](Driver& d) {
         d.Packed(0, {kFarthest, ~0u, 0, 0});
       }},
      {"nothing", kEmptyDescriptor,
       [](Driver& d) {
         d.Packed(0, {kLow, 0, 0, 0});
       }},
      {"to write", kWrongDirection,
       [](Driver& d) {
         d.Packed(0, {kLow, 9, 0, kWrite});
       }},
      {"id", kIdOutOfRange,
       [](Driver& d) {
         d.Packed(0, {kLow, 99, kSize, 0});
       }},
      {"id of a chain", kIdOutOfRange,
       [](Driver& d) {
         d.Packed(0, {kLow, 99, 0, kNext}), d.Packed(1, {kLow, 99, kSize, 0});
       }},
      {"endless", kChainLoop,
       [](Driver& d) {
         for (uint16_t i = 0; i < kSize; ++i) d.Packed(i, {kLow, 9, i, kNext});
       }},
      {"nested", kNestedIndirect,
       [](Driver& d) {
         d.Packed(0, {d.Table({kLow, 16, 0, kIndirect}, kGood), 32, 0, kIndirect});
       }},
      {"table and more", kIndirectChained,
       [](Driver& d) {
         d.Packed(0, {d.Table(kGood, kGood), 32, 0, kIndirect | kNext});
       }},
      {"table behind", kIndirectChained,
       [](Driver& d) {
         d.Packed(0, {kLow, 99, 0, kNext}), d.Packed(1, {d.Table(kGood, kGood), 32, 0, kIndirect});
       }},
      {"part of a descriptor", kIndirectLength,
       [](Driver& d) {
         d.Packed(0, {d.Table(kGood, kGood), 24, 0, kIndirect});
       }},
      {"table nowhere", kNotInMemory,
       [](Driver& d) {
         d.Packed(0, {5, 32, 0, kIndirect});
       }},
  };
}

RigOptions Kind(bool packed) { return {.ring = {.packed = packed, .indirect = true, .size = kSize}}; }

}  // namespace

TEST_CASE("each thing that cannot be in a ring stops it, by name, and touches nothing") {
  const bool packed = GENERATE(false, true);
  for (const Case& row : packed ? PackedCases() : SplitCases()) {
    CAPTURE(packed, row.what);
    RingRig rig(Kind(packed));
    HostileDriver driver(rig);
    rig.StartSource();
    row.spoil(driver);
    CHECK(rig.ReceiveAll().empty());
    CHECK(Name(rig.source().fault()) == Name(row.fault));
    CHECK(rig.drops().total() == 0);
    CHECK(rig.pool().available() == 512);
    CHECK(rig.source().Arm());  // there is nothing to wait for but a new start
    rig.StartSource();
    CHECK(rig.source().fault() == RingFault::kNone);
  }
}

TEST_CASE("in a region of many gigabytes, too, a buffer to be written is not read") {
  constexpr size_t kBytes = size_t{16} << 30;
  void* const here = mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(here != MAP_FAILED);
  RingRig rig(Kind(/*packed=*/false));
  HostileDriver driver(rig);
  RingPlace place = rig.place();
  place.memory = std::make_shared<const GuestMemory>(std::vector<GuestRegion>{
      {.guest = kEnd, .user = kEnd, .bytes = kBytes, .here = static_cast<uint8_t*>(here)}});
  rig.source().Start(rig.shape(), place, rig.Base());

  driver.Split(0, {kEnd, 100, 0, 0});
  driver.Split(1, {kEnd, 100, kWrite, 0});
  driver.Heads({0, 1});
  CHECK(rig.ReceiveAll() == std::vector<Bytes>{Bytes(88)});
  CHECK(Name(rig.source().fault()) == Name(RingFault::kWrongDirection));
  rig.source().Stop();
  munmap(here, kBytes);
}

TEST_CASE("a ring to be filled is stopped by buffers that are to be read") {
  const bool packed = GENERATE(false, true);
  RingRig rig(Kind(packed));
  HostileDriver driver(rig);
  rig.StartSink();
  packed ? driver.Packed(0, {kLow, 2048, 0, 0}) : driver.Split(0, {kLow, 2048, 0, 0});
  if (!packed) driver.Heads({0});
  Burst burst;
  burst.Push(rig.Make(Bytes(60)));
  CHECK(rig.Send(burst) == 0);
  CHECK(rig.sink().fault() == RingFault::kWrongDirection);
  CHECK(burst.size() == 1);
  CHECK(rig.Read(kLow, 1) == Bytes{0});
}

TEST_CASE("tables are refused where they were not agreed on") {
  const bool packed = GENERATE(false, true);
  RingRig rig({.ring = {.packed = packed, .size = kSize}});
  HostileDriver driver(rig);
  rig.StartSource();
  const uint64_t table = driver.Table(kGood, kGood);
  packed ? driver.Packed(0, {table, 32, 0, kIndirect}) : driver.Split(0, {table, 32, kIndirect, 0});
  if (!packed) driver.Heads({0});
  CHECK(rig.ReceiveAll().empty());
  CHECK(rig.source().fault() == RingFault::kIndirectRefused);
}

TEST_CASE("what came before a broken chain is received, and its loans come home to a ring that stopped") {
  const bool packed = GENERATE(false, true);
  RingRig rig(Kind(packed));
  HostileDriver driver(rig);
  rig.StartSource();
  for (uint16_t i = 0; i < 3; ++i) {
    const uint32_t bytes = i < 2 ? 5000 : 0;
    packed ? driver.Packed(i, {kLow, bytes, i, 0}) : driver.Split(i, {kLow, bytes, 0, 0});
  }
  if (!packed) driver.Heads({0, 1, 2});
  Burst burst;
  CHECK(rig.Receive(burst) == 2);
  CHECK(rig.source().fault() == RingFault::kNone);
  CHECK(rig.Receive(burst) == 0);
  CHECK(rig.source().fault() == RingFault::kEmptyDescriptor);
  CHECK(rig.source().lent() == 2);
  burst.Clear();
  CHECK(rig.source().lent() == 0);
  CHECK(rig.source().Reclaim() == 0);
}

TEST_CASE("a chain of more pieces than are accepted stops its ring") {
  const bool packed = GENERATE(false, true);
  const uint32_t pieces = GENERATE(512u, 513u);
  RingRig rig(Kind(packed));
  HostileDriver driver(rig);
  rig.StartSource();
  const uint64_t table = rig.Alloc(16 * pieces);
  for (uint32_t i = 0; i < pieces; ++i) {
    const bool last = i + 1 == pieces;
    const auto next = static_cast<uint16_t>(i + 1);
    const vring_desc descriptor = {kLow, 1, packed || last ? uint16_t{0} : kNext,
                                   packed ? uint16_t{0} : next};
    std::memcpy(rig.At(table + 16 * i), &descriptor, 16);
  }
  packed ? driver.Packed(0, {table, 16 * pieces, 0, kIndirect})
         : driver.Split(0, {table, 16 * pieces, kIndirect, 0});
  if (!packed) driver.Heads({0});
  const bool fits = pieces <= ChainBatch::kPieces;
  CHECK(rig.ReceiveAll().size() == (fits ? 1 : 0));
  CHECK(rig.source().fault() == (fits ? RingFault::kNone : RingFault::kChainTooLong));
}

TEST_CASE("a guest that offers one chain many times harms only itself") {
  RingRig rig(Kind(false));
  HostileDriver driver(rig);
  rig.StartSource();
  driver.Split(0, {kLow, 5000, 0, 0});
  driver.Heads({0, 0, 0, 0});
  Burst burst;
  CHECK(rig.Receive(burst) == 4);
  burst.Clear();
  CHECK(rig.source().Reclaim() == 4);
  CHECK(rig.source().fault() == RingFault::kNone);
}

TEST_CASE("a guest cannot have more out than its ring holds, by turning descriptors around under loans") {
  RingRig rig(Kind(true));
  HostileDriver driver(rig);
  rig.StartSource();
  for (uint16_t i = 0; i < kSize; ++i) driver.Packed(i, {kLow, 5000, i, 0});
  Burst burst;
  CHECK(rig.Receive(burst) == kSize);
  constexpr uint16_t kSecondRound = 1u << VRING_PACKED_DESC_F_USED;
  const vring_packed_desc again = {kLow, 5000, 0, kSecondRound};
  std::memcpy(rig.driver().parts().descriptors, &again, sizeof(again));
  CHECK(rig.Receive(burst) == 0);
  CHECK(rig.source().fault() == RingFault::kIndexJump);
}

TEST_CASE("an index that goes back behind chains that are lent stops its ring") {
  RingRig rig(Kind(false));
  HostileDriver driver(rig);
  rig.StartSource();
  driver.Split(0, {kLow, 5000, 0, 0});
  driver.Heads({0, 0, 0});
  Burst burst;
  CHECK(rig.Receive(burst) == 3);
  driver.JumpTo(1);
  CHECK(rig.Receive(burst) == 0);
  CHECK(rig.source().fault() == RingFault::kIndexJump);
  burst.Clear();
  CHECK(rig.source().lent() == 0);
}

TEST_CASE("every fault has a name and a sentence of its own") {
  for (int i = 0; i <= static_cast<int>(RingFault::kIdOutOfRange); ++i) {
    const auto fault = static_cast<RingFault>(i);
    CHECK(!Name(fault).empty());
    CHECK(Meaning(fault).back() == '.');
    for (int k = 0; k < i; ++k) CHECK(Name(fault) != Name(static_cast<RingFault>(k)));
  }
}

}  // namespace sluice::testing

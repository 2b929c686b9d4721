// SPDX-License-Identifier: Apache-2.0
// The driver's side of both kinds of ring, against devices that are moved by hand and know nothing but the layout.
#define VIRTIO_RING_NO_LEGACY
#include "tests/nic/driver_ring.h"

#include <linux/virtio_ring.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/support/seed.h"

namespace sluice::testing {
namespace {

constexpr uint64_t kGuest = 0x7000'0000;

using Pieces = std::vector<DriverPiece>;

// What a device takes from a ring: the chain, and what it has to name to give it back.
struct Taken {
  Pieces pieces = {};
  uint16_t id = 0;
  uint16_t slots = 1;
};

class HandDevice {
 public:
  HandDevice(DriverRing& ring, const SharedMemory& memory) : ring_(ring), memory_(memory) {}
  virtual ~HandDevice() = default;
  virtual std::optional<Taken> Take() = 0;
  virtual void Use(const Taken& taken, uint32_t written) = 0;
  // Gives back all of `batch` by a word on the last (IN_ORDER).
  virtual void UseBatch(const std::vector<Taken>& batch, uint32_t written) = 0;

 protected:
  uint16_t size() const { return ring_.options().size; }

  DriverRing& ring_;
  const SharedMemory memory_;
};

class SplitHand final : public HandDevice {
 public:
  SplitHand(DriverRing& ring, const SharedMemory& memory)
      : HandDevice(ring, memory), taken_(ring.options().went_before) {}

  std::optional<Taken> Take() override {
    if (available().idx == taken_) return std::nullopt;
    Taken taken = {.id = available().ring[taken_++ % size()]};
    Walk(reinterpret_cast<const vring_desc*>(ring_.parts().descriptors), taken.id, taken.pieces);
    return taken;
  }
  void Use(const Taken& taken, uint32_t written) override { UseBatch({taken}, written); }
  void UseBatch(const std::vector<Taken>& batch, uint32_t written) override {
    used().ring[used().idx % size()] = {.id = batch.back().id, .len = written};
    used().idx = static_cast<uint16_t>(used().idx + batch.size());
  }

  vring_avail& available() { return *reinterpret_cast<vring_avail*>(ring_.parts().driver); }
  vring_used& used() { return *reinterpret_cast<vring_used*>(ring_.parts().device); }
  uint16_t& available_event() {  // behind the used ring
    return *reinterpret_cast<uint16_t*>(ring_.parts().device + offsetof(vring_used, ring) +
                                        size() * sizeof(vring_used_elem));
  }
  uint16_t used_event() { return available().ring[size()]; }

 private:
  void Walk(const vring_desc* table, uint16_t at, Pieces& pieces) const {
    for (;; at = table[at].next) {
      const vring_desc& d = table[at];
      if ((d.flags & VRING_DESC_F_INDIRECT) != 0) {
        REQUIRE((d.flags & VRING_DESC_F_NEXT) == 0);
        return Walk(reinterpret_cast<const vring_desc*>(memory_.At(d.addr)), 0, pieces);
      }
      pieces.push_back({d.addr, d.len, (d.flags & VRING_DESC_F_WRITE) != 0});
      if ((d.flags & VRING_DESC_F_NEXT) == 0) return;
    }
  }

  uint16_t taken_;
};

class PackedHand final : public HandDevice {
 public:
  PackedHand(DriverRing& ring, const SharedMemory& memory)
      : HandDevice(ring, memory),
        next_(ring.options().went_before),
        used_(ring.options().went_before),
        ring_slots_(reinterpret_cast<vring_packed_desc*>(ring.parts().descriptors)) {}

  std::optional<Taken> Take() override {
    if (!IsAvailable()) return std::nullopt;
    Taken taken = {.slots = 0};
    for (bool more = true; more; ++next_) {
      REQUIRE((taken.slots == 0 || next_ % size() == 0 || IsAvailable()));
      const vring_packed_desc& d = ring_slots_[next_ % size()];
      if ((d.flags & VRING_DESC_F_INDIRECT) != 0) {
        ReadTable(d, taken.pieces);
      } else {
        taken.pieces.push_back({d.addr, d.len, (d.flags & VRING_DESC_F_WRITE) != 0});
      }
      more = (d.flags & VRING_DESC_F_NEXT) != 0;
      taken.id = d.id;
      ++taken.slots;
    }
    return taken;
  }
  void Use(const Taken& taken, uint32_t written) override { UseBatch({taken}, written); }
  void UseBatch(const std::vector<Taken>& batch, uint32_t written) override {
    const int lap =
        used_ / size() % 2 == 0 ? 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED : 0;
    const int flags = lap | (written > 0 ? VRING_DESC_F_WRITE : 0);
    ring_slots_[used_ % size()] = {
        .addr = 0, .len = written, .id = batch.back().id, .flags = static_cast<uint16_t>(flags)};
    for (const Taken& taken : batch) used_ += taken.slots;
  }

  vring_packed_desc_event& driver_event() {
    return *reinterpret_cast<vring_packed_desc_event*>(ring_.parts().driver);
  }
  vring_packed_desc_event& device_event() {
    return *reinterpret_cast<vring_packed_desc_event*>(ring_.parts().device);
  }
  uint16_t EventAt(uint32_t slot) const {
    return static_cast<uint16_t>(slot % size() | (slot / size() % 2 == 0 ? 0x8000u : 0));
  }

 private:
  bool IsAvailable() const {
    const bool lap = next_ / size() % 2 == 0;
    const uint16_t flags = ring_slots_[next_ % size()].flags;
    return ((flags >> VRING_PACKED_DESC_F_AVAIL & 1) != 0) == lap &&
           ((flags >> VRING_PACKED_DESC_F_USED & 1) != 0) != lap;
  }
  void ReadTable(const vring_packed_desc& d, Pieces& pieces) const {
    const auto* const table = reinterpret_cast<const vring_packed_desc*>(memory_.At(d.addr));
    for (uint32_t i = 0; i < d.len / sizeof(d); ++i) {
      pieces.push_back({table[i].addr, table[i].len, (table[i].flags & VRING_DESC_F_WRITE) != 0});
    }
  }

  uint32_t next_, used_;  // slots, counted on
  vring_packed_desc* const ring_slots_;
};

// A ring in memory of its own, and a hand for its other side.
struct Bench {
  explicit Bench(const DriverRingOptions& options)
      : bytes(DriverRing::BytesFor(options) + 64),
        memory{Aligned(bytes.data()), kGuest, bytes.size() - 64},
        ring(DriverRing::Make(options, memory)) {
    if (options.packed) {
      hand = std::make_unique<PackedHand>(*ring, memory);
    } else {
      hand = std::make_unique<SplitHand>(*ring, memory);
    }
  }
  static uint8_t* Aligned(uint8_t* at) {
    return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(at) + 63) / 64 * 64);
  }
  SplitHand& split() { return static_cast<SplitHand&>(*hand); }
  PackedHand& packed() { return static_cast<PackedHand&>(*hand); }
  // Adds and publishes a chain of one piece.
  void AddOne(uint64_t token) {
    REQUIRE(ring->Add({{.guest = 0x1000, .bytes = 100, .writable = true}}, token));
    ring->Publish();
  }

  std::vector<uint8_t> bytes;
  SharedMemory memory;
  std::unique_ptr<DriverRing> ring;
  std::unique_ptr<HandDevice> hand;
};

bool SamePieces(const Pieces& a, const Pieces& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const DriverPiece& x, const DriverPiece& y) {
    return x.guest == y.guest && x.bytes == y.bytes && x.writable == y.writable;
  });
}

uint32_t Writable(const Pieces& pieces) {
  uint32_t bytes = 0;
  for (const DriverPiece& piece : pieces) bytes += piece.writable ? piece.bytes : 0;
  return bytes;
}

// Every kind of ring, by number.
constexpr uint32_t kKinds = 16;
DriverRingOptions Kind(uint32_t kind, uint16_t size) {
  return {.packed = (kind & 1) != 0,
          .indirect = (kind & 2) != 0,
          .event_index = (kind & 4) != 0,
          .in_order = (kind & 8) != 0,
          .size = size,
          .table = 4};
}

Pieces RandomChain(Random& random) {
  Pieces chain(1 + Below(random, 6));
  const size_t readable = Below(random, chain.size() + 1);
  for (size_t i = 0; i < chain.size(); ++i) {
    chain[i] = {random(), static_cast<uint32_t>(Below(random, 5000)), i >= readable};
  }
  return chain;
}

// Chains that are out, as the test knows them: what was added, and what is to come back.
class Model {
 public:
  explicit Model(Bench& bench, Random& random) : bench_(bench), random_(random) {}

  void Add() {
    const Pieces chain = RandomChain(random_);
    const auto lay = static_cast<DriverRing::Lay>(Below(random_, 3));
    if (bench_.ring->Add(chain, next_token_, lay)) added_.emplace_back(next_token_++, chain);
  }
  void Take() {
    while (std::optional<Taken> taken = bench_.hand->Take()) {
      REQUIRE_FALSE(added_.empty());
      REQUIRE(SamePieces(taken->pieces, added_.front().second));
      held_.push_back({added_.front().first, *std::move(taken)});
      added_.erase(added_.begin());
    }
  }
  // Gives back some, in any order where that is allowed.
  void Use() {
    const bool in_order = bench_.ring->options().in_order;
    for (size_t n = Below(random_, held_.size() + 1); n > 0; --n) {
      const size_t which = in_order ? 0 : Below(random_, held_.size());
      const auto written = static_cast<uint32_t>(Below(random_, Writable(held_[which].second.pieces) + 1));
      bench_.hand->Use(held_[which].second, written);
      back_.push_back({held_[which].first, written});
      held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
    }
  }
  void Collect() {
    while (const std::optional<UsedChain> used = bench_.ring->TakeUsed()) {
      REQUIRE_FALSE(back_.empty());
      REQUIRE(*used == back_.front());
      back_.erase(back_.begin());
    }
    REQUIRE(back_.empty());
  }

 private:
  Bench& bench_;
  Random& random_;
  uint64_t next_token_ = 0;
  std::vector<std::pair<uint64_t, Pieces>> added_;
  std::vector<std::pair<uint64_t, Taken>> held_;
  std::vector<UsedChain> back_;
};

void ExchangeAtRandom(const DriverRingOptions& options, Random& random) {
  Bench bench(options);
  Model model(bench, random);
  for (int round = 0; round < 300; ++round) {
    for (uint64_t n = Below(random, 4); n > 0; --n) model.Add();
    bench.ring->Publish();
    if (Below(random, 2) == 0) model.Take();
    if (Below(random, 2) == 0) model.Use();
    model.Collect();
  }
}

TEST_CASE("whatever chains a driver adds, its device sees, and each comes back once with what was written",
          "[driver_ring]") {
  Random random(PrintedSeed());
  for (uint32_t kind = 0; kind < kKinds; ++kind) {
    for (const uint16_t went : {uint16_t{0}, uint16_t{5}, uint16_t{65530}}) {
      CAPTURE(kind, went);
      DriverRingOptions options = Kind(kind, static_cast<uint16_t>((kind & 1) != 0 ? 13 : 16));
      options.went_before = went;
      ExchangeAtRandom(options, random);
    }
  }
}

TEST_CASE("a device sees nothing of a chain before it is published", "[driver_ring]") {
  Bench bench(Kind(GENERATE(range(0u, kKinds)), 8));
  REQUIRE(bench.ring->Add({{.guest = 1, .bytes = 1}, {.guest = 2, .bytes = 2}}, 1));
  REQUIRE(bench.ring->Add({{.guest = 3, .bytes = 3}}, 2));
  CHECK_FALSE(bench.hand->Take());
  bench.ring->Publish();
  CHECK(bench.hand->Take()->pieces.size() == 2);
  CHECK(bench.hand->Take()->pieces.size() == 1);
  CHECK_FALSE(bench.hand->Take());
}

TEST_CASE("a ring without enough descriptors takes no chain", "[driver_ring]") {
  Bench bench({.packed = GENERATE(false, true), .size = 4});
  const DriverPiece piece = {.guest = 1, .bytes = 1};
  CHECK(bench.ring->Add({piece, piece, piece}, 1));
  CHECK_FALSE(bench.ring->Add({piece, piece}, 2));
  CHECK(bench.ring->Add({piece}, 3));
  CHECK_FALSE(bench.ring->Add({piece}, 4));
  CHECK(bench.ring->free_descriptors() == 0);
  CHECK(bench.ring->outstanding() == 2);
}

TEST_CASE("a chain of any length takes one descriptor where it fits a table", "[driver_ring]") {
  Bench bench({.packed = GENERATE(false, true), .indirect = true, .size = 4, .table = 100});
  CHECK(bench.ring->Add(Pieces(100, {.guest = 1, .bytes = 1}), 1));
  CHECK(bench.ring->free_descriptors() == 3);
  CHECK_FALSE(bench.ring->Add(Pieces(101, {.guest = 1, .bytes = 1}), 2));
  bench.ring->Publish();
  CHECK(bench.hand->Take()->pieces.size() == 100);
}

TEST_CASE("a device that keeps order may give back a batch by its last chain", "[driver_ring]") {
  Bench bench({.packed = GENERATE(false, true), .in_order = true, .size = 8});
  for (int lap = 0; lap < 5; ++lap) {
    for (uint64_t i = 0; i < 3; ++i) bench.AddOne(i);
    std::vector<Taken> batch;
    while (std::optional<Taken> taken = bench.hand->Take()) batch.push_back(*taken);
    bench.hand->UseBatch(batch, 60);
    CHECK(bench.ring->TakeUsed() == UsedChain{0, 100});  // skipped: written completely
    CHECK(bench.ring->TakeUsed() == UsedChain{1, 100});
    CHECK(bench.ring->TakeUsed() == UsedChain{2, 60});
    CHECK_FALSE(bench.ring->TakeUsed());
  }
}

TEST_CASE("what a device must not do is told from what it may", "[driver_ring]") {
  const bool packed = GENERATE(false, true);
  Bench bench({.packed = packed, .size = 8});
  bench.AddOne(1);
  bench.AddOne(2);
  const Taken taken = *bench.hand->Take();
  SECTION("more written than there is room for") {
    bench.hand->Use(taken, 101);
    CHECK_THROWS_AS(bench.ring->TakeUsed(), std::logic_error);
  }
  SECTION("a chain used twice") {
    bench.hand->Use(taken, 100);
    bench.hand->Use(taken, 100);
    CHECK(bench.ring->TakeUsed() == UsedChain{1, 100});
    CHECK_THROWS_AS(bench.ring->TakeUsed(), std::logic_error);
  }
  SECTION("a chain that never was") {
    bench.hand->Use({.pieces = {}, .id = 99}, 1);
    CHECK_THROWS_AS(bench.ring->TakeUsed(), std::logic_error);
  }
  SECTION("more used than there are") {
    if (packed) return;
    bench.split().used().idx = 3;
    CHECK_THROWS_AS(bench.ring->TakeUsed(), std::logic_error);
  }
}

TEST_CASE("a device is kicked as its flags ask, and only for what is new", "[driver_ring]") {
  const bool packed = GENERATE(false, true);
  Bench bench({.packed = packed, .size = 8});
  CHECK_FALSE(bench.ring->KickWanted());
  bench.AddOne(1);
  CHECK(bench.ring->KickWanted());
  CHECK_FALSE(bench.ring->KickWanted());
  if (packed) {
    bench.packed().device_event().flags = VRING_PACKED_EVENT_FLAG_DISABLE;
  } else {
    bench.split().used().flags = VRING_USED_F_NO_NOTIFY;
  }
  bench.AddOne(2);
  CHECK_FALSE(bench.ring->KickWanted());
}

TEST_CASE("a device with an event index is kicked when what is published passes it", "[driver_ring]") {
  const bool packed = GENERATE(false, true);
  const uint16_t went = GENERATE(uint16_t{0}, uint16_t{6}, uint16_t{65532});
  Bench bench({.packed = packed, .event_index = true, .size = 8, .went_before = went});
  const auto ask = [&](uint32_t after) {  // when the chain `after` the first is there
    const uint32_t at = went + after;
    if (!packed) {
      bench.split().available_event() = static_cast<uint16_t>(at);
    } else {
      bench.packed().device_event() = {bench.packed().EventAt(at), VRING_PACKED_EVENT_FLAG_DESC};
    }
  };
  ask(2);
  for (uint64_t i = 0; i < 6; ++i) {
    CAPTURE(packed, went, i);
    bench.AddOne(i);
    CHECK(bench.ring->KickWanted() == (i == 2));
  }
  ask(6);
  bench.AddOne(6);
  bench.AddOne(7);
  CHECK(bench.ring->KickWanted());
}

TEST_CASE("a driver asks for calls and refuses them where its device looks", "[driver_ring]") {
  const bool event_index = GENERATE(false, true);
  SECTION("split") {
    Bench bench({.event_index = event_index, .size = 8});
    CHECK(bench.ring->AskForCall());
    CHECK(bench.split().available().flags == 0);
    if (event_index) CHECK(bench.split().used_event() == 0);
    bench.ring->RefuseCalls();
    CHECK(bench.split().available().flags == (event_index ? 0 : VRING_AVAIL_F_NO_INTERRUPT));
    if (event_index) CHECK(bench.split().used_event() == 65535);
  }
  SECTION("packed") {
    Bench bench({.packed = true, .event_index = event_index, .size = 8});
    CHECK(bench.ring->AskForCall());
    CHECK(bench.packed().driver_event().flags ==
          (event_index ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE));
    CHECK(bench.packed().driver_event().off_wrap == 0x8000);
    bench.ring->RefuseCalls();
    CHECK(bench.packed().driver_event().flags == VRING_PACKED_EVENT_FLAG_DISABLE);
  }
}

TEST_CASE("a driver that asks for a call is told of what is used already", "[driver_ring]") {
  Bench bench(Kind(GENERATE(range(0u, kKinds)), 8));
  bench.AddOne(1);
  CHECK(bench.ring->AskForCall());
  bench.hand->Use(*bench.hand->Take(), 0);
  CHECK_FALSE(bench.ring->AskForCall());
  CHECK(bench.ring->TakeUsed());
  CHECK(bench.ring->AskForCall());
}

TEST_CASE("a device can go on from where the one before it stopped using chains", "[driver_ring]") {
  const bool packed = GENERATE(false, true);
  const uint16_t went = GENERATE(uint16_t{0}, uint16_t{7}, uint16_t{15});
  Bench bench({.packed = packed, .size = 8, .went_before = went});
  bench.AddOne(1);
  bench.AddOne(2);
  bench.hand->Use(*bench.hand->Take(), 0);
  CHECK(bench.ring->TakeUsed());
  const uint32_t at = went + 1u;
  const uint32_t position = at % 8 | (at / 8 % 2 == 0 ? 0x8000u : 0);
  CHECK(bench.ring->BaseFromUsed() == (packed ? position | position << 16 : at));
}

TEST_CASE("a ring that cannot be is refused", "[driver_ring]") {
  std::vector<uint8_t> bytes(1 << 20);
  const SharedMemory memory = {Bench::Aligned(bytes.data()), kGuest, bytes.size() - 64};
  CHECK_THROWS(DriverRing::Make({.size = 0}, memory));
  CHECK_THROWS(DriverRing::Make({.size = 12}, memory));
  CHECK_NOTHROW(DriverRing::Make({.packed = true, .size = 12}, memory));
  CHECK_THROWS(DriverRing::Make({.size = 32768}, memory.Part(0, 4096)));
}

}  // namespace
}  // namespace sluice::testing

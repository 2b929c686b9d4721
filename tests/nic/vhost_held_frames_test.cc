// SPDX-License-Identifier: Apache-2.0
// Frames that a copy engine brings to a guest: what the guest is told of, and when packets and memory are given back.
#include <catch2/catch.hpp>
#include <deque>
#include <numeric>
#include <optional>

#include "tests/nic/model_engine.h"
#include "tests/nic/vhost_ring_rig.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/random_frames.h"

namespace sluice::testing {
namespace {

constexpr absl::Duration kLong = absl::Seconds(1);

Bytes Frame(size_t bytes, uint8_t first = 0) {
  Bytes frame(bytes);
  std::iota(frame.begin(), frame.end(), first);
  return frame;
}

Bytes WithoutHeader(const Bytes& arrival) {
  return arrival.size() < 12 ? Bytes() : Bytes(arrival.begin() + 12, arrival.end());
}

ModelCopyEngineOptions Takes(absl::Duration time) { return {.fastest = time, .slowest = time}; }

// A receiveq whose frames a model engine brings.
class EngineRig {
 public:
  explicit EngineRig(const ModelCopyEngineOptions& engine, RigOptions options = {}) : engines_(engine) {
    options.copies = engines_.Options();
    rig_.emplace(options);
    rig_->StartSink();
  }

  RingRig& rig() { return *rig_; }
  ModelEngines& engines() { return engines_; }
  CopyCounts counts() { return rig_->sink().held()->copies().counts(); }
  size_t held() { return rig_->pool().options().packets - rig_->pool().available(); }

  void Post(int chains, uint32_t bytes = 2048) {
    for (int i = 0; i < chains; ++i) rig_->Post({bytes});
  }
  // As one batch; all of them are taken.
  void Send(const std::vector<Bytes>& frames, size_t piece = 0) {
    Burst burst;
    for (const Bytes& frame : frames) burst.Push(MakePacket(rig_->pool(), frame, piece));
    CHECK(rig_->Send(burst) == frames.size());
  }
  // An idle worker's visit, when T has passed.
  void PassPatience() {
    engines_.Pass(ModelEngines::kPatience);
    rig_->sink().Reclaim();
  }
  Bytes TakeFrame() { return WithoutHeader(rig_->TakeArrival()); }

 private:
  ModelEngines engines_;
  std::optional<RingRig> rig_;
};

RigOptions AnyRing(bool mergeable = false) {
  return {.ring = GENERATE_COPY(from_range(RingKinds(32))), .mergeable = mergeable};
}

}  // namespace

TEST_CASE("a guest never sees bytes before their copy is done, and packets are not freed before") {
  EngineRig guest(Takes(absl::Microseconds(5)), AnyRing());
  guest.Post(4);
  guest.Send({Frame(1500, 1), Frame(1500, 2)});
  CHECK(guest.TakeFrame().empty());
  CHECK(guest.held() == 2);
  guest.engines().Pass(absl::Microseconds(4));
  guest.Send({Frame(1500, 3)});
  CHECK(guest.TakeFrame().empty());
  CHECK(guest.counts().early_polls == 1);
  guest.PassPatience();
  for (uint8_t i = 1; i <= 3; ++i) CHECK(guest.TakeFrame() == Frame(1500, i));
  CHECK(guest.held() == 0);
}

TEST_CASE("a batch is told of behind the next one, and the last one when T has passed") {
  EngineRig guest(Takes(absl::Microseconds(5)), AnyRing());
  guest.Post(3);
  for (uint8_t i = 0; i < 3; ++i) {
    guest.Send({Frame(1000, i)});
    CHECK(guest.TakeFrame() == (i == 0 ? Bytes() : Frame(1000, static_cast<uint8_t>(i - 1))));
    guest.engines().Pass(absl::Microseconds(10));
    CHECK(guest.rig().sink().Reclaim() == 0);
  }
  guest.engines().Pass(guest.rig().sink().due());
  CHECK(guest.rig().sink().Reclaim() == 1);
  CHECK(guest.TakeFrame() == Frame(1000, 2));
  CHECK(guest.counts().polls == 3);
  CHECK(guest.counts().early_polls == 0);
  CHECK(guest.counts().timeouts == 1);
}

TEST_CASE("a small frame that nothing is before goes at once, and waits for a long one that is") {
  EngineRig guest(Takes(absl::Microseconds(5)), AnyRing());
  guest.Post(3);
  guest.Send({Frame(60, 1)});
  CHECK(guest.TakeFrame() == Frame(60, 1));
  CHECK(guest.held() == 0);
  guest.Send({Frame(1000, 2), Frame(60, 3)});
  CHECK(guest.TakeFrame().empty());
  guest.PassPatience();
  CHECK(guest.TakeFrame() == Frame(1000, 2));
  CHECK(guest.TakeFrame() == Frame(60, 3));
}

TEST_CASE("of a frame in several buffers the guest is told at once") {
  EngineRig guest({.slowest = absl::Microseconds(50)}, AnyRing(/*mergeable=*/true));
  guest.Post(20, 1000);
  guest.Send({Frame(9000)}, 1800);
  Bytes arrival;
  for (int i = 0; arrival.empty() && i < 3; ++i) {
    guest.PassPatience();
    arrival = guest.rig().TakeArrival();
  }
  REQUIRE(guest.counts().early_polls > 0);
  CHECK(arrival[10] == 10);
  CHECK(WithoutHeader(arrival) == Frame(9000));
}

TEST_CASE("an error of the engine costs a copy by the processor, and the frame arrives once") {
  EngineRig guest({.fail = {2}}, AnyRing());
  guest.Post(4);
  guest.Send({Frame(1000, 1), Frame(1000, 2), Frame(1000, 3)});
  guest.PassPatience();
  for (uint8_t i = 1; i <= 3; ++i) CHECK(guest.TakeFrame() == Frame(1000, i));
  CHECK(guest.TakeFrame().empty());
  CHECK(guest.counts().failed == 1);
}

TEST_CASE("an engine that is removed takes no frame with it") {
  EngineRig guest(Takes(kLong), AnyRing());
  guest.Post(4);
  guest.Send({Frame(1000, 1), Frame(1000, 2)});
  guest.engines()[0].Remove();
  guest.Send({Frame(1000, 3)});
  for (uint8_t i = 1; i <= 3; ++i) CHECK(guest.TakeFrame() == Frame(1000, i));
  guest.Send({Frame(1000, 4)});
  CHECK(guest.TakeFrame() == Frame(1000, 4));
  CHECK(guest.held() == 0);
}

TEST_CASE("frames that find the engine full keep their order") {
  ModelCopyEngineOptions narrow = Takes(absl::Microseconds(5));
  narrow.capacity = 2;
  EngineRig guest(narrow, AnyRing());
  guest.Post(6);
  guest.Send({Frame(1000, 1), Frame(1000, 2), Frame(1000, 3), Frame(60, 4)});
  CHECK(guest.counts().full == 1);
  CHECK(guest.TakeFrame().empty());
  guest.PassPatience();
  for (uint8_t i = 1; i <= 3; ++i) CHECK(guest.TakeFrame() == Frame(1000, i));
  CHECK(guest.TakeFrame() == Frame(60, 4));
}

TEST_CASE(
    "a guest whose buffers are all with the engine has them back with the next call, however empty-handed") {
  EngineRig guest(Takes(absl::Microseconds(5)), AnyRing());
  guest.Post(2);
  guest.Send({Frame(1000, 1), Frame(1000, 2)});
  guest.engines().Pass(absl::Microseconds(5));
  Burst burst;
  burst.Push(guest.rig().Make(Frame(1000, 3)));
  CHECK(guest.rig().Send(burst) == 0);
  CHECK(guest.TakeFrame() == Frame(1000, 1));
  CHECK(guest.TakeFrame() == Frame(1000, 2));
}

TEST_CASE("what is dropped is freed at once, and what is before it is not") {
  EngineRig guest(Takes(absl::Microseconds(5)), AnyRing());
  guest.Post(3, 1500);
  guest.Send({Frame(1000, 1), Frame(1800), Frame(1000, 2)});
  CHECK(guest.rig().drops()[DropReason::kTooLong] == 1);
  CHECK(guest.held() == 2);
  guest.PassPatience();
  CHECK(guest.TakeFrame() == Frame(1000, 1));
  CHECK(guest.TakeFrame() == Frame(1000, 2));
}

TEST_CASE("payload that a guest lends goes home behind its copy") {
  RingRig from({.ring = {.packed = GENERATE(false, true), .size = 16}, .source = {.copy_up_to = 500}});
  EngineRig to(Takes(absl::Microseconds(5)), AnyRing());
  from.StartSource();
  const Bytes frame = TcpFrame({.payload_size = 1400});
  from.Offer(frame);
  to.Post(1);
  Burst burst;
  REQUIRE(from.Receive(burst) == 1);
  CHECK(to.rig().Send(burst) == 1);
  CHECK(from.source().lent() == 1);
  to.PassPatience();
  CHECK(from.source().lent() == 0);
  CHECK(to.TakeFrame() == frame);
}

TEST_CASE("a ring that rests or stops has told of all that it took") {
  EngineRig guest(Takes(kLong), AnyRing());
  guest.Post(4);
  guest.Send({Frame(1000, 1), Frame(60, 2)});
  guest.rig().sink().Finish();
  CHECK(guest.TakeFrame() == Frame(1000, 1));
  CHECK(guest.TakeFrame() == Frame(60, 2));
  const RingPosition stopped = guest.rig().sink().Stop();
  CHECK(stopped.available == stopped.used);
  guest.rig().StartSink();
  guest.Send({Frame(1000, 3)});
  guest.rig().sink().Finish();
  CHECK(guest.TakeFrame() == Frame(1000, 3));
}

TEST_CASE("while the guest's writes are logged nothing is late") {
  EngineRig guest(Takes(kLong), {.ring = {.packed = GENERATE(false, true), .size = 16}, .log = true});
  guest.Post(1);
  guest.Send({Frame(1000, 1)});
  CHECK(guest.TakeFrame() == Frame(1000, 1));
  CHECK(guest.counts().not_allowed == 1);
}

TEST_CASE("sending by an engine allocates nothing") {
  EngineRig guest({.slowest = absl::Microseconds(30)}, AnyRing(/*mergeable=*/true));
  guest.Post(12);
  Burst burst;
  for (int i = 0; i < 4; ++i) burst.Push(guest.rig().Make(Frame(1000)));
  burst.Push(MakePacket(guest.rig().pool(), Frame(7000), 1000));
  const AllocationCounter counter;
  CHECK(guest.rig().Send(burst) == 5);
  guest.PassPatience();
  guest.PassPatience();
  CHECK(counter.allocations() == 0);
  CHECK(guest.held() == 0);
}

namespace {

// A guest whose frames come by an engine of any kind, beside a twin that has none.
class Twins {
 public:
  explicit Twins(Random& random)
      : random_(random), ring_(AnyRingOf(random)), plain_(ring_), engine_(AnyEngine(random), ring_) {
    plain_.StartSink();
  }

  void Step() {
    if (Below(random_, 2) == 0) Post();
    Send();
    engine_.engines().Pass(absl::Microseconds(Below(random_, 30)));
    if (Below(random_, 3) == 0) engine_.rig().sink().Reclaim();
    if (Below(random_, 30) == 0) engine_.rig().sink().Finish();
    Compare();
  }
  void Finish() {
    engine_.rig().sink().Finish();
    Compare();
    REQUIRE(expected_.empty());
    REQUIRE(engine_.held() == 0);
  }

 private:
  static RigOptions AnyRingOf(Random& random) {
    return {.ring = {.packed = Below(random, 2) == 0, .in_order = Below(random, 2) == 0, .size = 64},
            .mergeable = Below(random, 2) == 0};
  }
  static ModelCopyEngineOptions AnyEngine(Random& random) {
    return {.capacity = 1 + Below(random, 40),
            .slowest = absl::Microseconds(Below(random, 40)),
            .fail_chance = Below(random, 3) == 0 ? 0.2 : 0,
            .removed_after = Below(random, 4) == 0 ? Below(random, 200) : 0,
            .finishes_when_quiesced = Below(random, 2) == 0,
            .seed = random()};
  }

  // The same buffers to both.
  void Post() {
    if (engine_.rig().driver().outstanding() == 0 && plain_.driver().outstanding() == 0) {
      plain_.Rewind();
      engine_.rig().Rewind();
    }
    std::vector<uint32_t> pieces(1 + Below(random_, 3));
    for (uint32_t& piece : pieces) piece = static_cast<uint32_t>(200 + Below(random_, 2000));
    if (plain_.driver().free_descriptors() < 4 || engine_.rig().driver().free_descriptors() < 4) return;
    plain_.Post(pieces);
    engine_.rig().Post(pieces);
  }
  // Both get the same frames, and take the same number of them.
  void Send() {
    Burst ours, theirs;
    for (size_t n = 1 + Below(random_, 4); n > 0; --n) {
      const Bytes frame = RandomFrame(random_, {.most_payload = 2500});
      const size_t piece = Below(random_, 2) == 0 ? 0 : 300;
      ours.Push(MakePacket(engine_.rig().pool(), frame, piece));
      theirs.Push(MakePacket(plain_.pool(), frame, piece));
    }
    REQUIRE(engine_.rig().Send(ours) == plain_.Send(theirs));
    for (Bytes frame = plain_.TakeArrival(); !frame.empty(); frame = plain_.TakeArrival())
      expected_.push_back(std::move(frame));
  }
  void Compare() {
    for (Bytes frame = engine_.rig().TakeArrival(); !frame.empty(); frame = engine_.rig().TakeArrival()) {
      REQUIRE(!expected_.empty());
      REQUIRE(frame == expected_.front());
      expected_.pop_front();
    }
  }

  Random& random_;
  const RigOptions ring_;
  RingRig plain_;
  EngineRig engine_;
  std::deque<Bytes> expected_;
};

}  // namespace

TEST_CASE("whatever engine, frames, buffers and pauses: a guest gets what it gets without an engine") {
  Random random(PrintedSeed());
  for (int round = 0; round < 25; ++round) {
    Twins twins(random);
    for (int step = 0; step < 40; ++step) twins.Step();
    twins.Finish();
  }
}

}  // namespace sluice::testing

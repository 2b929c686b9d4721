// SPDX-License-Identifier: Apache-2.0
// S13, isolation: what an owner at its limit does to another one's throughput and latency, turn by turn of a manual clock.
// Anna and Bert each have a card on one pool, with one book; nothing but the pool and the book is between them.
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <vector>

#include "sluice/base/clock.h"
#include "sluice/nic/model_nic.h"
#include "sluice/nic/pair_wire.h"
#include "sluice/packet/budget.h"
#include "tests/support/frames.h"

namespace sluice::testing {
namespace {

constexpr OwnerId kAnna{7};
constexpr OwnerId kBert{9};
constexpr uint32_t kBuffer = 2048;
constexpr uint64_t kAnnasBuffers = 20;
constexpr uint64_t kBertsBuffers = 12;

enum class AnnaIs {
  kIdle,         // nothing is sent to her
  kBlocked,      // she frees nothing, and polls on while her ring overflows
  kAsleep,       // likewise, but she waits in the book to be woken
  kInBertsName,  // blocked, and charged to Bert's allowance: what isolation is there to prevent
};

// A receiving card, and the card that sends to it.
struct Cards {
  Cards(PacketPool& pool, const Clock& clock, OwnerId owner) {
    auto [here, there] = MakeWirePair();
    receiver = ModelNic::Open({.clock = &clock, .stamp = true}, std::move(here)).value();
    sender = ModelNic::Open({}, std::move(there)).value();
    REQUIRE(receiver->Start({.rx_ring = 32, .pool = &pool, .owner = owner}) == absl::OkStatus());
    REQUIRE(sender->Start({.pool = &pool}) == absl::OkStatus());
  }
  RxQueue& rx() { return receiver->rx(QueueId{0}); }
  // What a sleeper leaves on the wire until that is full too, is given up.
  void Send(PacketPool& pool, size_t count) {
    Burst burst;
    for (size_t i = 0; i < count; ++i) {
      burst.Push(MakePacket(pool, UdpFrame({.source_port = static_cast<uint16_t>(++sent)})));
    }
    sender->tx(QueueId{0}).Send(burst);
  }

  std::unique_ptr<ModelNic> receiver;
  std::unique_ptr<ModelNic> sender;
  size_t sent = 0;
};

// All that Bert can see of a turn.
struct Turn {
  std::vector<int> frames;          // by number, as they came
  std::vector<Nanoseconds> waited;  // each on the ring
  uint64_t used = 0;                // bytes, behind what came
  uint64_t lost = 0;
  friend bool operator==(const Turn&, const Turn&) = default;
};

class TwoOwners {
 public:
  explicit TwoOwners(AnnaIs anna) : anna_is_(anna) {
    REQUIRE(book_->SetAllowance(kAnna, kAnnasBuffers * kBuffer) == absl::OkStatus());
    REQUIRE(book_->SetAllowance(kBert, kBertsBuffers * kBuffer) == absl::OkStatus());
  }

  // One microsecond: frames come for both, both look, Bert frees what he got three turns ago.
  Turn Step(size_t frames_for_bert) {
    clock_.Advance(absl::Microseconds(1));
    if (anna_is_ != AnnaIs::kIdle) AnnasTurn();
    bert_.Send(*pool_, frames_for_bert);
    Burst received;
    bert_.rx().Receive(received);
    Turn turn;
    for (const Packet* packet : received) {
      turn.frames.push_back(packet->data()[34] * 256 + packet->data()[35]);
      turn.waited.push_back(clock_.Now() - packet->timestamp());
    }
    turn.used = book_->Use(kBert).used;
    turn.lost = bert_.receiver->drops().total();
    held_by_bert_.push_back(std::move(received));
    if (held_by_bert_.size() > 3) held_by_bert_.pop_front();
    return turn;
  }
  BudgetUse anna() const { return book_->Use(kAnna); }
  uint64_t lost_by_anna() const { return anna_.receiver->drops()[DropReason::kOverBudget]; }

 private:
  void AnnasTurn() {
    anna_.Send(*pool_, 9);
    if (anna_is_ == AnnaIs::kAsleep && asleep_) return;
    Burst received;
    asleep_ = anna_.rx().Receive(received) == 0 && anna_is_ == AnnaIs::kAsleep && anna_.rx().Arm();
    if (!received.empty()) held_by_anna_.push_back(std::move(received));
  }

  const AnnaIs anna_is_;
  ManualClock clock_;
  const std::unique_ptr<BudgetBook> book_ = BudgetBook::Create({.bytes = 1 << 20}).value();
  const std::unique_ptr<PacketPool> pool_ =
      PacketPool::Create({.packets = 4096, .huge_pages = HugePages::kOff, .budget = book_.get()}).value();
  Cards anna_{*pool_, clock_, anna_is_ == AnnaIs::kInBertsName ? kBert : kAnna};
  Cards bert_{*pool_, clock_, kBert};
  std::vector<Burst> held_by_anna_;
  std::deque<Burst> held_by_bert_;
  bool asleep_ = false;
};

constexpr int kTurns = 200;

// Now more than Bert's allowance reaches for, so that he waits too, now less.
std::vector<Turn> BertsTurns(TwoOwners& rig) {
  std::vector<Turn> turns;
  for (size_t i = 0; i < kTurns; ++i) turns.push_back(rig.Step(i % 16 < 8 ? 5 : 1));
  return turns;
}

std::vector<Turn> BertAlone() {
  TwoOwners rig(AnnaIs::kIdle);
  return BertsTurns(rig);
}

uint64_t LongestWait(const std::vector<Turn>& turns) {
  Nanoseconds longest = 0;
  for (const Turn& turn : turns) {
    for (const Nanoseconds waited : turn.waited) longest = std::max(longest, waited);
  }
  return longest;
}

TEST_CASE("an owner at its limit changes no turn of another: not what comes, nor how long it waited (S13)") {
  const std::vector<Turn> alone = BertAlone();
  REQUIRE(LongestWait(alone) > 2000);  // there is something to be changed
  REQUIRE(alone.back().frames.size() > 0);
  for (const AnnaIs anna : {AnnaIs::kBlocked, AnnaIs::kAsleep}) {
    TwoOwners rig(anna);
    const std::vector<Turn> beside = BertsTurns(rig);
    for (size_t i = 0; i < kTurns; ++i) {
      INFO("turn " << i);
      REQUIRE((beside[i] == alone[i]));
    }
    CHECK(rig.anna().used == kAnnasBuffers * kBuffer);
    CHECK(rig.anna().waiting == (anna == AnnaIs::kAsleep ? 1u : 0u));
    CHECK((rig.lost_by_anna() > 0) == (anna == AnnaIs::kBlocked));  // a sleeper's wait on the wire
  }
}

TEST_CASE("turns would tell of an owner that is at the limit in another's name (S13)") {
  TwoOwners rig(AnnaIs::kInBertsName);
  CHECK_FALSE((BertsTurns(rig) == BertAlone()));
}

// Completion: frames that wait for buffers come out in the same number of turns, whoever else waits.
TEST_CASE(
    "what waits for an allowance is through after as many turns, whether another owner waits or not (S13)") {
  const auto turns_until_through = [](AnnaIs anna) {
    TwoOwners rig(anna);
    rig.Step(30);
    size_t came = 0;
    int turns = 0;
    for (; came < 30 - kBertsBuffers && turns < kTurns; ++turns) came += rig.Step(0).frames.size();
    return turns;
  };
  const int alone = turns_until_through(AnnaIs::kIdle);
  CHECK(alone > 1);
  CHECK(alone < kTurns);
  CHECK(turns_until_through(AnnaIs::kBlocked) == alone);
  CHECK(turns_until_through(AnnaIs::kAsleep) == alone);
  CHECK(turns_until_through(AnnaIs::kInBertsName) == kTurns);
}

}  // namespace
}  // namespace sluice::testing

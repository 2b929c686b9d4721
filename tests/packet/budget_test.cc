// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/budget.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "sluice/packet/packet_pool.h"
#include "tests/packet/packet_queue.h"
#include "tests/packet/small_pool.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/seed.h"

namespace sluice {
namespace {

using namespace sluice::testing;  // NOLINT: the fixtures' words

constexpr OwnerId kAnna{7};
constexpr OwnerId kBert{9};
constexpr uint32_t kBuffer = 2048;

std::unique_ptr<BudgetBook> Book(uint64_t bytes = 1 << 20, uint32_t owners = 8) {
  auto book = BudgetBook::Create({.bytes = bytes, .owners = owners});
  if (!book.ok()) FAIL(book.status().ToString());
  return *std::move(book);
}

// A book in which Anna and Bert each may hold so many buffers.
std::unique_ptr<BudgetBook> BookFor(uint64_t anna, uint64_t bert) {
  auto book = Book();
  REQUIRE(book->SetAllowance(kAnna, anna * kBuffer).ok());
  REQUIRE(book->SetAllowance(kBert, bert * kBuffer).ok());
  return book;
}

uint64_t Buffers(const BudgetBook& book, OwnerId owner) { return book.Use(owner).used / kBuffer; }

// Writes its number into a list when it is told.
class ListedWaiter : public BudgetWaiter {
 public:
  ListedWaiter(int number, std::vector<int>& granted, std::vector<int>& refused)
      : number_(number), granted_(granted), refused_(refused) {}
  void Granted() override { granted_.push_back(number_); }
  void Refused() override { refused_.push_back(number_); }

 private:
  const int number_;
  std::vector<int>& granted_;
  std::vector<int>& refused_;
};

// Numbered waiters of one owner.
class Line {
 public:
  explicit Line(BudgetBook& book, OwnerId owner = kAnna) : book_(book), owner_(owner) {}
  BudgetAnswer Wait(uint32_t bytes = kBuffer) {
    waiters_.emplace_back(static_cast<int>(waiters_.size()), granted, refused);
    return book_.Wait(owner_, bytes, waiters_.back());
  }
  bool Cancel(size_t number) { return book_.Cancel(waiters_[number]); }

  std::vector<int> granted;
  std::vector<int> refused;

 private:
  BudgetBook& book_;
  const OwnerId owner_;
  std::deque<ListedWaiter> waiters_;
};

TEST_CASE("a grant that would take the owner over its allowance is not given, and one that just fits is") {
  auto book = BookFor(4, 4);
  CHECK(book->Charge(kAnna, 3 * kBuffer) == 1);
  CHECK(book->Charge(kAnna, kBuffer + 1) == 0);
  CHECK(book->Charge(kAnna, kBuffer) == 1);
  CHECK(book->Charge(kAnna, 1) == 0);
  book->Release(kAnna, 3 * kBuffer);
  book->Release(kAnna, kBuffer);
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("of many pieces as many are granted as fit") {
  auto book = BookFor(4, 4);
  CHECK(book->Charge(kAnna, kBuffer, 32) == 4);
  CHECK(book->Charge(kAnna, kBuffer, 32) == 0);
  book->Release(kAnna, kBuffer, 4);
}

TEST_CASE("an owner at its limit changes nothing for another") {
  auto book = BookFor(4, 4);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer, 4) == 4);
  REQUIRE(anna.Wait() == BudgetAnswer::kWaiting);

  CHECK(book->Charge(kBert, kBuffer, 4) == 4);
  book->Release(kBert, kBuffer, 4);
  CHECK(anna.granted.empty());
  CHECK(book->Use(kBert).waiting == 0);

  CHECK(anna.Cancel(0));
  book->Release(kAnna, kBuffer, 4);
}

TEST_CASE("waiting charges are granted in their order as buffers come back") {
  auto book = BookFor(4, 4);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer, 4) == 4);
  for (int i = 0; i < 4; ++i) REQUIRE(anna.Wait() == BudgetAnswer::kWaiting);
  CHECK(book->Use(kAnna).waiting == 4);

  book->Release(kAnna, kBuffer);
  CHECK(anna.granted == std::vector<int>{0});
  book->Release(kAnna, kBuffer, 2);
  CHECK(anna.granted == std::vector<int>{0, 1, 2});
  CHECK(book->Use(kAnna).used == 4 * kBuffer);

  book->Release(kAnna, kBuffer, 4);
  CHECK(anna.granted == std::vector<int>{0, 1, 2, 3});
  book->Release(kAnna, kBuffer);
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("a small charge does not overtake a large one that waits, neither by trying nor by waiting") {
  auto book = BookFor(4, 4);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer, 2) == 2);
  REQUIRE(anna.Wait(4 * kBuffer) == BudgetAnswer::kWaiting);

  CHECK(book->Charge(kAnna, kBuffer) == 0);
  CHECK(anna.Wait(kBuffer) == BudgetAnswer::kWaiting);
  CHECK(anna.granted.empty());

  book->Release(kAnna, kBuffer, 2);
  CHECK(anna.granted == std::vector<int>{0});
  book->Release(kAnna, 4 * kBuffer);
  CHECK(anna.granted == std::vector<int>{0, 1});
  book->Release(kAnna, kBuffer);
}

TEST_CASE("once nobody waits any more, trying works again") {
  auto book = BookFor(1, 1);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer) == 1);
  REQUIRE(anna.Wait() == BudgetAnswer::kWaiting);
  book->Release(kAnna, kBuffer);
  book->Release(kAnna, kBuffer);  // the waiter's
  CHECK(book->Charge(kAnna, kBuffer) == 1);
  book->Release(kAnna, kBuffer);
}

TEST_CASE("a waiting charge that fits already is granted at once, without a call-back") {
  auto book = BookFor(1, 1);
  Line anna(*book);
  CHECK(anna.Wait() == BudgetAnswer::kGranted);
  CHECK(anna.granted.empty());
  CHECK(Buffers(*book, kAnna) == 1);
  book->Release(kAnna, kBuffer);
}

TEST_CASE(
    "what is larger than the whole allowance is refused at once and counted, also with others waiting") {
  auto book = BookFor(4, 4);
  Line anna(*book);
  CHECK(book->Charge(kAnna, 4 * kBuffer + 1) == 0);
  CHECK(anna.Wait(4 * kBuffer + 1) == BudgetAnswer::kTooLarge);
  REQUIRE(book->Charge(kAnna, kBuffer, 4) == 4);
  REQUIRE(anna.Wait() == BudgetAnswer::kWaiting);
  CHECK(anna.Wait(5 * kBuffer) == BudgetAnswer::kTooLarge);

  CHECK(book->Use(kAnna).oversized == 3);
  CHECK(book->Use(kAnna).waiting == 1);
  CHECK(book->Use(kBert).oversized == 0);
  CHECK(anna.Cancel(1));
  book->Release(kAnna, kBuffer, 4);
}

TEST_CASE("raising an allowance grants what waits, as far as it reaches") {
  auto book = BookFor(2, 2);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer, 2) == 2);
  for (int i = 0; i < 4; ++i) REQUIRE(anna.Wait() == BudgetAnswer::kWaiting);

  REQUIRE(book->SetAllowance(kAnna, 5 * kBuffer).ok());
  CHECK(anna.granted == std::vector<int>{0, 1, 2});
  CHECK(Buffers(*book, kAnna) == 5);

  CHECK(anna.Cancel(3));
  book->Release(kAnna, kBuffer, 5);
}

TEST_CASE(
    "lowering an allowance below what is used takes nothing back and grants nothing until enough is free") {
  auto book = BookFor(4, 4);
  REQUIRE(book->Charge(kAnna, kBuffer, 4) == 4);
  REQUIRE(book->SetAllowance(kAnna, 2 * kBuffer).ok());
  CHECK(Buffers(*book, kAnna) == 4);

  book->Release(kAnna, kBuffer, 2);
  CHECK(book->Charge(kAnna, kBuffer) == 0);
  book->Release(kAnna, kBuffer);
  CHECK(book->Charge(kAnna, kBuffer) == 1);
  book->Release(kAnna, kBuffer, 2);
}

TEST_CASE("a waiting charge that a lowered allowance can never hold is refused, and the next gets its turn") {
  auto book = BookFor(4, 4);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer) == 1);
  REQUIRE(anna.Wait(4 * kBuffer) == BudgetAnswer::kWaiting);
  REQUIRE(anna.Wait(kBuffer) == BudgetAnswer::kWaiting);

  REQUIRE(book->SetAllowance(kAnna, 2 * kBuffer).ok());
  CHECK(anna.refused == std::vector<int>{0});
  CHECK(anna.granted == std::vector<int>{1});
  book->Release(kAnna, kBuffer, 2);
}

TEST_CASE("memory above a lowered allowance is not given to others before it is released") {
  auto book = Book(10 * kBuffer);
  REQUIRE(book->SetAllowance(kAnna, 6 * kBuffer).ok());
  REQUIRE(book->Charge(kAnna, kBuffer, 6) == 6);
  REQUIRE(book->SetAllowance(kAnna, 2 * kBuffer).ok());

  CHECK(book->bytes_left() == 4 * kBuffer);
  CHECK(book->SetAllowance(kBert, 5 * kBuffer).code() == absl::StatusCode::kResourceExhausted);
  book->Release(kAnna, kBuffer);
  CHECK(book->SetAllowance(kBert, 5 * kBuffer).ok());
  book->Release(kAnna, kBuffer, 5);
}

TEST_CASE("allowances never add up to more than the pool") {
  auto book = Book(10 * kBuffer);
  CHECK(book->SetAllowance(kAnna, 6 * kBuffer).ok());
  CHECK(book->SetAllowance(kBert, 5 * kBuffer).code() == absl::StatusCode::kResourceExhausted);
  CHECK(book->Charge(kBert, 1) == 0);  // the refusal left no owner behind
  CHECK(book->SetAllowance(kBert, ~uint64_t{0}).code() == absl::StatusCode::kResourceExhausted);
  CHECK(book->SetAllowance(kBert, 4 * kBuffer).ok());
  CHECK(book->bytes_left() == 0);
}

TEST_CASE("a cancelled wait is never granted and lets the next one through") {
  auto book = BookFor(4, 4);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer, 2) == 2);
  REQUIRE(anna.Wait(3 * kBuffer) == BudgetAnswer::kWaiting);
  REQUIRE(anna.Wait(2 * kBuffer) == BudgetAnswer::kWaiting);

  CHECK(anna.Cancel(0));
  CHECK(anna.granted == std::vector<int>{1});
  CHECK_FALSE(anna.Cancel(0));
  CHECK_FALSE(anna.Cancel(1));  // granted already
  book->Release(kAnna, 2 * kBuffer);
  book->Release(kAnna, kBuffer, 2);
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("a removed owner gets nothing, keeps what it holds, and ends at exactly zero") {
  auto book = BookFor(4, 4);
  Line anna(*book);
  REQUIRE(book->Charge(kAnna, kBuffer, 4) == 4);
  REQUIRE(anna.Wait() == BudgetAnswer::kWaiting);

  REQUIRE(book->Remove(kAnna).ok());
  CHECK(anna.refused == std::vector<int>{0});
  CHECK(Buffers(*book, kAnna) == 4);
  CHECK(book->Charge(kAnna, 1) == 0);
  CHECK(anna.Wait() == BudgetAnswer::kUnknownOwner);
  CHECK(book->Remove(kAnna).code() == absl::StatusCode::kNotFound);

  book->Release(kAnna, kBuffer, 4);
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("an owner added again while it still held something has that counted against it") {
  auto book = BookFor(4, 4);
  REQUIRE(book->Charge(kAnna, kBuffer, 3) == 3);
  REQUIRE(book->Remove(kAnna).ok());
  REQUIRE(book->SetAllowance(kAnna, 4 * kBuffer).ok());
  CHECK(book->Charge(kAnna, kBuffer, 32) == 1);
  book->Release(kAnna, kBuffer, 4);
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("owners come and go without end, and only so many at a time") {
  auto book = Book(1 << 20, 4);
  for (uint32_t owner = 1; owner < 1'000; ++owner) {
    REQUIRE(book->SetAllowance(OwnerId(owner), kBuffer).ok());
    REQUIRE(book->Charge(OwnerId(owner), kBuffer) == 1);
    book->Release(OwnerId(owner), kBuffer);
    if (owner > 3) REQUIRE(book->Remove(OwnerId(owner - 3)).ok());
  }
  REQUIRE(book->SetAllowance(OwnerId(5'000), kBuffer).ok());
  CHECK(book->SetAllowance(OwnerId(5'001), kBuffer).code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("nobody, and owners without an allowance, are charged nothing") {
  auto book = Book();
  CHECK(book->Charge(kNobody, 1) == 0);
  CHECK(book->Charge(kAnna, 1) == 0);
  CHECK(book->SetAllowance(kNobody, 1).code() == absl::StatusCode::kInvalidArgument);
  CHECK(book->SetAllowance(OwnerId(~uint32_t{0}), 1).code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("options out of range are refused by the book") {
  CHECK(BudgetBook::Create({.bytes = 0}).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(BudgetBook::Create({.bytes = ~uint64_t{0}}).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(BudgetBook::Create({.owners = 0}).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("allowances survive saving and loading, and come back all or not at all") {
  auto book = BookFor(4, 5);
  const auto loaded = LoadState<BudgetState>(SaveState(book->State()));
  REQUIRE(loaded.ok());

  auto again = Book();
  REQUIRE(again->Restore(*loaded).ok());
  CHECK(again->Use(kAnna).allowance == 4 * kBuffer);
  CHECK(again->Use(kBert).allowance == 5 * kBuffer);

  auto small = Book(8 * kBuffer);
  CHECK(small->Restore(*loaded).code() == absl::StatusCode::kResourceExhausted);
  CHECK(small->bytes_left() == 8 * kBuffer);

  BudgetState twice = *loaded;
  twice.allowances.push_back(twice.allowances[0]);
  CHECK(again->Restore(twice).code() == absl::StatusCode::kInvalidArgument);
}

// The stupid twin: plain numbers and a queue for each owner.
class Twin {
 public:
  explicit Twin(uint64_t pool) : pool_(pool) {}
  struct Owner {
    uint64_t allowance = 0;
    uint64_t used = 0;
    std::deque<uint64_t> waiting;
  };
  bool SetAllowance(uint32_t owner, uint64_t units) {
    uint64_t sum = 0;
    for (auto& [id, o] : owners) sum += std::max(id == owner ? units : o.allowance, o.used);
    if (!owners.contains(owner)) sum += units;
    if (sum > pool_) return false;
    owners[owner].allowance = units;
    Pump(owners[owner]);
    return true;
  }
  uint64_t Charge(uint32_t owner, uint64_t units, uint64_t n) {
    Owner& o = owners[owner];
    uint64_t granted = 0;
    for (; granted < n && o.waiting.empty() && o.used + units <= o.allowance; ++granted) o.used += units;
    return granted;
  }
  void Release(uint32_t owner, uint64_t units) {
    owners[owner].used -= units;
    Pump(owners[owner]);
  }
  void Wait(uint32_t owner, uint64_t units) {
    Owner& o = owners[owner];
    if (units > o.allowance) return;
    o.waiting.push_back(units);
    Pump(o);
  }
  std::map<uint32_t, Owner> owners;

 private:
  static void Pump(Owner& o) {
    while (!o.waiting.empty()) {
      const uint64_t units = o.waiting.front();
      if (units <= o.allowance && o.used + units > o.allowance) return;
      if (units <= o.allowance) o.used += units;
      o.waiting.pop_front();
    }
  }
  const uint64_t pool_;
};

// The book and its twin, to which the same things happen. Sizes are in units of 64 bytes.
class Trial {
 public:
  static constexpr uint64_t kPool = 1'000;
  static constexpr uint32_t kOwners = 3;

  explicit Trial(uint64_t seed) : random_(seed) {
    for (uint32_t owner = 1; owner <= kOwners; ++owner) {
      CHECK(book_->SetAllowance(OwnerId(owner), 64).ok() == twin_.SetAllowance(owner, 1));
      lines_.emplace_back(*book_, OwnerId(owner));
    }
  }
  ~Trial() {
    for (uint32_t owner = 1; owner <= kOwners; ++owner) {
      CHECK(book_->Remove(OwnerId(owner)).ok());
      const uint64_t rest = book_->Use(OwnerId(owner)).used;
      book_->Release(OwnerId(owner), static_cast<uint32_t>(rest));
    }
  }

  void Step() {
    const auto owner = static_cast<uint32_t>(1 + Below(random_, kOwners));
    const auto units = static_cast<uint32_t>(1 + Below(random_, 60));
    const uint64_t deed = Below(random_, 5);
    if (deed == 0)
      CHECK(book_->SetAllowance(OwnerId(owner), units * 640).ok() == twin_.SetAllowance(owner, units * 10));
    if (deed == 1) Wait(owner, units);
    if (deed == 2) Charge(owner, units);
    if (deed >= 3) ReleaseOne();
  }

  // What waiting charges were granted is given back at some time too.
  void ReleaseWaited() {
    for (auto& [id, o] : twin_.owners) {
      uint64_t waited = o.used;
      for (const auto& [holder, its] : held_) waited -= holder == id ? its : 0;
      book_->Release(OwnerId(id), static_cast<uint32_t>(waited * 64));
      twin_.Release(id, waited);
    }
  }

  void Compare() const {
    uint64_t sum = 0;
    for (const auto& [id, o] : twin_.owners) {
      const BudgetUse use = book_->Use(OwnerId(id));
      REQUIRE(use.used == o.used * 64);
      REQUIRE(use.waiting == o.waiting.size());
      sum += use.used;
    }
    REQUIRE(sum <= kPool * 64);
  }

 private:
  // A little less than whole units, for they are rounded up.
  static uint32_t Bytes(uint32_t units) { return units * 64 - 3; }

  void Wait(uint32_t owner, uint32_t units) {
    lines_[owner - 1].Wait(Bytes(units));
    twin_.Wait(owner, units);
  }
  void Charge(uint32_t owner, uint32_t units) {
    const uint64_t n = Below(random_, 4);
    const size_t granted = book_->Charge(OwnerId(owner), Bytes(units), n);
    CHECK(granted == twin_.Charge(owner, units, n));
    held_.insert(held_.end(), granted, {owner, units});
  }
  void ReleaseOne() {
    if (held_.empty()) return;
    std::swap(held_[Below(random_, held_.size())], held_.back());
    const auto [owner, units] = held_.back();
    held_.pop_back();
    book_->Release(OwnerId(owner), Bytes(units));
    twin_.Release(owner, units);
  }

  Random random_;
  std::unique_ptr<BudgetBook> book_ = Book(kPool * 64, 4);
  Twin twin_{kPool};
  std::deque<Line> lines_;
  std::vector<std::pair<uint32_t, uint32_t>> held_;  // owner and units, of charges made by trying
};

TEST_CASE("over random charges, releases, waits and changes the book holds what plain arithmetic says") {
  Trial trial(PrintedSeed());
  for (int step = 0; step < 6'000; ++step) {
    trial.Step();
    if (step % 50 == 0) trial.ReleaseWaited();
    trial.Compare();
  }
}

TEST_CASE("many threads together are never granted more than the allowance") {
  constexpr uint64_t kAllowance = 50;
  auto book = BookFor(kAllowance, kAllowance);
  std::atomic<uint64_t> held{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  const uint64_t seed = PrintedSeed();
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      for (int round = 0; round < 5'000; ++round) {
        const size_t granted = book->Charge(kAnna, kBuffer, 1 + Below(random, 30));
        if (held.fetch_add(granted) + granted > kAllowance) over = true;
        held.fetch_sub(granted);
        book->Release(kAnna, kBuffer, granted);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(over);
  CHECK(book->Use(kAnna).used == 0);
}

// Counts what it was granted, from any thread.
struct CountingWaiter : BudgetWaiter {
  void Granted() override { granted.store(true, std::memory_order_release); }
  void Refused() override { refused.store(true, std::memory_order_release); }
  std::atomic<bool> granted{false};
  std::atomic<bool> refused{false};
};

TEST_CASE("no release is missed by one who starts to wait at the same moment") {
  auto book = BookFor(1, 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 3'000; ++round) {
        CountingWaiter waiter;
        // Whoever holds the one buffer releases it, so a grant comes, or this never ends.
        if (book->Wait(kAnna, kBuffer, waiter) == BudgetAnswer::kWaiting) {
          while (!waiter.granted.load(std::memory_order_acquire)) std::this_thread::yield();
        }
        book->Release(kAnna, kBuffer);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(book->Use(kAnna).used == 0);
  CHECK(book->Use(kAnna).waiting == 0);
}

TEST_CASE("owners removed and added under charges leave exactly zero behind, and no stranger is charged") {
  auto book = Book(1 << 20, 4);
  REQUIRE(book->SetAllowance(kBert, 10 * kBuffer).ok());
  std::atomic<bool> done{false};
  std::thread charger([&] {
    while (!done) {
      const size_t granted = book->Charge(kAnna, kBuffer, 3);
      book->Release(kAnna, kBuffer, granted);
    }
  });
  for (uint32_t round = 0; round < 2'000; ++round) {
    // The stranger comes to have the account that Anna left, now and then.
    const OwnerId stranger(100 + round);
    CHECK(book->SetAllowance(kAnna, 10 * kBuffer).ok());
    CHECK(book->Remove(kAnna).ok());
    CHECK(book->SetAllowance(stranger, 10 * kBuffer).ok());
    CHECK(book->Use(stranger).used == 0);
    CHECK(book->Remove(stranger).ok());
  }
  done = true;
  charger.join();
  CHECK(book->Use(kAnna).used == 0);
  CHECK(book->Use(kBert).used == 0);
}

// Through the pool.
// ------------------------------------------------------------------------------------------------------

std::unique_ptr<PacketPool> ChargingPool(BudgetBook& book, uint32_t packets = 256) {
  return SmallPool({.packets = packets, .buffer_size = kBuffer, .budget = &book});
}

TEST_CASE(
    "the pool gives an owner as many buffers as its allowance reaches for, and others as many as before") {
  auto book = BookFor(20, 40);
  auto pool = ChargingPool(*book);
  Burst anna;
  Burst bert;
  CHECK(pool->Get(anna, 32, kAnna) == 20);
  CHECK(pool->Get(anna, 32, kAnna) == 0);
  CHECK(pool->Get(bert, 32, kBert) == 32);
  for (const Packet* packet : anna) CHECK(packet->owner() == kAnna);
  CHECK(Buffers(*book, kAnna) == 20);
  CHECK(Buffers(*book, kBert) == 32);
}

TEST_CASE("a dropped burst, a chain and a lone packet each give their charges back to the last") {
  auto book = BookFor(40, 40);
  auto pool = ChargingPool(*book);
  Burst burst;
  pool->Get(burst, 30, kAnna);
  pool->Get(burst, 20, kBert);
  PacketPtr head = burst.PopFront();
  head->Append(burst.PopFront());
  burst.Push(pool->GetOne());  // charged to nobody
  CHECK(Buffers(*book, kAnna) == 30);

  head.reset();
  CHECK(Buffers(*book, kAnna) == 28);
  burst.Clear();
  CHECK(book->Use(kAnna).used == 0);
  CHECK(book->Use(kBert).used == 0);
  CHECK(pool->available() == 256);
}

TEST_CASE("what a dry pool could not give is not charged") {
  auto book = BookFor(100, 100);
  auto pool = ChargingPool(*book, 10);
  Burst burst;
  CHECK(pool->Get(burst, 32, kAnna) == 10);
  CHECK(Buffers(*book, kAnna) == 10);
}

TEST_CASE(
    "a buffer that moves through queues and threads is charged once, to the same owner, until it is freed") {
  auto book = BookFor(40, 40);
  auto pool = ChargingPool(*book);
  PacketQueue first;
  PacketQueue second;
  Burst burst;
  pool->Get(burst, 32, kAnna);
  first.Push(burst);
  std::thread mover([&] {
    Burst moved = first.Pop();
    CHECK(Buffers(*book, kAnna) == 32);
    second.Push(moved);
  });
  mover.join();
  burst = second.Pop();
  CHECK(burst[31].owner() == kAnna);
  CHECK(Buffers(*book, kAnna) == 32);
  burst.Clear();
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("a waiter that was granted finds its buffer in the pool and pays for it once") {
  auto book = BookFor(4, 4);
  auto pool = ChargingPool(*book, 4);
  Line anna(*book);
  Burst burst;
  REQUIRE(pool->Get(burst, 4, kAnna) == 4);
  REQUIRE(anna.Wait(kBuffer) == BudgetAnswer::kWaiting);

  burst.PopFront().reset();
  REQUIRE(anna.granted == std::vector<int>{0});
  CHECK(pool->GetGranted(burst, 1, kAnna) == 1);
  CHECK(Buffers(*book, kAnna) == 4);
  burst.Clear();
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("an owner removed while its buffers are out is at zero when the last comes home") {
  auto book = BookFor(8, 8);
  auto pool = ChargingPool(*book);
  Burst burst;
  pool->Get(burst, 8, kAnna);
  REQUIRE(book->Remove(kAnna).ok());
  REQUIRE(Buffers(*book, kAnna) == 8);
  burst.Clear();
  CHECK(book->Use(kAnna).used == 0);
}

// A receive ring of the kind that waits: frames stay on it until there is memory, and are lost only when it
// is full, only this owner's.
class WaitingRing {
 public:
  WaitingRing(PacketPool& pool, BudgetBook& book, OwnerId owner)
      : pool_(pool), line_(book, owner), owner_(owner) {}
  void Arrive(uint32_t number) {
    if (ring_.size() == 4) {
      ++dropped;
      return;
    }
    ring_.push_back(number);
    Serve();
  }
  void Serve() {
    // Each grant is for the frame at the head.
    while (!ring_.empty() && (line_.granted.size() > used_grants_ || TakeByTrying())) {
      if (line_.granted.size() > used_grants_) {
        ++used_grants_;
        waiting_ = false;
        pool_.GetGranted(stored, 1, owner_);
      }
      stored[stored.size() - 1].set_mark(ring_.front());
      ring_.pop_front();
    }
    if (!ring_.empty() && !waiting_) waiting_ = line_.Wait(kBuffer) == BudgetAnswer::kWaiting;
  }
  void Reset() {
    if (waiting_) CHECK(line_.Cancel(0));
    ring_.clear();
    stored.Clear();
  }

  Burst stored;
  int dropped = 0;

 private:
  bool TakeByTrying() { return !waiting_ && pool_.Get(stored, 1, owner_) == 1; }

  PacketPool& pool_;
  Line line_;
  const OwnerId owner_;
  std::deque<uint32_t> ring_;
  size_t used_grants_ = 0;
  bool waiting_ = false;
};

TEST_CASE("frames of an owner at its limit wait in order and drop only from its own full ring") {
  auto book = BookFor(2, 8);
  auto pool = ChargingPool(*book);
  WaitingRing anna(*pool, *book, kAnna);
  WaitingRing bert(*pool, *book, kBert);
  for (uint32_t i = 0; i < 8; ++i) {
    anna.Arrive(i);
    bert.Arrive(i);
  }
  CHECK(anna.stored.size() == 2);
  CHECK(anna.dropped == 2);
  CHECK(bert.stored.size() == 8);
  CHECK(bert.dropped == 0);

  std::vector<uint32_t> order;
  while (!anna.stored.empty()) {
    order.push_back(anna.stored.PopFront()->mark());
    anna.Serve();
  }
  CHECK(order == std::vector<uint32_t>{0, 1, 2, 3, 4, 5});
  CHECK(book->Use(kAnna).used == 0);
}

TEST_CASE("a queue that is reset while it waits leaves exactly zero") {
  auto book = BookFor(2, 2);
  auto pool = ChargingPool(*book);
  WaitingRing anna(*pool, *book, kAnna);
  for (uint32_t i = 0; i < 4; ++i) anna.Arrive(i);
  REQUIRE(book->Use(kAnna).waiting == 1);

  anna.Reset();
  CHECK(book->Use(kAnna).used == 0);
  CHECK(book->Use(kAnna).waiting == 0);
}

TEST_CASE("charging, waiting and releasing allocate nothing") {
  auto book = BookFor(32, 8);
  auto pool = ChargingPool(*book);
  Burst burst;
  CountingWaiter waiter;
  const AllocationCounter counter;
  for (int round = 0; round < 10; ++round) {
    pool->Get(burst, 32, kAnna);
    book->Wait(kAnna, kBuffer, waiter);
    burst.Clear();
    book->Release(kAnna, kBuffer);
  }
  CHECK(counter.allocations() == 0);
}

TEST_CASE("buffers charged on one thread and freed on another leave exactly zero and a whole pool") {
  auto book = BookFor(100, 50);
  auto pool = ChargingPool(*book, 128);
  PacketQueue queue;
  constexpr int kBursts = 1'000;
  std::thread receiver([&] {
    for (int i = 0; i < kBursts; ++i) {
      Burst burst;
      pool->Get(burst, 16, i % 2 == 0 ? kAnna : kBert);
      queue.Push(burst);
    }
  });
  for (int i = 0; i < kBursts; ++i) queue.Pop();
  receiver.join();
  CHECK(book->Use(kAnna).used == 0);
  CHECK(book->Use(kBert).used == 0);
  CHECK(pool->available() == 128);
}

}  // namespace
}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// What one owner's buffers cost while another one is at its limit and charges of it wait, against the same with nobody else
// there. Both go through one pool and one book.

#include <array>
#include <memory>
#include <utility>

#include "benchmarks/paired.h"
#include "sluice/packet/budget.h"
#include "sluice/packet/packet_pool.h"

namespace sluice::bench {
namespace {

constexpr size_t kBurst = 32;
constexpr OwnerId kBlocked{7};
constexpr OwnerId kWorking{9};

class SilentWaiter final : public BudgetWaiter {
  void Granted() override {}
  void Refused() override {}
};

struct Shared {
  // Takes all that the one owner may have, and has more wait.
  void Block() {
    pool->Get(taken, taken.room(), kBlocked);
    for (SilentWaiter& waiter : waiters) book->Wait(kBlocked, pool->options().buffer_size, waiter);
  }
  ~Shared() {
    for (SilentWaiter& waiter : waiters) book->Cancel(waiter);
  }

  std::unique_ptr<BudgetBook> book;
  std::unique_ptr<PacketPool> pool;
  std::array<SilentWaiter, 16> waiters;
  Burst taken;
};

absl::StatusOr<std::shared_ptr<Shared>> MakeShared() {
  auto shared = std::make_shared<Shared>();
  absl::StatusOr<std::unique_ptr<BudgetBook>> book = BudgetBook::Create({});
  if (!book.ok()) return book.status();
  shared->book = *std::move(book);
  absl::StatusOr<std::unique_ptr<PacketPool>> pool = PacketPool::Create({.budget = shared->book.get()});
  if (!pool.ok()) return pool.status();
  shared->pool = *std::move(pool);
  const uint64_t buffer = shared->pool->options().buffer_size;
  if (absl::Status set = shared->book->SetAllowance(kBlocked, kBurst * buffer); !set.ok()) return set;
  if (absl::Status set = shared->book->SetAllowance(kWorking, 4 * kBurst * buffer); !set.ok()) return set;
  return shared;
}

absl::StatusOr<Sampler> GetAndFree(bool beside_a_blocked_one) {
  absl::StatusOr<std::shared_ptr<Shared>> shared = MakeShared();
  if (!shared.ok()) return shared.status();
  if (beside_a_blocked_one) (*shared)->Block();
  return NanosecondsPer([shared = *std::move(shared)](size_t n) {
    Burst burst;
    for (size_t done = 0; done < n; done += kBurst) {
      shared->pool->Get(burst, kBurst, kWorking);
      MustBeInMemory(&burst);
      burst.Clear();
    }
  });
}

const Registration isolation({.work = "packet/budget/isolation",
                              .peer = "PacketPool::Get",
                              .peer_mode = "no other owner, burst 32",
                              .goal = 0.9,
                              .open = [] { return MakePair(GetAndFree(true), GetAndFree(false)); }});

}  // namespace
}  // namespace sluice::bench

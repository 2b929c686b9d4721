// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/budget.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "absl/strings/str_cat.h"
#include "packet/budget_account_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

constexpr uint64_t kLargestPool = uint64_t{256} << 30;
constexpr uint32_t kMostOwners = 65536;

Problem ProblemOfBook(const BudgetOptions& options, const char* stage) {
  return {.device = absl::StrCat("budget ", options.name), .stage = stage};
}

absl::Status CheckOptions(const BudgetOptions& options) {
  Problem problem = ProblemOfBook(options, "check options");
  if (options.bytes < kBudgetUnit || options.bytes > kLargestPool) {
    problem.what = absl::StrCat("bytes is ", options.bytes);
    problem.remedy = absl::StrCat("use ", kBudgetUnit, " to ", kLargestPool, " bytes");
  } else if (options.owners == 0 || options.owners > kMostOwners) {
    problem.what = absl::StrCat("owners is ", options.owners);
    problem.remedy = absl::StrCat("use 1 to ", kMostOwners);
  }
  if (problem.what.empty()) return absl::OkStatus();
  return ErrorStatus(absl::StatusCode::kInvalidArgument, problem);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BudgetBook>> BudgetBook::Create(const BudgetOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  // Twice the owners, so that a look-up seldom goes past its first account.
  return std::unique_ptr<BudgetBook>(new BudgetBook(options, std::bit_ceil(size_t{options.owners} * 2)));
}

BudgetBook::BudgetBook(const BudgetOptions& options, size_t slots)
    : options_(options), slots_(slots), accounts_(new Account[slots]) {}

BudgetBook::~BudgetBook() {
  for (size_t i = 0; i < slots_; ++i) assert(accounts_[i].used() == 0 && accounts_[i].first == nullptr);
}

BudgetBook::Account* BudgetBook::Find(OwnerId owner) const {
  size_t slot = Account::FirstSlot(owner);
  for (size_t tried = 0; tried < slots_; ++tried, ++slot) {
    Account& account = accounts_[slot & (slots_ - 1)];
    const uint32_t holder = account.owner();
    if (holder == owner.value()) return &account;
    if (holder == Account::kFree) return nullptr;
  }
  return nullptr;
}

size_t BudgetBook::Charge(OwnerId owner, uint32_t bytes, size_t n) {
  Account* const account = Find(owner);
  return account == nullptr ? 0 : account->Charge(owner.value(), BudgetUnits(bytes), n);
}

void BudgetBook::Release(OwnerId owner, uint32_t bytes, size_t n) {
  Account* const account = Find(owner);  // there for as long as something is charged to it
  if (account == nullptr || !account->Release(uint64_t{BudgetUnits(bytes)} * n)) return;
  const std::lock_guard lock(mutex_);
  if (account->owner() == owner.value()) Pump(*account);
}

BudgetAnswer BudgetBook::Wait(OwnerId owner, uint32_t bytes, BudgetWaiter& waiter) {
  const std::lock_guard lock(mutex_);
  Account* const account = Find(owner);
  if (account == nullptr || account->removed()) return BudgetAnswer::kUnknownOwner;
  waiter.owner_ = owner;
  waiter.units_ = BudgetUnits(bytes);
  if (waiter.units_ > account->allowance()) {
    account->CountOversized();
    return BudgetAnswer::kTooLarge;
  }
  // Shown before the last look: a release after the look sees the flag and comes to grant.
  account->ShowWaiting(true);
  if (account->first == nullptr && account->ChargeWaiting(waiter.units_)) {
    account->ShowWaiting(false);
    return BudgetAnswer::kGranted;
  }
  waiter.next_ = nullptr;
  (account->first == nullptr ? account->first : account->last->next_) = &waiter;
  account->last = &waiter;
  return BudgetAnswer::kWaiting;
}

// Grants from the head as far as the allowance reaches. Refuses what it will never reach.
void BudgetBook::Pump(Account& account) {
  while (account.first != nullptr) {
    BudgetWaiter& waiter = *account.first;
    const bool never = waiter.units_ > account.allowance() || account.removed();
    if (!never && !account.ChargeWaiting(waiter.units_)) return;
    account.first = waiter.next_;
    if (never) {
      waiter.Refused();
    } else {
      waiter.Granted();
    }
  }
  account.ShowWaiting(false);
}

bool BudgetBook::Cancel(BudgetWaiter& waiter) {
  const std::lock_guard lock(mutex_);
  Account* const account = Find(waiter.owner_);
  if (account == nullptr) return false;
  BudgetWaiter* before = nullptr;
  for (BudgetWaiter* at = account->first; at != nullptr; before = at, at = at->next_) {
    if (at != &waiter) continue;
    (before == nullptr ? account->first : before->next_) = waiter.next_;
    if (account->last == &waiter) account->last = before;
    Pump(*account);  // the next may be smaller
    return true;
  }
  return false;
}

BudgetUse BudgetBook::Use(OwnerId owner) const {
  const std::lock_guard lock(mutex_);
  const Account* const account = Find(owner);
  if (account == nullptr) return {};
  BudgetUse use{.allowance = account->allowance() * kBudgetUnit,
                .used = uint64_t{account->used()} * kBudgetUnit,
                .oversized = account->oversized()};
  for (const BudgetWaiter* at = account->first; at != nullptr; at = at->next_) ++use.waiting;
  return use;
}

}  // namespace sluice

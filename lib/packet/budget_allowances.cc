// SPDX-License-Identifier: Apache-2.0
// The control half of the book: who has how much.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "packet/budget_account_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/budget.h"

namespace sluice {

void BudgetState::Allowance::Save(StateWriter& out) const {
  out.Put(1, owner);
  out.Put(2, bytes);
}

void BudgetState::Allowance::Load(StateReader& in) {
  in.Read(1, owner);
  in.Read(2, bytes);
}

namespace {

std::vector<OwnerId> SortedOwners(const BudgetState& state) {
  std::vector<OwnerId> owners;
  for (const BudgetState::Allowance& allowance : state.allowances) owners.push_back(allowance.owner);
  std::sort(owners.begin(), owners.end());
  return owners;
}

}  // namespace

absl::Status BudgetBook::SetAllowance(OwnerId owner, uint64_t bytes) {
  return Restore({.allowances = {{owner, bytes}}});
}

absl::Status BudgetBook::Remove(OwnerId owner) {
  const std::lock_guard lock(mutex_);
  Account* const account = Find(owner);
  if (account == nullptr || account->removed()) {
    return ErrorStatus(absl::StatusCode::kNotFound, {.device = absl::StrCat("budget ", options_.name),
                                                     .stage = "remove owner",
                                                     .what = absl::StrCat("no owner ", owner.value()),
                                                     .remedy = "name one whose allowance was set"});
  }
  account->Close();
  Pump(*account);
  return absl::OkStatus();
}

BudgetState BudgetBook::State() const {
  const std::lock_guard lock(mutex_);
  BudgetState state;
  for (size_t i = 0; i < slots_; ++i) {
    const Account& account = accounts_[i];
    if (account.InUse() && !account.removed()) {
      state.allowances.push_back({OwnerId(account.owner()), account.allowance() * kBudgetUnit});
    }
  }
  std::sort(state.allowances.begin(), state.allowances.end(),
            [](const auto& a, const auto& b) { return a.owner < b.owner; });
  return state;
}

absl::Status BudgetBook::Restore(const BudgetState& state) {
  const std::lock_guard lock(mutex_);
  Reap();
  const std::vector<OwnerId> named = SortedOwners(state);
  if (absl::Status status = CheckOwners(named); !status.ok()) return status;
  if (absl::Status status = CheckBytes(state, named); !status.ok()) return status;
  for (const BudgetState::Allowance& allowance : state.allowances) {
    Account& account = FindOrAdd(allowance.owner);
    account.SetAllowance(allowance.bytes / kBudgetUnit);
    Pump(account);
  }
  return absl::OkStatus();
}

absl::Status BudgetBook::CheckOwners(const std::vector<OwnerId>& named) const {
  Problem problem{.device = absl::StrCat("budget ", options_.name), .stage = "set allowance"};
  if (const auto twice = std::adjacent_find(named.begin(), named.end()); twice != named.end()) {
    problem.what = absl::StrCat("owner ", twice->value(), " is named twice");
    problem.remedy = "name each owner once";
    return ErrorStatus(absl::StatusCode::kInvalidArgument, problem);
  }
  size_t owners = 0;
  for (size_t i = 0; i < slots_; ++i) owners += accounts_[i].InUse();
  for (const OwnerId owner : named) {
    if (!Account::MayHave(owner)) {
      problem.what = absl::StrCat("owner is ", owner.value());
      problem.remedy = "use an owner from 1 to 4294967294";
      return ErrorStatus(absl::StatusCode::kInvalidArgument, problem);
    }
    if (Find(owner) == nullptr) ++owners;
  }
  if (owners <= options_.owners) return absl::OkStatus();
  problem.what = absl::StrCat(owners, " owners, room for ", options_.owners);
  problem.remedy = "make the book with more owners, or wait until removed ones have released what they hold";
  return ErrorStatus(absl::StatusCode::kResourceExhausted, problem);
}

// Whoever holds more than its allowance can only come down, so what is true of the sum now stays true.
absl::Status BudgetBook::CheckBytes(const BudgetState& state, const std::vector<OwnerId>& named) const {
  const uint64_t pool = options_.bytes / kBudgetUnit;
  uint64_t committed = 0;
  for (size_t i = 0; i < slots_; ++i) {
    const Account& account = accounts_[i];
    const bool changes = std::binary_search(named.begin(), named.end(), OwnerId(account.owner()));
    if (account.InUse() && !changes) committed += account.committed();
  }
  for (const auto& [owner, bytes] : state.allowances) {
    const Account* const account = Find(owner);
    const uint64_t used = account == nullptr ? 0 : account->used();
    committed += std::min(pool + 1, std::max(bytes / kBudgetUnit, used));  // capped, so that it cannot wrap
  }
  if (committed <= pool) return absl::OkStatus();
  return ErrorStatus(
      absl::StatusCode::kResourceExhausted,
      {.device = absl::StrCat("budget ", options_.name),
       .stage = "set allowance",
       .what = absl::StrCat("would commit ", committed * kBudgetUnit, " of ", options_.bytes, " bytes"),
       .remedy = "lower other allowances, wait until their owners have released what is above, or make the "
                 "book larger"});
}

uint64_t BudgetBook::bytes_left() const {
  const std::lock_guard lock(mutex_);
  uint64_t committed = 0;
  for (size_t i = 0; i < slots_; ++i) {
    if (accounts_[i].InUse()) committed += accounts_[i].committed();
  }
  return (options_.bytes / kBudgetUnit - committed) * kBudgetUnit;
}

// An account is free for another owner only when nothing is charged to it: a release still finds it till then.
void BudgetBook::Reap() {
  for (size_t i = 0; i < slots_; ++i) {
    if (accounts_[i].removed() && accounts_[i].used() == 0) accounts_[i].Leave();
  }
}

BudgetBook::Account& BudgetBook::FindOrAdd(OwnerId owner) {
  if (Account* const account = Find(owner); account != nullptr) return *account;
  size_t slot = Account::FirstSlot(owner);
  while (accounts_[slot & (slots_ - 1)].InUse()) ++slot;
  Account& account = accounts_[slot & (slots_ - 1)];
  account.Open(owner.value());
  return account;
}

}  // namespace sluice

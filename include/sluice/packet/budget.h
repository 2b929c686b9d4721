// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_BUDGET_H_
#define SLUICE_PACKET_BUDGET_H_

// How much host memory each owner (a guest, a zone, a service) may hold in packets. One pool of bytes is
// carved into allowances before the traffic comes, so that nobody's flood takes another's memory:
//
//   pool ├── owner 7: allowance 4 MiB ──┤├── owner 9: 1 MiB ──┤├──── not given out ────┤
//        ├─ used ─┤ a grant must fit here
//
// A charge is predictive: it is granted only if used + asked <= allowance, and taken back when the packet is
// freed, wherever it has travelled. Who is refused may wait: releases grant waiting charges first come, first
// served, and nobody of the same owner overtakes. Another owner's charges never notice.
//
// Usually the pool charges (PacketPool::Get with an owner), and this class is for whoever sets the allowances
// and for receive queues that wait. Not a rate limit: it bounds what is held, not how fast.
//
// Threads: any, all calls. Charge and Release take no lock while nobody of that owner waits: one
// compare-and-swap per burst on a line of the owner's own. Waiting, and a release to an owner with waiters,
// take a mutex.
// Exactness: charges count in units of 64 bytes, each buffer rounded up. used <= allowance after every grant,
// but for an allowance lowered meanwhile; the sum over owners never exceeds the pool, also then.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/base/saved_state.h"

namespace sluice {

struct BudgetOptions {
  std::string name = "budget";
  uint64_t bytes = uint64_t{1} << 30;  // of the host that may be given out; at most 256 GiB
  uint32_t owners = 256;  // most at a time, with removed ones that still hold something; 1 to 65536
};

// What an owner has and holds now. Each field is exact; together they are of one instant only at rest.
struct BudgetUse {
  uint64_t allowance = 0;  // bytes
  uint64_t used = 0;       // bytes charged, waiting charges not included
  uint64_t waiting = 0;    // charges that wait
  uint64_t oversized = 0;  // charges refused because a single piece was larger than the whole allowance
};

// A charge that waits. Made and kept by the caller, who destroys it only when it is not waiting.
class SLUICE_EXPORT BudgetWaiter {
 public:
  // The bytes are charged now, as if Charge had given them. Or: they can never be granted any more, for the
  // allowance was lowered below them or the owner removed. On the thread that released or changed something,
  // with the waiters locked: set a flag, write an eventfd, but do not call the book, and free no packet.
  virtual void Granted() = 0;
  virtual void Refused() = 0;

 protected:
  ~BudgetWaiter() = default;

 private:
  friend class BudgetBook;
  BudgetWaiter* next_ = nullptr;
  OwnerId owner_;
  uint32_t units_ = 0;
};

enum class BudgetAnswer : uint8_t {
  kGranted,       // charged at once
  kWaiting,       // Granted or Refused will be called, unless cancelled
  kTooLarge,      // more than the whole allowance: can never be granted
  kUnknownOwner,  // no allowance was ever set, or the owner was removed
};

// The allowances as a plain value, for saving. What is charged is not in it: it belongs to live packets.
struct BudgetState {
  struct Allowance {
    OwnerId owner;
    uint64_t bytes = 0;

    static constexpr absl::string_view kStateName = "allowance";
    static constexpr uint16_t kStateVersion = 1;
    void Save(StateWriter& out) const;
    void Load(StateReader& in);
  };
  std::vector<Allowance> allowances;  // by rising owner

  static constexpr absl::string_view kStateName = "budget";
  static constexpr uint16_t kStateVersion = 1;
  void Save(StateWriter& out) const { out.Put(1, allowances); }
  void Load(StateReader& in) { in.Read(1, allowances); }
};

class SLUICE_EXPORT BudgetBook {
 public:
  // kInvalidArgument for an option out of range.
  static absl::StatusOr<std::unique_ptr<BudgetBook>> Create(const BudgetOptions& options);

  // Everything charged must have been released, and nobody may be waiting.
  ~BudgetBook();
  BudgetBook(const BudgetBook&) = delete;
  BudgetBook& operator=(const BudgetBook&) = delete;

  // Allowances. All or nothing; bytes are rounded down to units.
  // ------------------------------------------------------------------------------------------------------

  // Adds the owner or changes its allowance. Raising grants what waits, as far as it reaches. Lowering it
  // below what is used takes nothing back, but grants nothing until enough is released; waiting charges that
  // are now larger than all of it are refused. kInvalidArgument for kNobody; kResourceExhausted when the pool
  // has not that much left, or no room for another owner. Until a lowered or removed owner has released what
  // it holds above its allowance, that is not left to others.
  absl::Status SetAllowance(OwnerId owner, uint64_t bytes);

  // Grants nothing more to the owner and refuses what waits. What it holds stays charged to it until it is
  // released. kNotFound for an unknown owner.
  absl::Status Remove(OwnerId owner);

  BudgetState State() const;
  // Sets every allowance in `state`, adding owners, and touches no other owner. kResourceExhausted likewise;
  // kInvalidArgument for an owner named twice.
  absl::Status Restore(const BudgetState& state);

  // Charging.
  // ------------------------------------------------------------------------------------------------------

  // Charges as many of `n` pieces of `bytes` each as the allowance reaches for, and returns how many: none
  // while a charge of this owner waits, or for an unknown owner.
  size_t Charge(OwnerId owner, uint32_t bytes, size_t n = 1);

  // Takes `n` such charges back and grants waiting ones in their order. Each charge is released once, with
  // the same `bytes`.
  void Release(OwnerId owner, uint32_t bytes, size_t n = 1);

  // Charges `bytes` in one piece, now or when they fit, after all that waits already. `waiter` must not be
  // waiting.
  BudgetAnswer Wait(OwnerId owner, uint32_t bytes, BudgetWaiter& waiter);

  // Stops waiting. True: neither call-back came, nor will. False: one came before, and if it was Granted the
  // charge is the caller's to release.
  bool Cancel(BudgetWaiter& waiter);

  // Looking.
  // ------------------------------------------------------------------------------------------------------

  BudgetUse Use(OwnerId owner) const;  // all zero for an unknown owner
  uint64_t bytes_left() const;         // of the pool, to be given out
  const BudgetOptions& options() const { return options_; }

 private:
  class Account;

  BudgetBook(const BudgetOptions& options, size_t slots);

  Account* Find(OwnerId owner) const;
  Account& FindOrAdd(OwnerId owner);
  void Reap();
  absl::Status CheckOwners(const std::vector<OwnerId>& named) const;
  absl::Status CheckBytes(const BudgetState& state, const std::vector<OwnerId>& named) const;
  void Pump(Account& account);

  const BudgetOptions options_;
  const size_t slots_;  // a power of two
  const std::unique_ptr<Account[]> accounts_;
  mutable std::mutex mutex_;  // allowances, waiters, and which account is whose
};

}  // namespace sluice

#endif  // SLUICE_PACKET_BUDGET_H_

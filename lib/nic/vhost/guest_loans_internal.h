// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_GUEST_LOANS_INTERNAL_H_
#define SLUICE_NIC_VHOST_GUEST_LOANS_INTERNAL_H_

// Which pieces of a guest's chains are lent to packets. Packets may outlive the ring and the connection that they came by:
// so this outlives its source while anything is out, and keeps the memory that the packets point to.
//
// Threads: Announce, Lend, Keep, home and Sleep are the source's; Returned, on any.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/unique_fd_internal.h"
#include "nic/vhost/guest_memory_internal.h"
#include "sluice/packet/packet.h"

namespace sluice {

class GuestLoans final : public Lender {
 public:
  // For `slots` chains at a time. `wake` may be null.
  static GuestLoans* Make(size_t slots, std::shared_ptr<const UniqueFd> wake) {
    return new GuestLoans(slots, std::move(wake));
  }
  // The source is done with it. It goes with the last loan, or now.
  void Leave() { Unhold(1); }

  // Keeps a table until nothing is lent.
  void Keep(std::shared_ptr<const GuestMemory> memory);
  // So many chains will be lent, before any of their packets is freed.
  void Announce(size_t chains) { holders_.fetch_add(chains, std::memory_order_relaxed); }
  // `pieces` of the chain in `slot`, which is home, are going out: each is returned once, with the slot as cookie. Relaxed:
  // whoever returns a piece got the packet from this thread, by what orders memory.
  void Lend(size_t slot, uint32_t pieces) { out_[slot].store(pieces, std::memory_order_relaxed); }
  bool home(size_t slot) const { return out_[slot].load(std::memory_order_acquire) == 0; }
  size_t lent() const { return holders_.load(std::memory_order_relaxed) - 1; }  // chains

  // Before sleep and behind it. Asleep, a chain that comes home writes the eventfd; look for such chains behind Sleep(true).
  void Sleep(bool asleep);
  bool wakes() const { return wake_ != nullptr; }

  void Returned(absl::Span<const uint64_t> slots) override;

 private:
  GuestLoans(size_t slots, std::shared_ptr<const UniqueFd> wake);
  ~GuestLoans() = default;
  bool ReturnPiece(size_t slot);
  void Unhold(size_t holders);

  const std::shared_ptr<const UniqueFd> wake_;
  const std::unique_ptr<std::atomic<uint32_t>[]> out_;  // pieces of each chain
  std::vector<std::shared_ptr<const GuestMemory>> kept_;
  std::atomic<bool> asleep_{false};
  std::atomic<size_t> holders_{1};  // the source, and each chain that is out
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_GUEST_LOANS_INTERNAL_H_

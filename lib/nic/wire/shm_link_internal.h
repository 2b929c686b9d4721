// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_SHM_LINK_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_SHM_LINK_INTERNAL_H_

// The memory of one connection: this end's fresh board, and what the peer has shown of itself. The control
// thread makes one per connection and hands it to the lanes through a ShmLinkSlot; a lane lets go of the old
// one when it next looks, so that nothing is unmapped under a reader. The last to let go unmaps.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd_internal.h"
#include "nic/wire/shm_protocol_internal.h"
#include "sluice/base/region.h"

namespace sluice {

// How a peer broke the rules. The first one counts.
enum class ShmViolation : uint8_t {
  kNone,
  kProduced,    // its producer index ran ahead of its ring, or back
  kConsumed,    // its consumer index passed what was sent, or ran back
  kDescriptor,  // names memory outside its region, or an impossible length
  kMeta,        // says of a frame what no frame can be
  kUnfinished,  // published a frame without its last piece
};
absl::string_view Meaning(ShmViolation violation);

using ShmFds = std::array<UniqueFd, kShmHelloFds>;

// Keeps whoever holds a descriptor of `region` from shrinking it, punching holes into it, or mapping it
// writable anew. Mappings that exist stay as they are.
absl::Status SealForPeers(const Region& region);

class ShmLink {
 public:
  // With an own board of the measures in `own`. `wake_fd`, an eventfd, is written when the peer is accused.
  static absl::StatusOr<std::shared_ptr<ShmLink>> Create(const ShmHello& own, int wake_fd);

  const ShmHello& own_hello() const { return own_hello_; }
  const Region& own_region() const { return *own_region_; }  // of the board
  const ShmBoard& own() const { return own_; }

  // Checks and maps what the peer sent. Refuses with the reason, and is then of no use.
  absl::Status Attach(const ShmHello& hello, ShmFds fds);

  // After Attach.
  // ---------------------------------------------------------------------------------------------
  const ShmHello& peer_hello() const { return peer_hello_; }
  const ShmBoard& peer() const { return peer_; }
  const uint8_t* peer_packets() const { return peer_packets_->data(); }

  // One message to the peer's sleeper; never blocks, whatever the peer does with its end. An error means that
  // it was rung before or is gone: nothing is left to do here.
  void Ring() const;

  // Any thread. The first violation is kept, and the control thread told.
  void Accuse(ShmViolation violation);
  ShmViolation violation() const { return violation_.load(std::memory_order_relaxed); }

 private:
  explicit ShmLink(int wake_fd) : wake_fd_(wake_fd) {}

  const int wake_fd_;
  ShmHello own_hello_;
  std::unique_ptr<Region> own_region_;
  ShmBoard own_;
  ShmHello peer_hello_;
  std::unique_ptr<Region> peer_region_;
  std::unique_ptr<Region> peer_packets_;
  ShmBoard peer_;
  UniqueFd doorbell_;
  std::atomic<ShmViolation> violation_{ShmViolation::kNone};
};

// Where the control thread leaves the link of the moment (null = none) and each lane picks it up. A lane that
// is up to date pays one load.
class ShmLinkSlot {
 public:
  void Publish(std::shared_ptr<ShmLink> link) {
    const std::lock_guard<std::mutex> lock(mutex_);
    linked_.store(link != nullptr, std::memory_order_relaxed);
    link_ = std::move(link);
    generation_.fetch_add(1, std::memory_order_release);
  }

  // `seen` is the generation that the caller took last.
  bool IsNew(uint64_t seen) const { return generation_.load(std::memory_order_acquire) != seen; }
  std::shared_ptr<ShmLink> Take(uint64_t& seen) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    seen = generation_.load(std::memory_order_relaxed);
    return link_;
  }

  bool linked() const { return linked_.load(std::memory_order_relaxed); }  // orders nothing

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<ShmLink> link_;
  std::atomic<bool> linked_{false};
  std::atomic<uint64_t> generation_{0};
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_SHM_LINK_INTERNAL_H_

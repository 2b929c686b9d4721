// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_NIC_WIRE_INTERFACE_WIRE_INTERNAL_H_
#define SLUICE_LIB_NIC_WIRE_INTERFACE_WIRE_INTERNAL_H_

// What wires into kernel interfaces have in common: they open and close a session, follow the interface's link, and
// keep the drops of sessions that are over. What moves frames is the rest of each.
//
//   struct Session {
//     std::unique_ptr<InterfaceLink> link;
//     DropCounts drops() const;  // any thread
//   };

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "nic/wire/interface_link_internal.h"
#include "nic/wire/netns_scope_internal.h"
#include "nic/wire/wire_options_internal.h"
#include "sluice/nic/wire.h"

namespace sluice {

template <typename Session>
class InterfaceWire : public Wire {
 public:
  const WireTraits& traits() const override { return traits_; }
  LinkState link() const override { return state_.load(std::memory_order_relaxed); }

  absl::Status Open(const WireOptions& options) override {
    if (absl::Status checked = CheckWireOptions(traits_.name, options); !checked.ok()) return checked;
    Close();
    const absl::StatusOr<std::unique_ptr<NetnsScope>> inside = NetnsScope::Enter(netns_);
    if (!inside.ok()) return inside.status();
    absl::StatusOr<std::unique_ptr<Session>> made = MakeSession(options);
    if (!made.ok()) return made.status();
    const std::lock_guard<std::mutex> lock(mutex_);
    session_ = *std::move(made);
    lost_ = false;
    gone_.store(false, std::memory_order_relaxed);
    state_.store(session_->link->state(), std::memory_order_relaxed);
    return absl::OkStatus();
  }

  void Close() override {
    if (session_ == nullptr) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    state_.store(LinkState::kDown, std::memory_order_relaxed);
    lost_ = false;
    gone_.store(false, std::memory_order_relaxed);
    past_drops_ += session_->drops();
    session_.reset();
  }

  std::string link_detail() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return session_ == nullptr ? "closed" : session_->link->detail();
  }

  bool gone() const override { return lost() || gone_.load(std::memory_order_relaxed); }

  DropCounts drops() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    DropCounts drops = past_drops_;
    if (session_ != nullptr) drops += session_->drops();
    return drops;
  }

  int service_fd() const override { return session_ == nullptr ? -1 : session_->link->fd(); }
  void Service() override {
    if (session_ == nullptr) return;
    session_->link->Service();
    if (session_->link->gone()) gone_.store(true, std::memory_order_relaxed);
    if (!lost()) state_.store(session_->link->state(), std::memory_order_relaxed);
  }

 protected:
  InterfaceWire(WireTraits traits, std::string netns)
      : traits_(std::move(traits)), netns_(std::move(netns)) {}

  // On a thread that is in the interface's namespace for as long.
  virtual absl::StatusOr<std::unique_ptr<Session>> MakeSession(const WireOptions& options) = 0;

  Session* session() const { return session_.get(); }  // null when closed
  std::mutex& mutex() const { return mutex_; }
  // Of the session; any of its threads. False when that was known.
  bool Lose() {
    state_.store(LinkState::kDown, std::memory_order_relaxed);
    return !lost_.exchange(true);
  }
  bool lost() const { return lost_.load(std::memory_order_relaxed); }

  WireTraits traits_;

 private:
  const std::string netns_;
  std::unique_ptr<Session> session_;
  std::atomic<LinkState> state_{LinkState::kDown};
  std::atomic<bool> lost_{false};  // by what moves frames
  std::atomic<bool> gone_{false};  // by what follows the link
  mutable std::mutex mutex_;       // of session_ coming and going, for those who ask from other threads
  DropCounts past_drops_;          // of sessions that are over
};

}  // namespace sluice

#endif  // SLUICE_LIB_NIC_WIRE_INTERFACE_WIRE_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/tap_wire.h"

#include <poll.h>
#include <sys/epoll.h>

#include <atomic>
#include <cerrno>
#include <deque>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/wire/interface_link_internal.h"
#include "nic/wire/netns_scope_internal.h"
#include "nic/wire/tap_device_internal.h"
#include "nic/wire/wire_options_internal.h"
#include "sluice/base/counters.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

struct Session {
  Session(TapDevice opened, uint16_t lanes) : device(std::move(opened)), lane_drops(lanes) {}

  TapDevice device;
  UniqueFd
      sleeper;  // an epoll set with the device: a deleted one, which is always readable, can be taken out
  std::unique_ptr<InterfaceLink> link;
  std::atomic<bool> gone{false};
  DropCounters receive_drops;
  std::deque<DropCounters> lane_drops;
};

DropCounts DropsOf(const Session& session) {
  DropCounts drops = session.receive_drops.Read();
  for (const DropCounters& lane : session.lane_drops) drops += lane.Read();
  return drops;
}

class TapWire final : public Wire {
 public:
  explicit TapWire(const TapWireOptions& options) : options_(options) {
    traits_.name = absl::StrCat("tap ", options.interface);
    traits_.max_frame = options.max_frame;
    traits_.carries_l4_checksum = true;
    traits_.carries_fragments = true;
  }

  const WireTraits& traits() const override { return traits_; }
  absl::Status Open(const WireOptions& options) override;
  void Close() override;

  size_t Transmit(uint16_t lane, Burst& burst) override;
  size_t Reclaim(uint16_t) override { return 0; }
  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return session_ == nullptr ? -1 : session_->sleeper.get(); }

  LinkState link() const override { return state_.load(std::memory_order_relaxed); }
  std::string link_detail() const override;
  DropCounts drops() const override;

  int service_fd() const override { return session_ == nullptr ? -1 : session_->link->fd(); }
  void Service() override;

 private:
  absl::StatusOr<std::unique_ptr<Session>> MakeSession(const WireOptions& options) const;
  void Lose();

  const TapWireOptions options_;
  WireTraits traits_;
  PacketPool* pool_ = nullptr;
  std::unique_ptr<Session> session_;  // null when closed
  std::atomic<LinkState> state_{LinkState::kDown};
  mutable std::mutex mutex_;  // of session_ coming and going, for those who ask from other threads
  DropCounts past_drops_;     // of sessions that are over
};

absl::Status TapWire::Open(const WireOptions& options) {
  if (absl::Status checked = CheckWireOptions(traits_.name, options); !checked.ok()) return checked;
  Close();
  absl::StatusOr<std::unique_ptr<Session>> session = MakeSession(options);
  if (!session.ok()) return session.status();
  const std::lock_guard<std::mutex> lock(mutex_);
  pool_ = options.pool;
  session_ = *std::move(session);
  state_.store(session_->link->state(), std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Session>> TapWire::MakeSession(const WireOptions& options) const {
  const absl::StatusOr<std::unique_ptr<NetnsScope>> inside = NetnsScope::Enter(options_.netns);
  if (!inside.ok()) return inside.status();
  absl::StatusOr<TapDevice> device = TapDevice::Open(options_);
  if (!device.ok()) return device.status();
  auto session = std::make_unique<Session>(*std::move(device), options.lanes);
  auto link = InterfaceLink::Find(traits_.name, options_.interface);
  if (!link.ok()) return link.status();
  session->link = *std::move(link);
  session->sleeper = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(session->sleeper.get(), EPOLL_CTL_ADD, session->device.fd(), &event) == 0) return session;
  return ErrorStatus({.device = traits_.name,
                      .stage = "open descriptors",
                      .error_number = errno,
                      .remedy = "raise the limit of open files"});
}

void TapWire::Close() {
  if (session_ == nullptr) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  state_.store(LinkState::kDown, std::memory_order_relaxed);
  past_drops_ += DropsOf(*session_);
  session_.reset();
}

size_t TapWire::Transmit(uint16_t lane, Burst& burst) {
  if (link() == LinkState::kDown) return 0;
  size_t taken = 0;
  for (; taken < burst.size(); ++taken) {
    DropReason reason;
    const TapResult result = session_->device.Write(burst[taken], reason);
    if (result == TapResult::kDropped) session_->lane_drops[lane].Add(reason);
    if (result == TapResult::kGone) Lose();
    if (result == TapResult::kGone || result == TapResult::kNotNow) break;
  }
  PacketPool::Put(burst.begin(), taken);
  burst.DropFront(taken);
  return taken;
}

size_t TapWire::Receive(Burst& burst) {
  size_t got = 0;
  while (burst.room() != 0 && !session_->gone.load(std::memory_order_relaxed)) {
    PacketPtr packet;
    DropReason reason;
    const TapResult result = session_->device.Read(*pool_, packet, reason);
    if (result == TapResult::kNotNow) break;
    if (result == TapResult::kGone) Lose();
    if (result == TapResult::kDropped) session_->receive_drops.Add(reason);
    if (result != TapResult::kDone) continue;
    burst.Push(std::move(packet));
    ++got;
  }
  return got;
}

// What waits keeps fd() readable: nothing needs to be asked for.
bool TapWire::Arm() {
  pollfd sleeper{session_->sleeper.get(), POLLIN, 0};
  return poll(&sleeper, 1, 0) == 0;
}

// The interface was deleted. Its descriptor is readable from now on, with nothing to read.
void TapWire::Lose() {
  if (session_->gone.exchange(true)) return;
  state_.store(LinkState::kDown, std::memory_order_relaxed);
  epoll_ctl(session_->sleeper.get(), EPOLL_CTL_DEL, session_->device.fd(), nullptr);
}

void TapWire::Service() {
  if (session_ == nullptr) return;
  session_->link->Service();
  if (!session_->gone) state_.store(session_->link->state(), std::memory_order_relaxed);
}

std::string TapWire::link_detail() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return session_ == nullptr ? "closed" : session_->link->detail();
}

DropCounts TapWire::drops() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  DropCounts drops = past_drops_;
  if (session_ != nullptr) drops += DropsOf(*session_);
  return drops;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Wire>> MakeTapWire(const TapWireOptions& options) {
  const std::string device = absl::StrCat("tap ", options.interface);
  if (absl::Status checked = CheckInterfaceOptions(device, options.interface, options.max_frame);
      !checked.ok())
    return checked;
  return std::make_unique<TapWire>(options);
}

}  // namespace sluice

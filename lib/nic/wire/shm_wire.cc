// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/shm_wire.h"

#include <sys/un.h>

#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/wire/shm_meeting_internal.h"
#include "nic/wire/shm_receiver_internal.h"
#include "nic/wire/shm_sender_internal.h"
#include "nic/wire/wire_options_internal.h"

namespace sluice {
namespace {

static_assert(kMostLanes <= kShmMaxLanes && kLargestRing <= kShmMaxRing);

constexpr size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr mode_t kPermissionBits = 0777;

// What lives from Open to Close.
struct Session {
  Session(uint16_t lanes, uint32_t ring, PacketPool& pool, std::unique_ptr<ShmMeeting> meets,
          ShmLinkSlot& slot)
      : meeting(std::move(meets)), receiver(slot, meeting->doorbell(), pool) {
    for (uint32_t lane = 0; lane < lanes; ++lane) senders.emplace_back(slot, lane, ring, pool);
  }

  std::unique_ptr<ShmMeeting> meeting;
  ShmReceiver receiver;
  std::deque<ShmSender> senders;  // a deque, for they cannot move
};

DropCounts DropsOf(const Session& session) {
  DropCounts drops = session.receiver.drops();
  for (const ShmSender& sender : session.senders) drops += sender.drops();
  return drops;
}

class ShmWire final : public Wire {
 public:
  explicit ShmWire(const ShmWireOptions& options) : options_(options) {
    traits_.name = absl::StrCat("shm ", options.path);
    traits_.max_frame = kShmMaxFrame;
    traits_.carries_offloads = true;
    traits_.carries_fragments = true;
  }
  ~ShmWire() override { ShmWire::Close(); }

  const WireTraits& traits() const override { return traits_; }
  absl::Status Open(const WireOptions& options) override;
  void Close() override;

  size_t Transmit(uint16_t lane, Burst& burst) override { return session_->senders[lane].Transmit(burst); }
  size_t Reclaim(uint16_t lane) override { return session_->senders[lane].Reclaim(); }
  size_t Receive(Burst& burst) override { return session_->receiver.Receive(burst); }
  bool Arm() override { return session_->receiver.Arm(); }
  int fd() const override { return session_ == nullptr ? -1 : session_->meeting->doorbell(); }

  LinkState link() const override { return slot_.linked() ? LinkState::kUp : LinkState::kDown; }
  std::string link_detail() const override;
  DropCounts drops() const override;

  int service_fd() const override { return session_ == nullptr ? -1 : session_->meeting->service_fd(); }
  void Service() override {
    if (session_ != nullptr) session_->meeting->Service();
  }

 private:
  const ShmWireOptions options_;
  WireTraits traits_;
  ShmLinkSlot slot_;
  std::unique_ptr<Session> session_;  // null when closed
  mutable std::mutex mutex_;          // of session_ coming and going, for those who ask from other threads
  DropCounts past_drops_;             // of sessions that are over
};

absl::Status ShmWire::Open(const WireOptions& options) {
  if (absl::Status checked = CheckWireOptions(traits_.name, options); !checked.ok()) return checked;
  if (options.pool->region().size() > kShmMaxRegion)
    return RefuseOption(traits_.name, "a pool of more than 1 TiB", "use a smaller pool");
  Close();
  absl::StatusOr<std::unique_ptr<ShmMeeting>> meeting = ShmMeeting::Open(options_, options, slot_);
  if (!meeting.ok()) return meeting.status();
  auto session =
      std::make_unique<Session>(options.lanes, options.ring, *options.pool, *std::move(meeting), slot_);
  const std::lock_guard<std::mutex> lock(mutex_);
  session_ = std::move(session);
  return absl::OkStatus();
}

// The lanes end before the connection does, so that the peer, which then takes what is left, sees which frames are ours
// again.
void ShmWire::Close() {
  if (session_ == nullptr) return;
  for (ShmSender& sender : session_->senders) sender.LetGo(DropReason::kStopped);
  slot_.Publish(nullptr);
  const std::lock_guard<std::mutex> lock(mutex_);
  past_drops_ += DropsOf(*session_);
  session_.reset();
}

std::string ShmWire::link_detail() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return session_ == nullptr ? "closed" : session_->meeting->detail();
}

DropCounts ShmWire::drops() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  DropCounts drops = past_drops_;
  if (session_ != nullptr) drops += DropsOf(*session_);
  return drops;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Wire>> MakeShmWire(const ShmWireOptions& options) {
  const std::string device = absl::StrCat("shm ", options.path);
  if (options.path.empty() || options.path.size() > kLongestPath)
    return RefuseOption(device, absl::StrCat("a path of ", options.path.size(), " bytes"),
                        absl::StrCat("use a path of 1 to ", kLongestPath, " bytes"));
  if ((options.mode & ~kPermissionBits) != 0)
    return RefuseOption(device, "mode", "use permission bits, as in 0660");
  if (options.retry <= absl::ZeroDuration())
    return RefuseOption(device, "retry is not positive", "use 100 ms");
  return std::make_unique<ShmWire>(options);
}

}  // namespace sluice

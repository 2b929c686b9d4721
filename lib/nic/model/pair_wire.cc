// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/pair_wire.h"

#include <array>
#include <atomic>
#include <bit>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "nic/model/pair_end_internal.h"
#include "sluice/base/counters.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

// What both ends hold. End i receives from ways[i].
struct Cable {
  std::array<PairWay, 2> ways;
  std::mutex control;                  // of Open, Close and the bells
  std::array<Doorbell, 2> link_bells;  // rung when the peer comes or goes
  std::array<std::atomic<bool>, 2> destroyed{};
};

class PairWire final : public PairEnd {
 public:
  // An end that is its own peer is a loop.
  PairWire(std::shared_ptr<Cable> cable, size_t self, size_t peer, const PairOptions& options)
      : cable_(std::move(cable)),
        in_(cable_->ways[self]),
        out_(cable_->ways[peer]),
        self_(self),
        peer_(peer) {
    traits_.name = options.name;
    traits_.max_frame = options.max_frame;
    traits_.carries_offloads = options.carries_offloads;
    traits_.carries_fragments = options.carries_fragments;
  }
  ~PairWire() override;

  const WireTraits& traits() const override { return traits_; }
  absl::Status Open(const WireOptions& options) override;
  void Close() override;

  size_t Transmit(uint16_t lane, Burst& burst) override { return out_.Push(lane, burst); }
  size_t Reclaim(uint16_t) override { return 0; }  // what was sent belongs to the peer
  size_t Receive(Burst& burst) override { return in_.Receive(burst); }
  PairWay& in() override { return in_; }
  PairWay& out() override { return out_; }

  bool Arm() override { return in_.Arm(); }
  int fd() const override { return in_.fd(); }

  LinkState link() const override {
    return in_.receiver_open() && out_.receiver_open() ? LinkState::kUp : LinkState::kDown;
  }
  bool gone() const override { return cable_->destroyed[peer_].load(std::memory_order_relaxed); }
  DropCounts drops() const override { return drops_.Read(); }

  int service_fd() const override { return cable_->link_bells[self_].fd(); }
  void Service() override { cable_->link_bells[self_].TakeAll(); }

 private:
  absl::Status Check(const WireOptions& options) const;
  void TellOfLink();

  const std::shared_ptr<Cable> cable_;
  PairWay& in_;
  PairWay& out_;
  const size_t self_;
  const size_t peer_;
  WireTraits traits_;
  DropCounters drops_;  // control thread
};

PairWire::~PairWire() {
  Close();
  const std::lock_guard lock(cable_->control);
  cable_->destroyed[self_].store(true, std::memory_order_relaxed);  // a state, which orders nothing
  TellOfLink();
}

absl::Status PairWire::Check(const WireOptions& options) const {
  if (in_.receiver_open()) {
    return ErrorStatus(
        absl::StatusCode::kFailedPrecondition,
        {.device = traits_.name, .stage = "open", .what = "is open", .remedy = "close it first"});
  }
  if (options.lanes > 0 && std::has_single_bit(options.ring)) return absl::OkStatus();
  return ErrorStatus(absl::StatusCode::kInvalidArgument,
                     {.device = traits_.name,
                      .stage = "open",
                      .what = absl::StrCat(options.lanes, " lanes of ", options.ring, " packets"),
                      .remedy = "ask for at least one lane, and a power of two of packets"});
}

absl::Status PairWire::Open(const WireOptions& options) {
  if (absl::Status checked = Check(options); !checked.ok()) return checked;
  const std::lock_guard lock(cable_->control);
  if (absl::Status opened = cable_->link_bells[self_].Open(traits_.name.c_str()); !opened.ok()) return opened;
  out_.OpenSender(options.lanes, options.ring);
  drops_.Add(DropReason::kStopped, in_.Drain());  // sent while this end was closing, the last time
  if (absl::Status opened = in_.OpenReceiver(traits_.name.c_str()); !opened.ok()) {
    cable_->link_bells[self_].Close();
    return opened;
  }
  TellOfLink();
  return absl::OkStatus();
}

void PairWire::Close() {
  const std::lock_guard lock(cable_->control);
  if (!in_.receiver_open()) return;
  in_.CloseReceiver();
  drops_.Add(DropReason::kStopped, in_.Drain());
  // With both ends closed nobody is left to deliver what a send that raced with the peer's Close left behind.
  if (!out_.receiver_open()) drops_.Add(DropReason::kStopped, out_.Drain());
  cable_->link_bells[self_].Close();
  TellOfLink();
}

// Both ends, those that are open.
void PairWire::TellOfLink() {
  for (Doorbell& bell : cable_->link_bells) {
    if (bell.fd() >= 0) bell.Ring();
  }
}

}  // namespace

std::pair<std::unique_ptr<Wire>, std::unique_ptr<Wire>> MakeWirePair(const PairOptions& options) {
  auto cable = std::make_shared<Cable>();
  return {std::make_unique<PairWire>(cable, 0, 1, options), std::make_unique<PairWire>(cable, 1, 0, options)};
}

std::unique_ptr<Wire> MakeLoopWire(const PairOptions& options) {
  return std::make_unique<PairWire>(std::make_shared<Cable>(), 0, 0, options);
}

}  // namespace sluice

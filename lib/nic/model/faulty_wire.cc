// SPDX-License-Identifier: Apache-2.0
#include "sluice/nic/faulty_wire.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nic/model/fault_stream_internal.h"

namespace sluice {
namespace {

FaultCounts& operator+=(FaultCounts& sum, const FaultCounts& more) {
  sum.injected += more.injected;
  sum.delivered += more.delivered;
  sum.lost += more.lost;
  sum.duplicated += more.duplicated;
  sum.reordered += more.reordered;
  sum.delayed += more.delayed;
  sum.held += more.held;
  return sum;
}

WireTraits Behind(const Wire& inner) {
  WireTraits traits = inner.traits();
  traits.name = absl::StrCat("faulty ", traits.name);
  return traits;
}

class FaultyWireCore final : public FaultyWire {
 public:
  FaultyWireCore(std::unique_ptr<Wire> inner, const FaultyWireOptions& options)
      : inner_(std::move(inner)),
        options_(options),
        clock_(options.clock != nullptr ? *options.clock : Clock::Monotonic()),
        traits_(Behind(*inner_)),
        arrivals_(options.receive, options.seed) {}
  ~FaultyWireCore() override { Close(); }

  const WireTraits& traits() const override { return traits_; }
  std::vector<ModeInForce> modes() const override { return inner_->modes(); }
  absl::Status Open(const WireOptions& options) override;
  void Close() override;

  size_t Transmit(uint16_t lane, Burst& burst) override;
  size_t Reclaim(uint16_t lane) override;
  size_t Receive(Burst& burst) override;
  bool Arm() override { return arrivals_.held() == 0 && inner_->Arm(); }
  int fd() const override { return inner_->fd(); }

  LinkState link() const override { return Outage() ? LinkState::kDown : inner_->link(); }
  std::string link_detail() const override { return Outage() ? "a scripted outage" : inner_->link_detail(); }
  bool gone() const override { return inner_->gone(); }
  DropCounts drops() const override;
  int service_fd() const override { return inner_->service_fd(); }
  void Service() override { inner_->Service(); }

  FaultCounts transmit_counts() const override;
  FaultCounts receive_counts() const override { return arrivals_.counts(); }
  void SetPlans(const FaultPlan& transmit, const FaultPlan& receive, uint64_t seed) override;

 private:
  bool Outage(Nanoseconds now) const;
  bool Outage() const { return !options_.outages.empty() && Outage(clock_.Now()); }
  void Forward(uint16_t lane, Nanoseconds now);
  void InjectArrivals(Nanoseconds now);

  const std::unique_ptr<Wire> inner_;
  FaultyWireOptions options_;
  const Clock& clock_;
  WireTraits traits_;
  uint32_t ring_ = 0;
  PacketPool* pool_ = nullptr;
  FaultStream arrivals_;
  mutable std::mutex lanes_gate_;                    // of the vector: Open against drops
  std::vector<std::unique_ptr<FaultStream>> lanes_;  // never fewer than before
};

absl::Status FaultyWireCore::Open(const WireOptions& options) {
  if (absl::Status opened = inner_->Open(options); !opened.ok()) return opened;
  traits_ = Behind(*inner_);
  ring_ = options.ring;
  pool_ = options.pool;
  const std::lock_guard lock(lanes_gate_);
  while (lanes_.size() < options.lanes) {
    const uint64_t seed = options_.seed + 1 + lanes_.size();  // each its own
    lanes_.push_back(std::make_unique<FaultStream>(options_.transmit, seed));
  }
  return absl::OkStatus();
}

void FaultyWireCore::Close() {
  for (const auto& lane : lanes_) lane->Clear();
  arrivals_.Clear();
  inner_->Close();
}

void FaultyWireCore::SetPlans(const FaultPlan& transmit, const FaultPlan& receive, uint64_t seed) {
  options_.transmit = transmit;  // for lanes that are still to be made
  options_.receive = receive;
  options_.seed = seed;
  arrivals_.SetPlan(receive, seed);
  for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i]->SetPlan(transmit, seed + 1 + i);
}

bool FaultyWireCore::Outage(Nanoseconds now) const {
  return std::any_of(options_.outages.begin(), options_.outages.end(),
                     [now](const LinkOutage& outage) { return outage.from <= now && now < outage.to; });
}

size_t FaultyWireCore::Transmit(uint16_t lane, Burst& burst) {
  if (link() == LinkState::kDown) return 0;
  FaultStream& stream = *lanes_[lane];
  if (stream.clear()) {
    const size_t passed = inner_->Transmit(lane, burst);
    stream.CountPassed(passed);
    return passed;
  }
  const Nanoseconds now = clock_.Now();
  Forward(lane, now);
  size_t taken = 0;
  // One at a time: a full ring behind shows to the sender at once, and not a burst later.
  for (; !burst.empty() && stream.held() < ring_ && !stream.blocked(now); ++taken) {
    stream.Inject(burst.PopFront(), now, pool_);
    Forward(lane, now);
  }
  return taken;
}

size_t FaultyWireCore::Reclaim(uint16_t lane) {
  if (lanes_[lane]->held() > 0) {
    const Nanoseconds now = clock_.Now();
    if (!Outage(now)) Forward(lane, now);
  }
  return inner_->Reclaim(lane);
}

void FaultyWireCore::Forward(uint16_t lane, Nanoseconds now) {
  FaultStream& stream = *lanes_[lane];
  Burst due;
  for (stream.Release(now, due); !due.empty(); stream.Release(now, due)) {
    const size_t taken = inner_->Transmit(lane, due);
    stream.Delivered(taken);
    if (due.empty()) continue;
    stream.TakeBack(due);
    return;
  }
}

size_t FaultyWireCore::Receive(Burst& burst) {
  if (options_.outages.empty() && arrivals_.clear()) {
    const size_t passed = inner_->Receive(burst);
    arrivals_.CountPassed(passed);
    return passed;
  }
  const Nanoseconds now = clock_.Now();
  const size_t before = burst.size();
  if (arrivals_.held() < ring_) InjectArrivals(now);
  arrivals_.Release(now, burst);
  const size_t received = burst.size() - before;
  arrivals_.Delivered(received);
  return received;
}

void FaultyWireCore::InjectArrivals(Nanoseconds now) {
  Burst arrived;
  inner_->Receive(arrived);
  const bool down = Outage(now);
  while (!arrived.empty()) {
    if (down) {
      arrivals_.Lose(arrived.PopFront(), DropReason::kLinkDown);
    } else {
      arrivals_.Inject(arrived.PopFront(), now, pool_);
    }
  }
}

DropCounts FaultyWireCore::drops() const {
  DropCounts sum = inner_->drops();
  sum += arrivals_.drops();
  const std::lock_guard lock(lanes_gate_);
  for (const auto& lane : lanes_) sum += lane->drops();
  return sum;
}

FaultCounts FaultyWireCore::transmit_counts() const {
  FaultCounts sum;
  const std::lock_guard lock(lanes_gate_);
  for (const auto& lane : lanes_) sum += lane->counts();
  return sum;
}

}  // namespace

std::unique_ptr<FaultyWire> MakeFaultyWire(std::unique_ptr<Wire> inner, const FaultyWireOptions& options) {
  return std::make_unique<FaultyWireCore>(std::move(inner), options);
}

}  // namespace sluice

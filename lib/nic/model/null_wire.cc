// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>

#include "sluice/nic/pair_wire.h"

namespace sluice {
namespace {

uint32_t FreshRoom(const PacketPoolOptions& pool) { return pool.buffer_size - pool.headroom; }

class NullWire final : public Wire {
 public:
  explicit NullWire(const NullWireOptions& options)
      : frame_length_(options.frame_length), source_(options.source) {
    traits_.name = "null";
    traits_.carries_offloads = true;
    traits_.carries_fragments = true;
    traits_.sleeps = false;
  }

  const WireTraits& traits() const override { return traits_; }
  absl::Status Open(const WireOptions& options) override {
    pool_ = source_ ? options.pool : nullptr;
    if (pool_ != nullptr) length_ = std::min(frame_length_, FreshRoom(pool_->options()));
    open_.store(true, std::memory_order_relaxed);
    return absl::OkStatus();
  }
  void Close() override { open_.store(false, std::memory_order_relaxed); }

  size_t Transmit(uint16_t, Burst& burst) override {
    const size_t taken = burst.size();
    burst.Clear();
    return taken;
  }
  size_t Reclaim(uint16_t) override { return 0; }
  size_t Receive(Burst& burst) override;

  bool Arm() override { return false; }
  int fd() const override { return -1; }
  LinkState link() const override {
    return open_.load(std::memory_order_relaxed) ? LinkState::kUp : LinkState::kDown;
  }
  DropCounts drops() const override { return {}; }

 private:
  WireTraits traits_;
  const uint32_t frame_length_;
  const bool source_;
  uint32_t length_ = 0;  // of arrivals: what of frame_length_ fits a buffer
  PacketPool* pool_ = nullptr;
  std::atomic<bool> open_{false};
};

// Half a burst at a time, as a card would that is asked often.
size_t NullWire::Receive(Burst& burst) {
  if (pool_ == nullptr) return 0;
  const size_t wanted = std::min<size_t>(burst.room(), Burst::kCapacity / 2);
  Packet** const packets = burst.Extend(wanted);
  const size_t got = pool_->GetRaw(packets, wanted);
  for (size_t i = 0; i < got; ++i) packets[i]->Restart(pool_->options().headroom, length_);
  burst.DropBack(wanted - got);
  return got;
}

}  // namespace

std::unique_ptr<Wire> MakeNullWire(const NullWireOptions& options) {
  return std::make_unique<NullWire>(options);
}

}  // namespace sluice

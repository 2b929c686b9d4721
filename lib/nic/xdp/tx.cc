// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/time/clock.h"
#include "nic/xdp/tx_internal.h"

namespace sluice {
namespace {

constexpr absl::Duration kDrain = absl::Milliseconds(50);
constexpr absl::Duration kDrainStep = absl::Milliseconds(1);

}  // namespace

void XdpTxQueue::Attach(XdpSocket& socket, const QueueOptions& options, uint32_t max_frame) {
  held_.emplace(*options.pool);
  ring_ = options.tx_ring;
  // Where a frame of that length fits a fresh packet: Start has seen to it.
  egress_.emplace(FinisherOptions{
      .max_frame = max_frame, .pool = options.pool, .reads_only_pool = true, .copies = &copies_});
  lost_counted_ = 0;
  socket_ = &socket;
}

void XdpTxQueue::Detach() {
  if (socket_ == nullptr) return;
  const absl::Time deadline = absl::Now() + kDrain;
  while (Reclaim(), held_->count() != 0 && link_.last_known() == LinkState::kUp && absl::Now() < deadline) {
    absl::SleepFor(kDrainStep);
  }
  const uint32_t unsent = socket_->unsent();
  drops_.Add(DropReason::kStopped, unsent);
  debt_ += unsent;
  egress_->GiveUp(DropReason::kStopped, *this);
  socket_ = nullptr;
}

size_t XdpTxQueue::Send(Burst& burst) {
  if (socket_ == nullptr || burst.empty()) return 0;
  if (LinkIsDown()) return DropAll(burst);
  Reap();
  if (AnyOdd(burst)) [[unlikely]]
    return egress_->Send(burst, *this);

  const size_t offered = burst.size();
  const uint64_t bytes = Stage(burst);
  Account(offered - burst.size(), bytes);
  return offered - burst.size();
}

// Whether it came back is asked before anything is lost to it.
bool XdpTxQueue::LinkIsDown() {
  return link_.last_known() == LinkState::kDown && link_.Refresh() == LinkState::kDown;
}

size_t XdpTxQueue::DropAll(Burst& burst) {
  const size_t taken = burst.size();
  drops_.Add(DropReason::kLinkDown, taken);
  burst.Clear();
  egress_->GiveUp(DropReason::kLinkDown, *this);
  return taken;
}

// One pass over the first lines.
bool XdpTxQueue::AnyOdd(const Burst& burst) const {
  FirstLines lines = egress_->Look();
  bool in_reach = true;
  for (const Packet* packet : burst) {
    lines.Add(*packet);
    in_reach &= egress_->InReach(*packet);
  }
  return !in_reach || egress_->AnyOdd(lines);
}

std::optional<DropReason> XdpTxQueue::Put(Burst& frames) {
  if (LinkIsDown()) return DropReason::kLinkDown;
  if (ring_ - held_->count() < frames.size()) Reap();
  Stage(frames);
  return std::nullopt;
}

// Gives the kernel as many as there is room for, and rings once; returns the bytes of those. The transmit ring has
// room where we have: it holds at most what the kernel has.
uint64_t XdpTxQueue::Stage(Burst& frames) {
  const auto count = static_cast<uint32_t>(std::min<size_t>(frames.size(), ring_ - held_->count()));
  uint32_t first = 0;
  uint64_t bytes = 0;
  xsk_ring_prod__reserve(&socket_->tx, count, &first);
  for (uint32_t i = 0; i < count; ++i) {
    const Packet& packet = frames[i];
    const uint64_t buffer = held_->Give(packet);
    *xsk_ring_prod__tx_desc(&socket_->tx, first + i) = {
        .addr = buffer + packet.headroom(), .len = packet.length(), .options = 0};
    bytes += packet.length();
  }
  xsk_ring_prod__submit(&socket_->tx, count);
  frames.DropFront(count);
  if (socket_->WantsDoorbell()) RingDoorbell();
  return bytes;
}

// What the kernel has no room for stays in the ring and goes with the next burst, or with Reclaim. What it throws
// away, one frame a ring, is gone: nothing old comes out when the link comes back.
void XdpTxQueue::RingDoorbell() {
  int error = 0;
  bool lost = false;
  do {
    error = socket_->SendUnsent();
    lost |= error == EBUSY;
  } while (error == EBUSY);
  if (lost || (error != 0 && error != EAGAIN)) link_.Refresh();
}

// A frame that the kernel took and threw away is a drop, not a packet sent; without a carrier it was the
// link.
void XdpTxQueue::Account(uint64_t packets, uint64_t bytes) {
  if (const uint64_t lost = socket_->lost() - lost_counted_; lost != 0) {
    drops_.Add(link_.last_known() == LinkState::kDown ? DropReason::kLinkDown : DropReason::kDeviceError,
               lost);
    lost_counted_ += lost;
    debt_ += lost;
  }
  const uint64_t repaid = std::min(debt_, packets);
  debt_ -= repaid;
  packets_.Add(packets - repaid);
  bytes_.Add(bytes);
}

size_t XdpTxQueue::Reclaim() {
  if (socket_ == nullptr) return 0;
  if (socket_->WantsDoorbell() && link_.last_known() == LinkState::kUp) RingDoorbell();
  Account(0, 0);
  const size_t reaped = Reap();
  if (egress_->waiting()) [[unlikely]]
    egress_->Resume(*this);
  return reaped;
}

size_t XdpTxQueue::Reap() {
  size_t reaped = 0;
  for (;;) {
    uint32_t first = 0;
    const uint32_t got = xsk_ring_cons__peek(&socket_->completion, Burst::kCapacity, &first);
    if (got == 0) return reaped;
    std::array<Packet*, Burst::kCapacity> done;
    size_t count = 0;
    for (uint32_t i = 0; i < got; ++i) {
      Packet* const packet = held_->Take(*xsk_ring_cons__comp_addr(&socket_->completion, first + i));
      if (packet != nullptr) done[count++] = packet;
    }
    xsk_ring_cons__release(&socket_->completion, got);
    PacketPool::Put(done.data(), count);
    reaped += count;
  }
}

QueueStats XdpTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice

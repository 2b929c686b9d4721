// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/time/clock.h"
#include "nic/xdp/tx_internal.h"

namespace sluice {
namespace {

constexpr uint32_t kEthernetHeader = 14;
constexpr absl::Duration kDrain = absl::Milliseconds(50);
constexpr absl::Duration kDrainStep = absl::Milliseconds(1);

}  // namespace

void XdpTxQueue::Attach(XdpSocket& socket, const QueueOptions& options, uint32_t max_frame) {
  held_.emplace(*options.pool);
  ring_ = options.tx_ring;
  max_frame_ = max_frame;
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
  socket_ = nullptr;
}

size_t XdpTxQueue::Send(Burst& burst) {
  if (socket_ == nullptr || burst.empty()) return 0;
  if (link_.last_known() == LinkState::kDown && link_.Refresh() == LinkState::kDown) return DropAll(burst);
  Reap();

  // 1. Sift: what can be sent is lined up, what cannot is dropped, what does not fit stays with the caller.
  std::array<Packet*, Burst::kCapacity> ready;
  const uint32_t room = ring_ - held_->count();
  uint32_t count = 0;
  size_t taken = 0;
  while (taken < burst.size() && count < room) {
    Packet* const packet = Prepare(burst.begin()[taken++]);
    if (packet != nullptr) ready[count++] = packet;
  }
  burst.DropFront(taken);

  // 2. Stage, and ring once.
  const uint64_t bytes = Stage(ready.data(), count);
  if (socket_->WantsDoorbell()) RingDoorbell();
  Account(count, bytes);
  return taken;
}

size_t XdpTxQueue::DropAll(Burst& burst) {
  const size_t taken = burst.size();
  drops_.Add(DropReason::kLinkDown, taken);
  burst.Clear();
  return taken;
}

// The packet that goes into the ring, or null when there is nothing to send.
Packet* XdpTxQueue::Prepare(Packet* packet) {
  if (packet->length() > max_frame_) return Drop(packet, DropReason::kTooLong);
  if (packet->length() < kEthernetHeader) return Drop(packet, DropReason::kTooShort);
  if (packet->offload.any()) return Drop(packet, DropReason::kUnsupportedOffload);
  if (packet->pool() == &held_->pool() && packet->contiguous() && !packet->borrows()) return packet;
  return CopyToPool(packet);
}

// max_frame_ fits a fresh packet: Start has seen to it.
Packet* XdpTxQueue::CopyToPool(Packet* packet) {
  Packet* const copy = held_->pool().GetOne().release();
  if (copy == nullptr) return Drop(packet, DropReason::kNoBuffer);
  copy->SetLength(packet->length());
  const bool whole = packet->CopyOut(0, packet->length(), copy->data());
  PacketPool::Put(&packet, 1);
  copies_.Add();
  return whole ? copy : Drop(copy, DropReason::kMalformed);
}

Packet* XdpTxQueue::Drop(Packet* packet, DropReason reason) {
  drops_.Add(reason);
  PacketPool::Put(&packet, 1);
  return nullptr;
}

// Returns the bytes of them. The ring has room: it holds at most what the kernel has.
uint64_t XdpTxQueue::Stage(Packet* const* packets, uint32_t count) {
  uint32_t first = 0;
  uint64_t bytes = 0;
  xsk_ring_prod__reserve(&socket_->tx, count, &first);
  for (uint32_t i = 0; i < count; ++i) {
    const Packet& packet = *packets[i];
    const uint64_t buffer = held_->Give(packet);
    *xsk_ring_prod__tx_desc(&socket_->tx, first + i) = {
        .addr = buffer + packet.headroom(), .len = packet.length(), .options = 0};
    bytes += packet.length();
  }
  xsk_ring_prod__submit(&socket_->tx, count);
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
  return Reap();
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

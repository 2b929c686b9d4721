// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "nic/xdp/rx_internal.h"

namespace sluice {
namespace {

// A ring refilled packet by packet would have its index written 32 times as often.
constexpr uint32_t kRefillBatch = 32;

}  // namespace

bool XdpRxQueue::Attach(XdpSocket& socket, const QueueOptions& options, bool busy_poll) {
  held_.emplace(*options.pool);
  owner_ = options.owner;
  port_ = options.port;
  ring_ = options.rx_ring;
  refill_batch_ = std::min(kRefillBatch, ring_);
  busy_poll_ = busy_poll;
  armed_ = false;
  const std::lock_guard lock(kernel_mutex_);
  socket_ = &socket;
  kernel_seen_ = {};
  Refill();
  return held_->count() == ring_;
}

void XdpRxQueue::Detach() {
  if (socket_ == nullptr) return;
  const std::lock_guard lock(kernel_mutex_);
  ReadKernelDrops();
  uint32_t first = 0;
  drops_.Add(DropReason::kStopped, xsk_ring_cons__peek(&socket_->rx, ring_, &first));
  socket_ = nullptr;
}

size_t XdpRxQueue::Receive(Burst& burst) {
  if (socket_ == nullptr) return 0;
  // 1. Look. The kernel's index is read only when the entries known of are used up.
  uint32_t first = 0;
  const uint32_t got = xsk_ring_cons__peek(&socket_->rx, static_cast<uint32_t>(burst.room()), &first);
  if (got == 0) return ReceiveNothing();

  // 2. Hand over. A buffer that we never lent is left out: using it would corrupt somebody's packet.
  Packet** const slots = burst.Extend(got);
  size_t good = 0;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < got; ++i) {
    const xdp_desc& arrival = *xsk_ring_cons__rx_desc(&socket_->rx, first + i);
    Packet* const packet = Describe(arrival);
    if (packet == nullptr) continue;
    slots[good++] = packet;
    bytes += arrival.len;
  }
  burst.DropBack(got - good);
  if (good != got) drops_.Add(DropReason::kDeviceError, got - good);
  xsk_ring_cons__release(&socket_->rx, got);

  // 3. Count, and keep the fill ring full.
  Account(good, bytes);
  if (ring_ - held_->count() >= refill_batch_) Refill();
  return good;
}

Packet* XdpRxQueue::Describe(const xdp_desc& arrival) {
  Packet* const packet = held_->Take(arrival.addr);
  if (packet == nullptr) return nullptr;
  packet->SetHeadroom(arrival.addr & held_->buffer_mask());
  packet->SetLength(arrival.len);
  packet->ingress_port = port_;
  packet->ingress_queue = id_;
  return packet;
}

void XdpRxQueue::Account(size_t packets, uint64_t bytes) {
  packets_.Add(packets);
  bytes_.Add(bytes);
  if (armed_) wakeups_.Add();
  armed_ = false;
}

size_t XdpRxQueue::ReceiveNothing() {
  armed_ = false;
  // A pool that was dry may have got packets back, and nothing arrives before some are posted.
  if (ring_ - held_->count() >= refill_batch_) Refill();
  if (busy_poll_) socket_->DriveReceive();
  return 0;
}

void XdpRxQueue::Refill() {
  while (held_->count() < ring_) {
    Burst fresh;
    const size_t wanted = std::min<size_t>(ring_ - held_->count(), Burst::kCapacity);
    PacketPool& pool = held_->pool();
    const size_t got = owner_ == kNobody ? pool.Get(fresh, wanted) : pool.Get(fresh, wanted, owner_);
    Post(fresh);
    if (got < wanted) break;
  }
  pool_dry_.store(held_->count() < ring_, std::memory_order_relaxed);
  // Only a zero-copy driver that ran out of buffers sets the flag.
  if (xsk_ring_prod__needs_wakeup(&socket_->fill)) socket_->DriveReceive();
}

// The ring has room: it holds at most what the kernel has.
void XdpRxQueue::Post(Burst& fresh) {
  const auto count = static_cast<uint32_t>(fresh.size());
  uint32_t first = 0;
  xsk_ring_prod__reserve(&socket_->fill, count, &first);
  for (uint32_t i = 0; i < count; ++i) {
    *xsk_ring_prod__fill_addr(&socket_->fill, first + i) = held_->Give(fresh[i]);
  }
  xsk_ring_prod__submit(&socket_->fill, count);
  fresh.DropFront(count);
}

// The socket is readable whenever its ring is not empty, so a sleeper is woken by what arrives after the last
// look here, and there is nothing to switch on. What remains is not to sleep where nobody would wake us.
bool XdpRxQueue::Arm() {
  if (socket_ == nullptr) return true;
  if (held_->count() < ring_) Refill();
  if (held_->count() == 0) return false;  // no buffer: the kernel drops, and wakes nobody
  if (socket_->WantsDoorbell() && socket_->SendUnsent() == EAGAIN)
    return false;  // nobody else would send them
  armed_ = true;
  return xsk_cons_nb_avail(&socket_->rx, 1) == 0;
}

QueueStats XdpRxQueue::stats() const {
  QueueStats stats{.packets = packets_.value(),
                   .bytes = bytes_.value(),
                   .wakeups = wakeups_.value(),
                   .drops = drops_.Read()};
  const std::lock_guard lock(kernel_mutex_);
  ReadKernelDrops();
  stats.drops += kernel_drops_;
  return stats;
}

// A frame that finds the fill ring empty counts as both rx_dropped and fill-ring-empty (a zero-copy driver
// counts only the latter, with no frame lost); rx_dropped alone is a frame longer than a buffer. See
// net/xdp/xsk.c, __xsk_rcv. An empty ring is the pool's fault while that is dry, and else that of whoever
// should have polled.
void XdpRxQueue::ReadKernelDrops() const {
  if (socket_ == nullptr) return;
  const xdp_statistics now = socket_->Statistics();
  if (now.rx_dropped < kernel_seen_.rx_dropped) return;  // could not be read
  const uint64_t dropped = now.rx_dropped - kernel_seen_.rx_dropped;
  const uint64_t empty =
      std::min<uint64_t>(dropped, now.rx_fill_ring_empty_descs - kernel_seen_.rx_fill_ring_empty_descs);
  const bool dry = pool_dry_.load(std::memory_order_relaxed);
  kernel_drops_[dry ? DropReason::kNoBuffer : DropReason::kReceiveRingFull] += empty;
  kernel_drops_[DropReason::kTooLong] += dropped - empty;
  kernel_drops_[DropReason::kReceiveRingFull] += now.rx_ring_full - kernel_seen_.rx_ring_full;
  kernel_drops_[DropReason::kDeviceError] += now.rx_invalid_descs - kernel_seen_.rx_invalid_descs;
  kernel_seen_ = now;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <utility>

#include "nic/vhost/fault_bell_internal.h"
#include "nic/vhost/rx_internal.h"
#include "sluice/base/status.h"

namespace sluice {
namespace {

// What rang, as epoll tells it.
constexpr uint32_t kBell = 0, kKick = 1;

bool Watch(int epoll, int fd, uint32_t what) {
  epoll_event readable{.events = EPOLLIN | EPOLLET, .data = {.u32 = what}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &readable) == 0;
}

}  // namespace

absl::Status VhostRxQueue::Open(const char* device, const QueueOptions& queues) {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  bell_ = std::make_shared<const UniqueFd>(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!epoll_.valid() || !bell_->valid()) {
    return ErrorStatus(absl::StatusCode::kResourceExhausted, {.device = device,
                                                              .stage = "start",
                                                              .error_number = errno,
                                                              .what = "no descriptors for a receive queue",
                                                              .remedy = "raise the limit on open files"});
  }
  share_ = 0;
  for (uint16_t pair = id_.value(); pair < rings_.pairs();
       pair = static_cast<uint16_t>(pair + queues.rx_queues)) {
    share_ |= uint64_t{1} << pair;
  }
  armed_ = false;
  (void)sluice::Watch(epoll_.get(), bell_->get(), kBell);
  return absl::OkStatus();
}

void VhostRxQueue::Close() {
  if (const PacketPtr unheard = Announce(nullptr); unheard != nullptr) unheard_.Add();
  for (uint64_t pairs = share_; pairs != 0; pairs &= pairs - 1)
    rings_.transmitq(std::countr_zero(pairs)).source.reset();
  bell_ = nullptr;
  epoll_ = UniqueFd();
}

// Edge-triggered: nobody has to read what was rung.
void VhostRxQueue::Watch(const VhostFd& kick) const {
  if (kick != nullptr) (void)sluice::Watch(epoll_.get(), kick->get(), kKick);
}

void VhostRxQueue::Unwatch(const VhostFd& kick) const {
  if (kick != nullptr) (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, kick->get(), nullptr);
}

void VhostRxQueue::Ring() const { (void)eventfd_write(bell_->get(), 1); }

size_t VhostRxQueue::Receive(Burst& burst) {
  const bool woken = std::exchange(armed_, false);
  const bool kicked = woken && Wake();
  const size_t before = burst.size();
  if (announcement_.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
    ReceiveAnnouncement(burst);

  // From another pair on each time, so that one that always has something starves no other.
  const uint64_t there = rings_.sending() & share_;
  const uint64_t ahead = there & (~uint64_t{0} << next_);
  const uint64_t first = ahead != 0 ? ahead : there;
  for (const uint64_t half : {first, there & ~first}) {
    for (uint64_t pairs = half; pairs != 0 && burst.room() > 0; pairs &= pairs - 1) {
      ReceiveFrom(std::countr_zero(pairs), burst);
    }
  }
  if (woken) [[unlikely]]
    CountWakeup(kicked, burst.size() != before);
  if (there != 0) next_ = (std::countr_zero(first) + 1) % GuestRings::kMostPairs;
  return burst.size() - before;
}

void VhostRxQueue::ReceiveFrom(int pair, Burst& burst) {
  GuestRing& ring = rings_.transmitq(pair);
  const Within gate(ring.gate);
  if (!ring.served) [[unlikely]]
    return;
  if (!ring.enabled) [[unlikely]]
    return Discard(ring);
  const RingTraffic got = ring.source->Receive(burst);
  packets_.Add(got.packets);
  bytes_.Add(got.bytes);
  copied_.Add(got.bytes - got.lent);
  if (ring.source->TakeCall()) ring.Call();
  if (ring.HasJustFailed()) [[unlikely]]
    faults_.Ring();
}

// What a ring that is not enabled brings is thrown away, so that the guest's driver does not wait for it.
void VhostRxQueue::Discard(GuestRing& ring) {
  Burst unwanted;
  drops_.Add(DropReason::kLinkDown, ring.source->Receive(unwanted).packets);
  unwanted.Clear();
  ring.source->Reclaim();
  if (ring.source->TakeCall()) ring.Call();
}

void VhostRxQueue::ReceiveAnnouncement(Burst& burst) {
  PacketPtr packet = Announce(nullptr);
  if (packet == nullptr) return;
  packets_.Add();
  bytes_.Add(packet->length());
  burst.Push(std::move(packet));
}

bool VhostRxQueue::Arm() {
  armed_ = true;
  uint64_t left = rings_.sending() & share_;
  bool sleeps = announcement_.load(std::memory_order_relaxed) == nullptr;
  for (; sleeps && left != 0; left &= left - 1) sleeps = ArmRing(rings_.transmitq(std::countr_zero(left)));
  return sleeps;
}

// A guest that kicks nobody has to be polled. A ring that starts or stops after this look rings the bell.
bool VhostRxQueue::ArmRing(GuestRing& ring) const {
  const Within gate(ring.gate);
  if (!ring.served) return true;
  const bool nothing = ring.source->Arm();
  if (ring.source->TakeCall()) ring.Call();
  return nothing && ring.setup.kick != nullptr;
}

// Takes in what has rung, for an edge that was seen by nobody keeps the descriptor readable. Whether a guest has kicked: however
// often since, that is one.
bool VhostRxQueue::Wake() {
  std::array<epoll_event, GuestRings::kMostPairs + 1> rung;
  const int count = epoll_wait(epoll_.get(), rung.data(), static_cast<int>(rung.size()), 0);
  return std::any_of(rung.begin(), rung.begin() + std::max(count, 0),
                     [](const epoll_event& event) { return event.data.u32 == kKick; });
}

void VhostRxQueue::CountWakeup(bool kicked, bool came) {
  if (came) {
    wakeups_.Add();
  } else if (kicked) {
    idle_kicks_.Add();
  }
}

QueueStats VhostRxQueue::stats() const {
  QueueStats stats{.packets = packets_.value(),
                   .bytes = bytes_.value(),
                   .wakeups = wakeups_.value(),
                   .drops = drops_.Read(),
                   .copied = copied_.value()};
  stats.drops[DropReason::kStopped] += unheard_.value();
  return stats;
}

}  // namespace sluice

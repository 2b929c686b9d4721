// SPDX-License-Identifier: Apache-2.0
// What a poller does: takes packets from the wire, or from its ring.
#include <sys/epoll.h>

#include <cerrno>
#include <utility>

#include "nic/model/receiver_internal.h"
#include "nic/model/rx_queue_internal.h"
#include "sluice/base/status.h"

namespace sluice {

size_t ModelRxQueue::Receive(Burst& burst) {
  if (way_ == nullptr || !tables_->idle()) [[unlikely]]
    return ReceiveAny(burst);
  const PairWay::Moved received = way_->ReceiveKnown(burst);
  if (received.packets == 0) [[unlikely]]
    return ReceiveAny(burst);
  packets_.Add(received.packets);
  bytes_.Add(received.bytes);
  return received.packets;
}

size_t ModelRxQueue::ReceiveAny(Burst& burst) {
  const bool slept = std::exchange(armed_, false);
  if (slept) [[unlikely]]
    Wake();
  const size_t received = direct_ ? ReceiveDirect(burst) : ReceiveOther(burst);
  if (slept && received > 0) [[unlikely]]
    wakeups_.Add();
  return received;
}

size_t ModelRxQueue::ReceiveDirect(Burst& burst) {
  // 1. From the wire into the burst.
  const size_t arrived = receiver_.wire().Receive(burst);
  if (arrived == 0) return 0;
  Packet** const packets = burst.Extend(0) - arrived;

  // 2. One pass over the first lines: all that has to be done for most packets.
  const Packet::Arrival here(receiver_.port(), id_);
  FirstLines lines = receiver_.inspector().Look();
  for (size_t i = 0; i < arrived; ++i) {
    lines.Add(*packets[i]);
    packets[i]->Arrive(here);
  }
  if (!receiver_.idle() || receiver_.inspector().AnyOdd(lines)) [[unlikely]] {
    const size_t kept = receiver_.InspectAll(packets, arrived, drops_);
    burst.DropBack(arrived - kept);
    Count(packets, kept);
    return kept;
  }
  packets_.Add(arrived);
  bytes_.Add(lines.bytes());
  return arrived;
}

size_t ModelRxQueue::ReceiveOther(Burst& burst) {
  if (merger_ != nullptr) return ReceiveMerged(burst);
  const size_t received = TakeFromRing(burst).packets;
  Count(burst.Extend(0) - received, received);
  return received;
}

ModelRxQueue::Taken ModelRxQueue::TakeFromRing(Burst& burst) {
  const size_t room = burst.room();
  const bool enough = ring_->size() >= room && !allowance_.is_short();
  const bool more = enough || receiver_.Pump();
  Packet** const packets = burst.Extend(room);
  const size_t taken = TakeCharged(packets, room);
  burst.DropBack(room - taken);
  return {.packets = taken, .more = more && !allowance_.is_short()};
}

// Takes from the ring what the owner can pay for. The rest waits there, but for what nobody could ever pay
// for.
size_t ModelRxQueue::TakeCharged(Packet** packets, size_t n) {
  const size_t waiting = ring_->Peek(packets, n);
  const size_t charged = allowance_.Charge(packets, waiting);
  ring_->Advance(charged);
  if (charged < waiting && allowance_.Hopeless(*packets[charged])) [[unlikely]] {
    ring_->Advance(1);
    PacketPool::Put(&packets[charged], 1);
    hopeless_.Add();
  }
  return charged;
}

void ModelRxQueue::Count(Packet* const* packets, size_t n) {
  packets_.Add(n);
  bytes_.Add(BytesOf(packets, n));
}

bool ModelRxQueue::Arm() {
  if (merger_ != nullptr && merger_->holds()) return false;
  if (ring_ == nullptr) return armed_ = receiver_.wire().Arm();
  armed_ = true;
  // First the notice, then the look: whoever puts a packet on the ring after that look sees the notice.
  if (receiver_.Sleep(bit(), *ring_) || SleepForAllowance()) return true;
  Wake();
  return false;
}

// What is on the ring cannot be had before somebody frees a packet, and that is what to wait for.
bool ModelRxQueue::SleepForAllowance() {
  Packet* first = nullptr;
  if (!receiver_.wire().traits().sleeps || !allowance_.is_short() || ring_->Peek(&first, 1) == 0)
    return false;
  return allowance_.RingWhenEnough(*first, bell_);
}

void ModelRxQueue::Wake() {
  if (ring_ == nullptr) return;  // the wire's Receive does it
  allowance_.StopWaiting();
  if (receiver_.Rise(bit())) {
    bell_.TakeIn();
  } else {
    bell_.Expect();
  }
}

int ModelRxQueue::fd() const { return ring_ == nullptr ? receiver_.wire().fd() : epoll_.get(); }

QueueStats ModelRxQueue::stats() const {
  DropCounts drops = drops_.Read();
  drops[DropReason::kOverBudget] += hopeless_.value();
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = wakeups_.value(), .drops = drops};
}

absl::Status ModelRxQueue::Open(const QueueOptions& queues, bool steered) {
  armed_ = false;
  direct_ = !steered;
  way_ = nullptr;
  allowance_.Open(queues.owner);
  if (!steered) return absl::OkStatus();
  ring_ = std::make_unique<PacketRing>(queues.rx_ring);
  if (receiver_.wire().traits().sleeps) return OpenDescriptors();
  return absl::OkStatus();
}

absl::Status ModelRxQueue::OpenDescriptors() {
  const std::string& device = receiver_.wire().traits().name;
  if (absl::Status opened = bell_.Open(device.c_str()); !opened.ok()) return opened;
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  epoll_event readable{};
  readable.events = EPOLLIN;
  for (const int fd : {bell_.fd(), receiver_.wire().fd()}) {
    if (!epoll_.valid() || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &readable) != 0) {
      return ErrorStatus({.device = device,
                          .stage = "make a wake-up descriptor",
                          .error_number = errno,
                          .remedy = "raise the limit of open files (ulimit -n), or close some"});
    }
  }
  return absl::OkStatus();
}

void ModelRxQueue::Close() {
  allowance_.StopWaiting();
  if (merger_ != nullptr) drops_.Add(DropReason::kStopped, merger_->Clear());
  merger_.reset();
  if (ring_ != nullptr) drops_.Add(DropReason::kStopped, ring_->Clear());
  ring_.reset();
  epoll_ = UniqueFd();
  bell_.Close();
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <utility>

#include "nic/vhost/fault_bell_internal.h"
#include "nic/vhost/features_internal.h"
#include "nic/vhost/tx_internal.h"
#include "sluice/packet/parse.h"

namespace sluice {

void VhostTxQueue::Open(const QueueOptions& queues, uint32_t max_frame, bool defers, const Clock& clock) {
  clock_ = &clock;
  queues_ = queues.tx_queues;
  pool_ = queues.pool;
  max_frame_ = max_frame;
  defers_ = defers;
  LookAnew(0, 0);
}

void VhostTxQueue::Close() {
  if (egress_.has_value()) egress_->GiveUp(DropReason::kStopped, *this);
  for (int pair = id_.value(); pair < rings_.pairs(); pair += queues_) rings_.receiveq(pair).sink.reset();
}

size_t VhostTxQueue::Send(Burst& burst) {
  if (burst.empty()) return 0;
  if (!HasRing()) [[unlikely]]
    return DropAll(burst);

  FirstLines lines = egress_->Look();
  for (const Packet* packet : burst) lines.Add(*packet);
  if (egress_->AnyOdd(lines)) [[unlikely]]
    return egress_->Send(burst, *this);
  const size_t offered = burst.size();
  const RingTraffic sent = Stage(burst);
  packets_.Add(sent.packets);
  bytes_.Add(sent.bytes);
  return offered - burst.size();
}

// As things are now.
bool VhostTxQueue::HasRing() {
  const uint64_t receiving = rings_.receiving();
  const uint64_t features = rings_.features();
  if (receiving != receiving_ || features != features_) [[unlikely]]
    LookAnew(features, receiving);
  return count_ != 0;
}

size_t VhostTxQueue::DropAll(Burst& burst) {
  const size_t taken = burst.size();
  drops_.Add(DropReason::kLinkDown, taken);
  burst.Clear();
  egress_->GiveUp(DropReason::kLinkDown, *this);
  return taken;
}

// What waits to be cut was meant for the guest before.
void VhostTxQueue::LookAnew(uint64_t features, uint64_t receiving) {
  Share(receiving);
  if (egress_.has_value() && features == features_) return;
  if (egress_.has_value()) egress_->GiveUp(DropReason::kLinkDown, *this);
  features_ = features;
  egress_.emplace(WhatGuestFinishes(features, max_frame_, pool_));
  cut_ = 0;
}

// Ring j of those there are goes to queue j % queues; where there are fewer, queue i has ring i % rings.
void VhostTxQueue::Share(uint64_t receiving) {
  // What is on its way may be nobody's else to look after.
  if (defers_) ForEachRing([](GuestRing& ring) { ring.Finish(); });
  const auto rings = static_cast<uint16_t>(std::popcount(receiving));
  uint16_t rank = 0;
  count_ = 0;
  for (uint64_t left = receiving; left != 0; left &= left - 1, ++rank) {
    const bool ours = rings < queues_ ? rank == id_.value() % rings : rank % queues_ == id_.value();
    if (ours) pairs_[count_++] = static_cast<uint8_t>(std::countr_zero(left));
  }
  receiving_ = receiving;
  spread_.reset();
  if (count_ > 1) spread_ = RssConfig::Spread(count_);
}

std::optional<DropReason> VhostTxQueue::Put(Burst& frames) {
  const size_t offered = frames.size();
  const uint64_t bytes = BytesOf(frames);
  const RingTraffic sent = Stage(frames);
  lost_.packets += offered - frames.size() - sent.packets;
  lost_.bytes += bytes - BytesOf(frames) - sent.bytes;
  return std::nullopt;
}

void VhostTxQueue::CountSent(uint64_t packets, uint64_t bytes) {
  const RingTraffic repaid{.packets = std::min<size_t>(lost_.packets, packets),
                           .bytes = std::min(lost_.bytes, bytes)};
  lost_.packets -= repaid.packets;
  lost_.bytes -= repaid.bytes;
  packets_.Add(packets - repaid.packets);
  bytes_.Add(bytes - repaid.bytes);
}

RingTraffic VhostTxQueue::Stage(Burst& frames) {
  return count_ == 1 ? Write(pairs_[0], frames) : Spread(frames);
}

// In runs of one ring, until one is full: a flow keeps its order.
RingTraffic VhostTxQueue::Spread(Burst& frames) {
  for (Packet* packet : frames) (void)Parse(*packet);
  RssHashBurst(*spread_, frames);
  RingTraffic sum;
  while (!frames.empty()) {
    const auto ring_of = [this](const Packet* packet) { return spread_->QueueFor(packet->rss_hash); };
    const QueueId ring = ring_of(*frames.begin());
    const auto end = std::find_if(frames.begin(), frames.end(),
                                  [&](const Packet* packet) { return ring_of(packet) != ring; });
    Burst run;
    frames.MoveFront(static_cast<size_t>(end - frames.begin()), run);
    const RingTraffic sent = Write(pairs_[ring.value()], run);
    sum.packets += sent.packets;
    sum.bytes += sent.bytes;
    if (run.empty()) continue;
    frames.MoveFront(frames.size(), run);
    frames = std::move(run);
    break;
  }
  return sum;
}

RingTraffic VhostTxQueue::Write(uint8_t pair, Burst& frames) {
  GuestRing& ring = rings_.receiveq(pair);
  const Within gate(ring.gate);
  if (!ring.served || ring.setup.features != features_) [[unlikely]]
    return {};  // the next call looks anew
  const RingTraffic sent = ring.sink->Send(frames, drops_);
  if (ring.sink->TakeCall()) ring.Call();
  if (ring.HasJustFailed()) [[unlikely]]
    faults_.Ring();
  return sent;
}

// Of its share, in its gate.
template <typename Do>
void VhostTxQueue::ForEachRing(Do act) const {
  for (uint16_t i = 0; i < count_; ++i) {
    GuestRing& ring = rings_.receiveq(pairs_[i]);
    const Within gate(ring.gate);
    if (ring.served) act(ring);
  }
}

absl::Duration VhostTxQueue::due() const {
  constexpr absl::Duration kForRoom = absl::Milliseconds(1);
  absl::Duration due = egress_->waiting() ? kForRoom : absl::InfiniteDuration();
  if (defers_) ForEachRing([&due](GuestRing& ring) { due = std::min(due, ring.sink->due()); });
  return due;
}

size_t VhostTxQueue::Reclaim() {
  if (egress_->waiting()) [[unlikely]] {
    if (!HasRing()) egress_->GiveUp(DropReason::kLinkDown, *this);
    if (!egress_->Resume(*this) && CutForTooLong()) egress_->GiveUp(DropReason::kTransmitRingFull, *this);
  }
  size_t freed = 0;  // without an engine the guest has copies
  if (defers_) [[unlikely]] {
    ForEachRing([&freed](GuestRing& ring) {
      freed += ring.sink->Reclaim();
      if (ring.sink->TakeCall()) ring.Call();
    });
  }
  return freed;
}

// What is cut may be lent by another guest, which gets nothing back before it: one that makes no room must not hold that up
// for long.
bool VhostTxQueue::CutForTooLong() {
  constexpr absl::Duration kLongest = absl::Milliseconds(100);
  const Nanoseconds now = clock_->Now();
  if (std::exchange(cut_, egress_->cuts()) != egress_->cuts()) cut_since_ = now;
  return absl::Nanoseconds(now - cut_since_) >= kLongest;
}

QueueStats VhostTxQueue::stats() const {
  return {.packets = packets_.value(),
          .bytes = bytes_.value(),
          .wakeups = 0,
          .drops = drops_.Read(),
          .copied = bytes_.value()};
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "nic/model/tx_queue_internal.h"

namespace sluice {
namespace {

uint64_t BytesOf(const Burst& burst) {
  uint64_t bytes = 0;
  for (const Packet* packet : burst) bytes += packet->length();
  return bytes;
}

}  // namespace

size_t ModelTxQueue::Send(Burst& burst) {
  // 1. One pass over the first lines, while the packets are still ours.
  const size_t offered = burst.size();
  FirstLines lines = finisher_->Look();
  for (const Packet* packet : burst) lines.Add(*packet);
  if (finisher_->AnyOdd(lines) || cutting_) [[unlikely]]
    return SendOdd(burst);

  // 2. To the wire. What it did not take was not sent, and is still here to be counted off.
  uint64_t bytes = lines.bytes();
  const size_t sent = wire_.Transmit(id_.value(), burst);
  if (!burst.empty()) [[unlikely]] {
    bytes -= BytesOf(burst);
    DropIfLinkDown(burst);
  }
  packets_.Add(sent);
  bytes_.Add(bytes);
  return offered - burst.size();
}

// In runs: up to a packet that has to be cut, then its segments, then on.
size_t ModelTxQueue::SendOdd(Burst& burst) {
  const size_t offered = burst.size();
  bool room = SendSegments();
  while (room && !burst.empty()) {
    const auto whole = std::find_if(burst.begin(), burst.end(),
                                    [this](const Packet* packet) { return finisher_->MustCut(*packet); });
    Burst run;
    burst.MoveFront(static_cast<size_t>(whole - burst.begin()), run);
    Prepare(run);
    room = Transmit(run);
    if (!room) {
      burst.MoveFront(burst.size(), run);
      burst = std::move(run);
    } else if (!burst.empty()) {
      BeginCut(burst.PopFront());
      room = SendSegments();
    }
  }
  return offered - burst.size();
}

// False when something is left, for which there is no room.
bool ModelTxQueue::Transmit(Burst& burst) {
  const uint64_t bytes = BytesOf(burst);
  packets_.Add(wire_.Transmit(id_.value(), burst));
  bytes_.Add(bytes - BytesOf(burst));
  DropIfLinkDown(burst);
  return burst.empty();
}

void ModelTxQueue::BeginCut(PacketPtr packet) {
  const uint64_t bytes = packet->length();
  if (const std::optional<DropReason> reason = finisher_->BeginCut(packet, *segmenter_)) {
    return drops_.Add(*reason);
  }
  cutting_ = true;
  cut_bytes_ = bytes;
}

// False while some wait. Their packet counts as one, when the last of them has gone.
bool ModelTxQueue::SendSegments() {
  while (cutting_) {
    if (segments_.empty() && segmenter_->done()) {
      EndCut();
      break;
    }
    if (segments_.empty()) {
      segmenter_->Next(segments_);
      Prepare(segments_);
    }
    wire_.Transmit(id_.value(), segments_);
    DropIfLinkDown(segments_);
    if (!segments_.empty()) return false;
  }
  return true;
}

void ModelTxQueue::EndCut() {
  cutting_ = false;
  if (segmenter_->lost() > 0) return drops_.Add(DropReason::kNoBuffer);
  packets_.Add(1);
  bytes_.Add(cut_bytes_);
}

size_t ModelTxQueue::Reclaim() {
  if (cutting_) [[unlikely]]
    SendSegments();
  return wire_.Reclaim(id_.value());
}

void ModelTxQueue::Close() {
  if (cutting_) drops_.Add(DropReason::kStopped);
  cutting_ = false;
  segments_.Clear();
  segmenter_.reset();
}

// Leaves in the burst what can go on the wire as it is.
void ModelTxQueue::Prepare(Burst& burst) {
  Packet** const packets = burst.Extend(0) - burst.size();
  const size_t offered = burst.size();
  size_t ready = 0;
  for (size_t i = 0; i < offered; ++i) {
    PacketPtr packet(packets[i]);
    if (const std::optional<DropReason> reason = finisher_->Finish(packet)) {
      drops_.Add(*reason);
    } else {
      packets[ready++] = packet.release();
    }
  }
  burst.DropBack(offered - ready);
}

// A wire that is down takes nothing, and would hold up the sender for as long as it is.
void ModelTxQueue::DropIfLinkDown(Burst& burst) {
  if (burst.empty() || wire_.link() == LinkState::kUp) return;
  drops_.Add(DropReason::kLinkDown, burst.size());
  burst.Clear();
}

QueueStats ModelTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice

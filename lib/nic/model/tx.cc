// SPDX-License-Identifier: Apache-2.0
#include "nic/model/tx_queue_internal.h"

namespace sluice {

size_t ModelTxQueue::Send(Burst& burst) {
  if (way_ == nullptr || egress_->waiting()) [[unlikely]]
    return SendAny(burst);
  const PairWay::Moved sent = way_->PushPlain(*lane_, burst, egress_->max_frame());
  CountSent(sent.packets, sent.bytes);
  if (burst.empty()) [[likely]]
    return sent.packets;
  return sent.packets + SendAny(burst);
}

size_t ModelTxQueue::SendAny(Burst& burst) {
  // 1. One pass over the first lines, while the packets are still ours.
  const size_t offered = burst.size();
  FirstLines lines = egress_->Look();
  for (const Packet* packet : burst) lines.Add(*packet);
  if (egress_->AnyOdd(lines)) [[unlikely]]
    return egress_->Send(burst, *this);

  // 2. To the wire. What it did not take was not sent, and is still here to be counted off.
  uint64_t bytes = lines.bytes();
  const size_t sent = wire_.Transmit(id_.value(), burst);
  if (!burst.empty()) [[unlikely]] {
    bytes -= BytesOf(burst);
    DropIfLinkDown(burst);
  }
  CountSent(sent, bytes);
  return offered - burst.size();
}

void ModelTxQueue::DropIfLinkDown(Burst& burst) {
  if (wire_.link() == LinkState::kUp) return;
  drops_.Add(DropReason::kLinkDown, burst.size());
  burst.Clear();
}

// A wire that is down takes nothing, and would hold up the sender for as long as it is.
std::optional<DropReason> ModelTxQueue::Put(Burst& frames) {
  wire_.Transmit(id_.value(), frames);
  if (frames.empty() || wire_.link() == LinkState::kUp) return std::nullopt;
  return DropReason::kLinkDown;
}

void ModelTxQueue::CountSent(uint64_t packets, uint64_t bytes) {
  packets_.Add(packets);
  bytes_.Add(bytes);
}

size_t ModelTxQueue::Reclaim() {
  if (egress_->waiting()) [[unlikely]]
    egress_->Resume(*this);
  return wire_.Reclaim(id_.value());
}

QueueStats ModelTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice

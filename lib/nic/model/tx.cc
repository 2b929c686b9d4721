// SPDX-License-Identifier: Apache-2.0
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
  FirstLines lines;
  for (const Packet* packet : burst) lines.Add(*packet);
  uint64_t bytes = lines.bytes();
  if (finisher_->AnyOdd(lines)) [[unlikely]] {
    Prepare(burst);
    bytes = BytesOf(burst);
  }

  // 2. To the wire. What it did not take was not sent, and is still here to be counted off.
  const size_t sent = wire_.Transmit(id_.value(), burst);
  if (!burst.empty()) [[unlikely]] {
    bytes -= BytesOf(burst);
    DropIfLinkDown(burst);
  }
  packets_.Add(sent);
  bytes_.Add(bytes);
  return offered - burst.size();
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
  if (wire_.link() == LinkState::kUp) return;
  drops_.Add(DropReason::kLinkDown, burst.size());
  burst.Clear();
}

QueueStats ModelTxQueue::stats() const {
  return {.packets = packets_.value(), .bytes = bytes_.value(), .wakeups = 0, .drops = drops_.Read()};
}

}  // namespace sluice

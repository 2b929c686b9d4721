// SPDX-License-Identifier: Apache-2.0
// Receiving from the rings of an mlx5 card.
#include <array>

#include "nic/verbs/rx_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {
namespace {

// What was hashed, by Mlx5Completion::hash_kind: addresses in bits 2 and 3, ports in bits 6 and 7.
constexpr std::array<RssType, 16> kRssTypes = [] {
  std::array<RssType, 16> types{};
  constexpr size_t kIpv4 = 1, kIpv6 = 2, kTcp = 1 << 2, kUdp = 2 << 2;
  types[kIpv4] = RssType::kIpv4;
  types[kIpv4 | kTcp] = RssType::kIpv4Tcp;
  types[kIpv4 | kUdp] = RssType::kIpv4Udp;
  types[kIpv6] = RssType::kIpv6;
  types[kIpv6 | kTcp] = RssType::kIpv6Tcp;
  types[kIpv6 | kUdp] = RssType::kIpv6Udp;
  return types;
}();
RssType RssTypeOf(uint8_t kind) { return kRssTypes[(kind >> 2 & 3) | (kind >> 6) << 2]; }

void PutBack(Packet* packet, uint32_t headroom) {
  packet->Restart(headroom, 0);
  PacketPool::Put(&packet, 1);
}

}  // namespace

void VerbsRxQueue::PollDirect(Burst& burst) {
  Mlx5Receiver& rings = *receiver_.direct();
  Mlx5Arrival arrival;
  while (burst.room() > 0 && !broken_ && rings.Next(arrival)) {
    if (Packet* const packet = DescribeDirect(arrival)) burst.PushRaw(packet);
  }
  rings.Release();
  if (!rings.spoilt() || dead_) [[likely]]
    return;
  drops_.Add(DropReason::kDeviceError);
  broken_ = dead_ = true;
}

// Null when it is no frame, or none that can be. Requests are done in the order in which they were posted: one that is not
// the oldest means that the card and we no longer speak of the same.
Packet* VerbsRxQueue::DescribeDirect(const Mlx5Arrival& arrival) {
  const Mlx5Completion& said = *arrival.said;
  if (posted_->count() == 0 || !receiver_.direct()->IsOf(arrival, posted_->first())) [[unlikely]] {
    CountFailure(Mlx5Syndrome::kOperation);
    return nullptr;
  }
  Packet* const packet = posted_->Pop();
  if (OpcodeOf(said.owner) != Mlx5Opcode::kReceived) [[unlikely]] {
    const bool failed = OpcodeOf(said.owner) == Mlx5Opcode::kReceiveFailed;
    CountFailure(failed ? static_cast<Mlx5Syndrome>(said.stamp.get() & 0xff) : Mlx5Syndrome::kOperation);
    PutBack(packet, headroom_);
    return nullptr;
  }
  if (arrival.bytes > longest_) [[unlikely]] {
    CountFailure(Mlx5Syndrome::kOperation);
    PutBack(packet, headroom_);
    return nullptr;
  }
  packet->Restart(headroom_, arrival.bytes);
  packet->Arrive(arrival_);
  FinishDirect(*packet, arrival);
  return packet;
}

// Verdicts on headers in a tunnel say nothing of those outside, and are left out.
void VerbsRxQueue::FinishDirect(Packet& packet, const Mlx5Arrival& arrival) {
  const Mlx5Completion& said = *arrival.said;
  if ((said.tunnel & Mlx5Completion::kTunnel) == 0) {
    constexpr uint8_t kBoth = Mlx5Completion::kL3Good | Mlx5Completion::kL4Good;
    if ((said.verdicts & kBoth) == kBoth) packet.l3_checksum = packet.l4_checksum = ChecksumVerdict::kGood;
  }
  packet.rss_hash = arrival.hash;
  packet.rss_type = RssTypeOf(said.hash_kind);
  if (arrivals_.Tells(IBV_WC_EX_WITH_FLOW_TAG)) {
    if (const uint32_t mark = said.mark.get() & Mlx5Completion::kMarkMask; mark != 0) packet.set_mark(mark);
  }
  if (arrivals_.card_strips() && (said.headers & Mlx5Completion::kTagTaken) != 0) {
    packet.vlan_tci = said.vlan_tci.get();
    packet.vlan_stripped = true;
  }
  if (arrivals_.card_stamps()) packet.set_timestamp(stamps_.TimeOf(said.stamp.get()));
}

// A queue that cannot go on is made ready again; of a request that was given back unused, no frame was in it.
void VerbsRxQueue::CountFailure(Mlx5Syndrome syndrome) {
  broken_ = broken_ || syndrome == Mlx5Syndrome::kOperation || syndrome == Mlx5Syndrome::kProtection ||
            syndrome == Mlx5Syndrome::kFlushed;
  if (syndrome == Mlx5Syndrome::kFlushed) return;
  drops_.Add(syndrome == Mlx5Syndrome::kLength ? DropReason::kTooLong : DropReason::kDeviceError);
}

}  // namespace sluice

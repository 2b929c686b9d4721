// SPDX-License-Identifier: Apache-2.0
// Receiving from the rings of an mlx5 card.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "nic/verbs/mlx5_joined_internal.h"
#include "nic/verbs/rx_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {
namespace {

// What was hashed, by Mlx5Completion::hash_kind: addresses in bits 2 and 3, ports in bits 6 and 7.
constexpr std::array<RssType, 256> kRssTypes = [] {
  constexpr std::array<RssType, 3> kIpv4 = {RssType::kIpv4, RssType::kIpv4Tcp, RssType::kIpv4Udp};
  constexpr std::array<RssType, 3> kIpv6 = {RssType::kIpv6, RssType::kIpv6Tcp, RssType::kIpv6Udp};
  std::array<RssType, 256> types{};
  for (size_t kind = 0; kind < types.size(); ++kind) {
    const size_t addresses = kind >> 2 & 3, ports = kind >> 6;
    if (ports < kIpv4.size() && addresses == 1) types[kind] = kIpv4[ports];
    if (ports < kIpv6.size() && addresses == 2) types[kind] = kIpv6[ports];
  }
  return types;
}();

// Verdicts on headers in a tunnel say nothing of those outside, and are left out.
bool Vouches(const Mlx5Completion& said) {
  constexpr uint8_t kBoth = Mlx5Completion::kL3Good | Mlx5Completion::kL4Good;
  return (said.verdicts & kBoth) == kBoth && (said.tunnel & Mlx5Completion::kTunnel) == 0;
}

// Of a queue whose frames may be, and of no block, which has no words for it.
bool IsJoined(const Mlx5Arrival& arrival) {
  return arrival.said->lro_segments > 1 && OpcodeOf(arrival.owner) == Mlx5Opcode::kReceived &&
         (arrival.owner & kMlx5FormatMask) == 0;
}

}  // namespace

void VerbsRxQueue::PollDirect(Burst& burst) {
  Mlx5Receiver& rings = *receiver_.direct();
  while (burst.room() > 0 && !broken_ && TakeRun(burst)) {
  }
  rings.Release();
  CheckSpoilt();
}

void VerbsRxQueue::CheckSpoilt() {
  if (!receiver_.direct()->spoilt() || dead_) [[likely]]
    return;
  drops_.Add(DropReason::kDeviceError);
  broken_ = dead_ = true;
}

// What is told of each frame, beside what always is.
struct VerbsRxQueue::Told {
  uint32_t marks;
  uint8_t tags;
  bool stamps;
};
VerbsRxQueue::Told VerbsRxQueue::ToTell() const {
  return {.marks = arrivals_.Tells(IBV_WC_EX_WITH_FLOW_TAG) ? Mlx5Completion::kMarkMask : 0,
          .tags = arrivals_.card_strips() ? Mlx5Completion::kTagTaken : uint8_t{0},
          .stamps = arrivals_.card_stamps()};
}

[[gnu::always_inline]] inline void VerbsRxQueue::Tell(Packet& packet, const Mlx5Arrival& arrival,
                                                      const Told& told) {
  const Mlx5Completion& said = *arrival.said;
  if (Vouches(said)) packet.l3_checksum = packet.l4_checksum = ChecksumVerdict::kGood;
  packet.rss_hash = arrival.hash;
  packet.rss_type = kRssTypes[said.hash_kind];
  if (const uint32_t mark = said.mark.get() & told.marks; mark != 0) packet.set_mark(mark);
  if ((said.headers & told.tags) != 0) {
    packet.vlan_tci = said.vlan_tci.get();
    packet.vlan_stripped = true;
  }
  if (told.stamps) packet.set_timestamp(stamps_.TimeOf(said.stamp.get()));
}

// Takes frames as long as each came into the oldest buffer, and deals with what ends that. False when nothing more is there.
bool VerbsRxQueue::TakeRun(Burst& burst) {
  Mlx5Receiver rings = *receiver_.direct();
  const absl::Span<Packet* const> oldest = posted_->Oldest(burst.room());
  const uint64_t first = posted_->first();
  const Packet::Arrival where = arrival_;
  const uint32_t headroom = headroom_, longest = longest_;
  const Told told = ToTell();
  Packet** const to = burst.Extend(oldest.size());
  size_t taken = 0;
  Mlx5Arrival arrival;
  bool more = false, sound = true;
  for (; taken < oldest.size() && (more = rings.Next(arrival)); ++taken) {
    sound = rings.IsOf(arrival, first + taken) && OpcodeOf(arrival.owner) == Mlx5Opcode::kReceived &&
            arrival.bytes <= longest;
    if (!sound) [[unlikely]]
      break;
    Packet* const packet = to[taken] = oldest[taken];
    packet->Restart(headroom, arrival.bytes);
    packet->Arrive(where);
    Tell(*packet, arrival, told);
  }
  burst.DropBack(oldest.size() - taken);
  posted_->Drop(taken);
  if (oldest.empty() && rings.Next(arrival)) sound = false;
  *receiver_.direct() = rings;
  if (!sound) [[unlikely]]
    DropUnsound(arrival);
  return more;
}

// Requests are done in the order in which they were posted: one that is not the oldest means that the card and we no longer
// speak of the same.
void VerbsRxQueue::DropUnsound(Mlx5Arrival arrival) {
  const Mlx5Completion& said = *arrival.said;
  if (posted_->count() == 0 || !receiver_.direct()->IsOf(arrival, posted_->first()))
    return CountFailure(Mlx5Syndrome::kOperation);
  const bool failed = OpcodeOf(arrival.owner) == Mlx5Opcode::kReceiveFailed;
  CountFailure(failed ? static_cast<Mlx5Syndrome>(said.stamp.get() & 0xff) : Mlx5Syndrome::kOperation);
  Packet* const packet = posted_->Pop();
  PutFresh(&packet, 1);
}

// As many bytes as buffers for the ring would have, so that it holds as many long frames, and more short ones.
absl::Status VerbsRxQueue::OpenChunks(const QueueOptions& options) {
  constexpr uint32_t kFewest = 4;
  const Mlx5Strides& strides = *arrivals_.strides;
  const uint64_t bytes = uint64_t{options.rx_ring} * options.pool->options().buffer_size;
  const auto count =
      std::bit_ceil(static_cast<uint32_t>(std::max<uint64_t>(bytes / strides.chunk_bytes(), kFewest)));
  absl::StatusOr<Mlx5Chunks> made = Mlx5Chunks::Make(*device_.domain(), device_.node(), strides, count);
  if (made.ok()) chunks_.emplace(*std::move(made));
  return made.status();
}

// What no packet is left for stays where it is. A chunk goes back when no block is being read, whose places the card would
// need for what comes into it.
void VerbsRxQueue::TakeStrided(Burst& burst) {
  Mlx5Receiver& rings = *receiver_.direct();
  if (!rings.HasNext() && !rings.in_block()) return;
  while (TakeSomeStrided(burst)) {
  }
  rings.Release();
  if (!rings.in_block()) {
    if (const uint32_t read = chunks_->TakeRead(); read != 0) rings.PostAgain(read);
  }
  CheckSpoilt();
}

// A frame that was joined takes more packets than one, which are got for all of it: when too few are left, the next round
// begins with as many as there can be. Whether there is to be one.
bool VerbsRxQueue::TakeSomeStrided(Burst& burst) {
  Mlx5Receiver& rings = *receiver_.direct();
  std::array<Packet*, Burst::kCapacity> fresh;
  const bool lro = arrivals_.lro;
  const size_t got = GetFresh(fresh.data(), lro ? fresh.size() : burst.room());
  size_t used = 0;
  bool short_of_some = false;
  const Told told = ToTell();
  for (Mlx5Arrival arrival; used < got && !broken_ && rings.Next(arrival);) {
    size_t needed = 1;
    if (lro && IsJoined(arrival)) [[unlikely]] {
      needed = PiecesFor(arrival);
      short_of_some = needed > got - used;
      if (short_of_some) {
        rings.Unread();
        break;
      }
      if (!CopyJoined(arrival, {&fresh[used], needed}, told)) continue;
    } else if (!CopyOut(arrival, *fresh[used], told)) {
      continue;
    }
    burst.PushRaw(fresh[used]);
    used += needed;
    if (lro && burst.room() == 0) break;
  }
  PutFresh(fresh.data() + used, got - used);
  return lro && used != 0 && (short_of_some || used == got) && burst.room() > 0;
}

// One for what is too long for as many as there can be.
size_t VerbsRxQueue::PiecesFor(const Mlx5Arrival& arrival) const {
  const size_t pieces = (Mlx5StridedBytes(arrival.bytes).length() + longest_ - 1) / longest_;
  return pieces - 1 < Burst::kCapacity ? pieces : 1;
}

// Null when there is no frame of up to `longest` bytes. One that failed took strides, too.
[[gnu::always_inline]] inline uint8_t* VerbsRxQueue::FrameOf(const Mlx5Arrival& arrival, size_t longest) {
  const Mlx5StridedBytes said(arrival.bytes);
  const Mlx5Opcode opcode = OpcodeOf(arrival.owner);
  const bool failed = opcode == Mlx5Opcode::kReceiveFailed;
  if (failed) [[unlikely]]
    CountFailure(static_cast<Mlx5Syndrome>(arrival.said->stamp.get() & 0xff));
  uint8_t* const frame = broken_ ? nullptr : chunks_->Take(arrival);
  if (failed && !broken_) broken_ = frame == nullptr;
  if (failed || (frame != nullptr && said.filler())) return nullptr;
  if (frame == nullptr || opcode != Mlx5Opcode::kReceived) [[unlikely]] {
    CountFailure(Mlx5Syndrome::kOperation);
    return nullptr;
  }
  if (said.length() <= longest) [[likely]]
    return frame;
  CountFailure(Mlx5Syndrome::kLength);
  return nullptr;
}

// False when there is no frame for the packet.
bool VerbsRxQueue::CopyOut(const Mlx5Arrival& arrival, Packet& packet, const Told& told) {
  const uint8_t* const frame = FrameOf(arrival, longest_);
  if (frame == nullptr) return false;
  const uint32_t length = Mlx5StridedBytes(arrival.bytes).length();
  packet.Restart(headroom_, length);
  std::memcpy(packet.data(), frame, length);
  packet.Arrive(arrival_);
  Tell(packet, arrival, told);
  return true;
}

// False when there is none for the packets.
bool VerbsRxQueue::CopyJoined(const Mlx5Arrival& arrival, absl::Span<Packet* const> pieces,
                              const Told& told) {
  uint8_t* const frame = FrameOf(arrival, pieces.size() * longest_);
  if (frame == nullptr) return false;
  const absl::Span<uint8_t> bytes(frame, Mlx5StridedBytes(arrival.bytes).length());
  const std::optional<Mlx5Joined> joined = MendJoined(*arrival.said, bytes);
  if (!joined.has_value()) {
    drops_.Add(DropReason::kDeviceError);
    return false;
  }
  CopyTo(pieces, bytes);
  Packet& packet = *pieces[0];
  packet.Arrive(arrival_);
  Tell(packet, arrival, told);
  packet.set_coalesced(joined->segments, joined->size, joined->ids);
  packet.offload = {.segment = true, .fixed_ids = joined->ids, .mss = joined->size};  // checksums are right
  return true;
}

// Each piece but the last is full.
void VerbsRxQueue::CopyTo(absl::Span<Packet* const> pieces, absl::Span<const uint8_t> frame) const {
  Packet* last = nullptr;
  for (Packet* const piece : pieces) {
    const auto bytes = static_cast<uint32_t>(std::min<size_t>(frame.size(), longest_));
    piece->Restart(headroom_, bytes);
    std::memcpy(piece->data(), frame.data(), bytes);
    frame.remove_prefix(bytes);
    if (last != nullptr) {
      last->Link(PacketPtr(piece));
      pieces[0]->CountLinked(bytes);
    }
    last = piece;
  }
}

// A queue that cannot go on is made ready again; of a request that was given back unused, no frame was in it.
void VerbsRxQueue::CountFailure(Mlx5Syndrome syndrome) {
  broken_ = broken_ || syndrome == Mlx5Syndrome::kOperation || syndrome == Mlx5Syndrome::kProtection ||
            syndrome == Mlx5Syndrome::kFlushed;
  if (syndrome == Mlx5Syndrome::kFlushed) return;
  drops_.Add(syndrome == Mlx5Syndrome::kLength ? DropReason::kTooLong : DropReason::kDeviceError);
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "nic/wire/piece_writer_internal.h"
#include "nic/wire/shm_receiver_internal.h"

namespace sluice {
namespace {

// Frames are copied in whole blocks: what follows a frame in its buffer is nobody's.
constexpr uint32_t kBlock = 64;
constexpr uint32_t InBlocks(uint32_t bytes) { return (bytes + kBlock - 1) & ~(kBlock - 1); }

// Up to this many bytes a loop over blocks beats a call of memcpy, which has to find out the length.
constexpr uint32_t kShort = 256;

// How often a peer that is closing is asked for its last word: it comes within some instructions of the first.
constexpr int kPatience = 10'000;

void CopyBlocks(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  if (bytes > kShort) {
    std::memcpy(to, from, bytes);
    return;
  }
  for (uint32_t at = 0; at < bytes; at += kBlock) std::memcpy(to + at, from + at, kBlock);
}

// Frees what is behind the first `keep` packets.
void ShrinkTo(Burst& burst, size_t keep) {
  const size_t surplus = burst.size() - keep;
  PacketPool::Put(burst.begin() + keep, surplus);
  burst.DropBack(surplus);
}

}  // namespace

ShmReceiver::ShmReceiver(const ShmLinkSlot& slot, int doorbell, PacketPool& pool)
    : slot_(slot),
      doorbell_(doorbell),
      pool_(pool),
      capacity_((pool.options().buffer_size - pool.options().headroom) & ~size_t{kBlock - 1}) {
  lanes_.reserve(kShmMaxLanes);
}

size_t ShmReceiver::Receive(Burst& burst) {
  if (armed_) Disarm();
  if (slot_.IsNew(seen_)) [[unlikely]]
    return ReceiveLast(burst);
  return Poll(burst);
}

// The link is over, yet what the peer had published by now is still to be had: its memory stays as long as it is
// mapped. Looked at once, lest a peer that lives on keeps this end here.
size_t ShmReceiver::ReceiveLast(Burst& burst) {
  if (!std::exchange(draining_, true)) {
    for (Lane& lane : lanes_) Look(lane);
  }
  const size_t got = Poll(burst);
  const bool waits = std::any_of(lanes_.begin(), lanes_.end(),
                                 [](const Lane& lane) { return !lane.over && lane.waiting() != 0; });
  if (got != 0 || waits) return got;
  Join();
  return Poll(burst);
}

// Each lane may fill what room is left; the first turn goes round.
size_t ShmReceiver::Poll(Burst& burst) {
  const size_t before = burst.size();
  if (++next_ >= lanes_.size()) next_ = 0;
  for (size_t i = 0; i < lanes_.size() && burst.room() != 0; ++i) {
    const size_t at = next_ + i;
    ReceiveLane(lanes_[at < lanes_.size() ? at : at - lanes_.size()], burst);
  }
  return burst.size() - before;
}

void ShmReceiver::ReceiveLane(Lane& lane, Burst& burst) {
  // 1. What there is. The peer's index is looked at only when what is known of does not fill the burst.
  if (lane.over) return;
  if (lane.waiting() < burst.room() && !draining_) Look(lane);
  if (lane.over) return;
  const size_t n = std::min<size_t>(lane.waiting(), burst.room());
  if (n == 0) return;

  // 2. Copy: frames of one piece together, then the odd one that stopped the run.
  const size_t before = burst.size();
  const size_t run = CopyRun(lane, burst, n);
  if (run < n) CopyOdd(lane, burst);
  if (burst.size() == before) return;

  // 3. Tell the peer, then ask whether it had taken its packets back meanwhile. In this order, of which
  //    ShmSender::LetGo is the mirror: if it does not show here, the peer sees these frames as consumed.
  lane.in->consumed.exchange(lane.consumed, std::memory_order_seq_cst);
  if (lane.out->closed.load(std::memory_order_seq_cst) != kShmOpen) [[unlikely]]
    Settle(lane, burst, before);
}

// The peer closes the lane. What was just copied is delivered if it says that it saw it consumed; else it has counted
// it as lost, and may have used the buffers again before they were copied.
void ShmReceiver::Settle(Lane& lane, Burst& burst, size_t before) {
  lane.over = true;
  uint64_t closed = kShmClosing;
  for (int patience = kPatience; closed == kShmClosing && patience > 0; --patience)
    closed = lane.out->closed.load(std::memory_order_seq_cst);
  if (closed == kShmClosedAt + lane.consumed) return;
  if (closed == kShmClosing)
    drops_.Add(DropReason::kLinkDown, burst.size() - before);  // it died over the answer
  ShrinkTo(burst, before);
}

void ShmReceiver::Look(Lane& lane) {
  // Acquire: the descriptors below the index are read after it.
  const uint64_t produced = lane.out->produced.load(std::memory_order_acquire);
  if (produced - lane.consumed > ring_ || produced - lane.consumed < lane.waiting()) {
    return Accuse(lane, ShmViolation::kProduced);
  }
  lane.produced = produced;
}

// Takes up to `n` frames that lie in one piece; stops at the first that does not. Returns how many.
size_t ShmReceiver::CopyRun(Lane& lane, Burst& burst, size_t n) {
  const size_t first = burst.size();
  Packet** const packets = burst.Extend(n);
  const size_t got = pool_.GetRaw(packets, n);
  burst.DropBack(n - got);

  // 1. Read each descriptor once, check it, and send for its first line: the misses overlap.
  struct Frame {
    const uint8_t* data;
    uint64_t place;
  };
  std::array<Frame, Burst::kCapacity> frames;
  size_t good = 0;
  for (; good < got; ++good) {
    const uint64_t index = lane.consumed + good;
    const uint64_t place = lane.PlaceAt(index);
    if (!IsPlain(place)) [[unlikely]]
      break;
    frames[good] = {Find(lane, index, place), place};
    __builtin_prefetch(frames[good].data);
  }

  // 2. Copy.
  const size_t headroom = pool_.options().headroom;
  for (size_t i = 0; i < good; ++i) {
    Packet& packet = *packets[i];
    const auto [data, place] = frames[i];
    packet.Restart(headroom, ShmBytes(place));
    CopyBlocks(packet.data(), data, ShmBytes(place));
    if ((place & kShmTells) != 0 && !DecodeShmMeta(lane.MetaAt(lane.consumed + i), packet)) [[unlikely]] {
      Accuse(lane, ShmViolation::kMeta);
      good = i;
    }
  }
  if (good < got) [[unlikely]]
    ShrinkTo(burst, first + good);
  lane.consumed += good;
  return good;
}

// In one piece, inside what the peer shares, and no longer than a buffer, in whole blocks.
bool ShmReceiver::IsPlain(uint64_t place) const {
  const uint64_t blocks = InBlocks(ShmBytes(place));
  if ((place & (kShmMore | kShmShort)) == kShmShort) return blocks == kShmShortFrame;
  return (place & kShmMore) == 0 && blocks - 1 < capacity_ && ShmOffset(place) + blocks <= packet_bytes_ &&
         ShmBytes(place) <= kShmMaxFrame;
}

bool ShmReceiver::IsWithin(uint64_t place) const {
  if ((place & kShmShort) != 0) return (place & kShmMore) == 0 && ShmBytes(place) <= kShmShortFrame;
  return ShmOffset(place) + ShmBytes(place) <= packet_bytes_;
}

// Of a place that is within.
const uint8_t* ShmReceiver::Find(const Lane& lane, uint64_t index, uint64_t place) const {
  return (place & kShmShort) != 0 ? lane.short_frames + (index & lane.mask) * kShmShortFrame
                                  : packets_ + ShmOffset(place);
}

// The frame at the head of the lane, in whatever shape. None when the pool is dry, or the peer in breach.
void ShmReceiver::CopyOdd(Lane& lane, Burst& burst) {
  if (lane.over) return;
  uint64_t index = lane.consumed;
  uint64_t meta = 0;
  PacketPtr packet = CopyChain(lane, index, meta);
  if (packet == nullptr) return;
  if (!DecodeShmMeta(meta, *packet)) return Accuse(lane, ShmViolation::kMeta);
  lane.consumed = index;
  burst.Push(std::move(packet));
}

// Moves `index` behind the last piece; `meta` becomes that of the first, where it has one.
PacketPtr ShmReceiver::CopyChain(Lane& lane, uint64_t& index, uint64_t& meta) {
  const uint64_t first = index;
  PieceWriter writer(pool_);
  uint64_t total = 0;
  for (bool more = true; more; ++index) {
    if (index == lane.produced) return Accuse(lane, ShmViolation::kUnfinished), nullptr;
    const uint64_t place = lane.PlaceAt(index);
    if (index == first && (place & kShmTells) != 0) meta = lane.MetaAt(index);
    const uint32_t bytes = ShmBytes(place);
    total += bytes;
    if (bytes == 0 || total > kShmMaxFrame || !IsWithin(place))
      return Accuse(lane, ShmViolation::kDescriptor), nullptr;
    if (!writer.Write(Find(lane, index, place), bytes)) return nullptr;
    more = (place & kShmMore) != 0;
  }
  return writer.Finish();
}

// The lane gives nothing more, and the control thread will end the connection.
void ShmReceiver::Accuse(Lane& lane, ShmViolation violation) {
  lane.over = true;
  drops_.Add(DropReason::kDeviceError);
  link_->Accuse(violation);
}

bool ShmReceiver::Arm() {
  if (slot_.IsNew(seen_)) return false;
  armed_ = true;
  if (link_ == nullptr) return true;  // the control thread rings when there is a link
  link_->own().sleep().armed.store(++arms_, std::memory_order_seq_cst);
  for (const Lane& lane : lanes_) {
    if (!lane.over && lane.out->produced.load(std::memory_order_seq_cst) != lane.consumed) return false;
  }
  return true;
}

void ShmReceiver::Disarm() {
  armed_ = false;
  if (link_ != nullptr) link_->own().sleep().armed.store(0, std::memory_order_relaxed);
  ClearDoorbell();
}

// A peer that rings without end only keeps this end awake, hence the bound.
void ShmReceiver::ClearDoorbell() const {
  char ring;
  for (size_t i = 0; i <= kShmMaxLanes && recv(doorbell_, &ring, 1, MSG_DONTWAIT) >= 0; ++i) {
  }
}

void ShmReceiver::Join() {
  link_ = slot_.Take(seen_);
  ClearDoorbell();  // what rang for the link itself has been heard
  lanes_.clear();
  draining_ = false;
  if (link_ == nullptr) return;
  packets_ = link_->peer_packets();
  packet_bytes_ = link_->peer_hello().packet_bytes;
  ring_ = link_->peer_hello().ring;
  for (uint32_t i = 0; i < link_->peer_hello().lanes; ++i) {
    lanes_.push_back({&link_->peer().out(i), link_->peer().places(i), link_->peer().metas(i),
                      link_->peer().short_frames(i), ring_ - 1, &link_->own().in(i)});
  }
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <utility>

#include "nic/wire/piece_writer_internal.h"
#include "nic/wire/shm_sender_internal.h"

namespace sluice {
namespace {

// What the second word of a descriptor has to say; 0 = nothing. By line 0 alone, which is at hand.
uint64_t MetaOf(const Packet& packet) {
  const bool tells = packet.offload.any() || packet.vlan_stripped ||
                     packet.l3_checksum != ChecksumVerdict::kUnknown ||
                     packet.l4_checksum != ChecksumVerdict::kUnknown;
  return tells ? EncodeShmMeta(packet) : 0;
}

// In ShmSender::held_, for a frame whose packet went home when it was sent.
Packet* const kCopied = reinterpret_cast<Packet*>(alignof(Packet));

// So short that it goes with its descriptor; and its buffer does not end before a line that starts with it.
bool IsShort(const Packet& packet) {
  return packet.length() <= kShmShortFrame && packet.length() != 0 && packet.contiguous() &&
         !packet.borrows() && packet.length() + packet.tailroom() >= kShmShortFrame;
}

void FetchForWriting(const void* line) {
#if defined(__x86_64__)
  // A processor without the instruction ignores it; the compiler would ask for reading only, unless told of it.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const uint8_t*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

size_t PiecesOf(const Packet& packet) {
  size_t pieces = 0;
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next())
    pieces += piece->head_length() != 0;
  return pieces;
}

}  // namespace

ShmSender::ShmSender(const ShmLinkSlot& slot, uint32_t lane, uint32_t ring, PacketPool& pool)
    : slot_(slot), lane_(lane), ring_(ring), pool_(pool), base_(pool.region().data()), held_(ring) {}

size_t ShmSender::Transmit(Burst& burst) {
  // 1. Room. The peer's index is looked at when the ring is half full or too full for this burst: each look moves a
  //    cache line between the processors.
  Refresh();
  if (link_ == nullptr) return 0;
  if (used() + std::max(burst.size(), ring_ / 2) > ring_) ReclaimConsumed();
  if (link_ == nullptr) return 0;

  // 2. Describe.
  size_t taken = 0, told = 0;
  Burst copied;
  for (Packet* packet : burst) {
    if (used() == ring_) break;
    const uint64_t meta = MetaOf(*packet);
    if (IsShort(*packet)) {
      PutShort(*packet, meta);
      copied.PushRaw(packet);
    } else if (SendsAsIs(*packet)) {
      Put(packet, PlaceOf(*packet), meta);
    } else if (!PutOdd(packet)) {
      break;
    }
    told += meta != 0;
    ++taken;
  }
  burst.DropFront(taken);

  // 3. One index for all.
  if (taken != 0) Publish();
  FetchAhead(taken, told, copied.size());
  return taken;
}

size_t ShmSender::Reclaim() {
  const size_t freed = Refresh();
  return freed + (link_ == nullptr ? 0 : ReclaimConsumed());
}

bool ShmSender::SendsAsIs(const Packet& packet) const {
  return packet.pool() == &pool_ && packet.contiguous() && !packet.borrows() && packet.length() != 0 &&
         packet.length() <= kShmMaxFrame;
}

uint64_t ShmSender::PlaceOf(const Packet& piece) const {
  return ShmPlace(static_cast<uint64_t>(piece.data() - base_), piece.head_length());
}

// Fills the next slot; `meta` of 0 is none.
void ShmSender::Put(Packet* holder, uint64_t place, uint64_t meta) {
  const size_t slot = produced_++ & (ring_ - 1);
  if (meta != 0) {
    metas_[slot].store(meta, std::memory_order_relaxed);
    place |= kShmTells;
  }
  places_[slot].store(place, std::memory_order_relaxed);
  held_[slot] = holder;
}

void ShmSender::PutShort(const Packet& packet, uint64_t meta) {
  std::memcpy(short_frames_ + (produced_ & (ring_ - 1)) * kShmShortFrame, packet.data(), kShmShortFrame);
  Put(kCopied, ShmPlace(0, packet.length()) | kShmShort, meta);
}

// The lines that the next burst will be written to are with the peer, who read them one round ago. Asked for now they
// come while the caller makes that burst; else its first store would wait for them, and all others for it.
void ShmSender::FetchAhead(size_t frames, size_t told, size_t short_frames) const {
  constexpr size_t kInLine = kCacheLine / sizeof(ShmWord);
  for (size_t i = 0; i < frames; i += kInLine) FetchForWriting(&places_[(produced_ + i) & (ring_ - 1)]);
  for (size_t i = 0; i < told; i += kInLine) FetchForWriting(&metas_[(produced_ + i) & (ring_ - 1)]);
  for (size_t i = 0; i < short_frames; ++i) {
    FetchForWriting(short_frames_ + ((produced_ + i) & (ring_ - 1)) * kShmShortFrame);
  }
}

// A packet in pieces, in memory that the peer does not see, or of a length that cannot be sent. False when it has to
// wait for room or for buffers.
bool ShmSender::PutOdd(Packet* packet) {
  if (packet->length() == 0) return Drop(packet, DropReason::kTooShort), true;
  if (packet->length() > kShmMaxFrame) return Drop(packet, DropReason::kTooLong), true;
  bool as_is = true;
  for (const Packet* piece = packet; piece != nullptr; piece = piece->next())
    as_is &= piece->pool() == &pool_ && !piece->borrows();

  const size_t pieces = as_is ? PiecesOf(*packet) : PieceWriter::PiecesFor(pool_, packet->length());
  if (pieces > ring_) return Drop(packet, DropReason::kTooLong), true;
  if (used() + pieces > ring_) return false;
  if (!as_is) {
    PacketPtr copy = CopyPacket(*packet, pool_);
    if (copy == nullptr) return false;
    PacketPool::Put(&packet, 1);
    packet = copy.release();
  }
  PutPieces(packet, pieces);
  return true;
}

void ShmSender::PutPieces(Packet* packet, size_t pieces) {
  uint64_t meta = MetaOf(*packet);
  size_t left = pieces;
  for (const Packet* piece = packet; piece != nullptr; piece = piece->next()) {
    if (piece->head_length() == 0) continue;
    const bool last = --left == 0;
    Put(last ? packet : nullptr, PlaceOf(*piece) | (last ? 0 : kShmMore), std::exchange(meta, 0));
  }
}

void ShmSender::Drop(Packet* packet, DropReason reason) {
  drops_.Add(reason);
  PacketPool::Put(&packet, 1);
}

// Sequentially consistent on both sides, here and in ShmReceiver::Arm: either this end sees that the peer sleeps, or
// the peer sees what was produced before it does.
void ShmSender::Publish() {
  out_->produced.store(produced_, std::memory_order_seq_cst);
  const uint64_t armed = sleep_->armed.load(std::memory_order_seq_cst);
  if (armed == rung_) [[likely]]
    return;
  rung_ = armed;
  if (armed != 0) link_->Ring();
}

// What the peer's index has passed goes back to the pools. Acquire: the peer has read the frames before it moved on.
size_t ShmSender::ReclaimConsumed() {
  const uint64_t consumed = in_->consumed.load(std::memory_order_acquire);
  if (consumed - reclaimed_ <= used()) [[likely]]
    return FreeThrough(consumed);
  link_->Accuse(ShmViolation::kConsumed);
  drops_.Add(DropReason::kDeviceError);
  return LetGo(DropReason::kLinkDown);
}

// Returns how many frames that was.
size_t ShmSender::FreeThrough(uint64_t index) {
  size_t frames = 0;
  Burst done;
  for (; reclaimed_ != index; ++reclaimed_) {
    Packet* const packet = held_[reclaimed_ & (ring_ - 1)];
    frames += packet != nullptr;
    if (packet == nullptr || packet == kCopied) continue;
    if (done.room() == 0) done.Clear();
    done.PushRaw(packet);
  }
  return frames;
}

size_t ShmSender::LetGo(DropReason reason) {
  if (link_ == nullptr) return 0;
  // What the peer has not consumed by now it will not deliver: see ShmReceiver::ReceiveLane. The last word comes
  // before the packets go, for the peer waits for it.
  out_->closed.store(kShmClosing, std::memory_order_seq_cst);
  uint64_t consumed = in_->consumed.load(std::memory_order_seq_cst);
  if (consumed - reclaimed_ > used()) consumed = reclaimed_;
  out_->closed.store(kShmClosedAt + consumed, std::memory_order_seq_cst);
  const size_t sent = FreeThrough(consumed);
  const size_t lost = FreeThrough(produced_);
  drops_.Add(reason, lost);
  link_.reset();
  return sent + lost;
}

// Picks up what the control thread left in the slot. Returns how many packets came back from the link before.
size_t ShmSender::Refresh() {
  if (!slot_.IsNew(seen_)) [[likely]]
    return 0;
  const size_t back = LetGo(DropReason::kLinkDown);
  link_ = slot_.Take(seen_);
  if (link_ != nullptr) Join();
  return back;
}

void ShmSender::Join() {
  out_ = &link_->own().out(lane_);
  places_ = link_->own().places(lane_);
  metas_ = link_->own().metas(lane_);
  short_frames_ = link_->own().short_frames(lane_);
  in_ = &link_->peer().in(lane_);
  sleep_ = &link_->peer().sleep();
  produced_ = reclaimed_ = rung_ = 0;
}

}  // namespace sluice

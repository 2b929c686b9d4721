// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "nic/offload/first_lines_internal.h"
#include "nic/softverbs/send_queue_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

// Appends bytes to a frame, with further packets when one is full.
class Gatherer {
 public:
  Gatherer(PacketPool& pool, PacketPtr& packet) : pool_(pool), packet_(packet) {}

  // False when the pool is dry.
  bool Write(const uint8_t* bytes, size_t n) {
    while (n > 0) {
      if ((last_ == nullptr || last_->tailroom() == 0) && !AddPiece()) return false;
      const size_t part = std::min(n, last_->tailroom());
      std::memcpy(last_->data() + last_->head_length(), bytes, part);
      last_->SetLength(last_->head_length() + static_cast<uint32_t>(part));
      bytes += part;
      n -= part;
      if (last_ != packet_.get()) behind_ += static_cast<uint32_t>(part);
    }
    return true;
  }
  void Finish() {
    if (behind_ > 0) packet_->CountLinked(behind_);
  }

 private:
  bool AddPiece() {
    PacketPtr fresh = pool_.GetOne();
    if (fresh == nullptr) return false;
    Packet* const piece = fresh.get();
    if (last_ == nullptr) {
      packet_ = std::move(fresh);
    } else {
      last_->Link(std::move(fresh));
    }
    last_ = piece;
    return true;
  }

  PacketPool& pool_;
  PacketPtr& packet_;
  Packet* last_ = nullptr;
  uint32_t behind_ = 0;  // bytes in pieces but the first
};

// Of the outer headers, as cards do; a frame that has none goes as it is.
void FillChecksums(Packet& packet) {
  if (Parse(packet) != ParseVerdict::kOk) return;
  (void)FillIpv4Checksum(packet, LayerSet::kOuter);
  (void)FillL4Checksum(packet, LayerSet::kOuter);
}

}  // namespace

bool SoftSendQueue::Stage(PacketPool& pool, uint64_t most) {
  StagePlain(pool, most);
  while (staged_.size() < most && ring_.waiting() > staged_.size()) {
    const uint64_t place = ring_.next() + staged_.size();
    if (!MakeRoomFor(ring_.At(place))) return true;
    PacketPtr packet;
    const SoftStatus status = Gather(place, pool, packet);
    if (status != SoftStatus::kOk) {
      if (!staged_.empty()) return true;  // those before it first
      Fail(status);
      return false;
    }
    if (packet == nullptr) return true;
    if (ring_.At(place).signaled) completions_.Promise();
    staged_.Push(std::move(packet));
  }
  return true;
}

// Frames in one piece that fit a buffer, as nearly all do, with buffers for all at once. The first that is anything else,
// or at fault, is left to the slow way, and with it what comes behind.
void SoftSendQueue::StagePlain(PacketPool& pool, size_t most) {
  const uint32_t headroom = pool.options().headroom;
  const uint32_t room = pool.options().buffer_size - headroom;
  uint64_t place = ring_.next() + staged_.size();
  const size_t wanted = std::min<size_t>(most - staged_.size(), ring_.end() - place);
  Packet** const packets = staged_.Extend(wanted);
  const size_t got = pool.GetRaw(packets, wanted);
  size_t made = 0;
  for (; made < got; ++made, ++place) {
    const SoftWork& work = ring_.At(place);
    const uint8_t* const bytes = PlainBytes(work, room);
    if (bytes == nullptr || !MakeRoomFor(work)) break;
    if (work.signaled) completions_.Promise();
    packets[made]->Restart(headroom, work.only.length);
    std::memcpy(packets[made]->data(), bytes, work.only.length);
    if (work.checksums) FillChecksums(*packets[made]);
  }
  pool.PutRaw(packets + made, got - made);
  staged_.DropBack(wanted - made);
}

// Null for what is not plain.
const uint8_t* SoftSendQueue::PlainBytes(const SoftWork& work, uint32_t room) const {
  const uint32_t length = work.only.length;
  if (work.pieces != 1 || work.bytes > 0 || work.segment_size > 0) return nullptr;
  if (length < FirstLines::kShortest || length > options_.max_frame || length > room) return nullptr;
  return memory_.Reach(options_.domain, work.only, false);
}

void SoftSendQueue::Fail(SoftStatus status) {
  SoftCompletion completion = CompletionOf(ring_.next());
  completion.status = status;
  ring_.Advance();
  completions_.Promise();
  completions_.Push(completion);
}

// Null for want of buffers.
SoftStatus SoftSendQueue::Gather(uint64_t place, PacketPool& pool, PacketPtr& packet) {
  const SoftWork& work = ring_.At(place);
  uint64_t length = work.bytes;
  for (const SoftPiece& piece : ring_.Pieces(place)) length += piece.length;
  const uint32_t most = work.segment_size > 0 ? options_.max_segmented : options_.max_frame;
  if (length < FirstLines::kShortest || length > most) return SoftStatus::kTooLong;
  const SoftStatus filled = Fill(place, pool, packet);
  if (filled != SoftStatus::kOk || packet == nullptr) return filled;
  if (work.segment_size > 0) {
    packet->offload.segment = true;
    packet->offload.mss = work.segment_size;
  } else if (work.checksums) {
    FillChecksums(*packet);
  }
  return filled;
}

SoftStatus SoftSendQueue::Fill(uint64_t place, PacketPool& pool, PacketPtr& packet) {
  Gatherer to(pool, packet);
  bool room = to.Write(ring_.Bytes(place).data(), ring_.Bytes(place).size());
  for (const SoftPiece& piece : ring_.Pieces(place)) {
    const uint8_t* const from = memory_.Reach(options_.domain, piece, false);
    if (from == nullptr) return SoftStatus::kNoAccess;
    room = room && to.Write(from, piece.length);
  }
  to.Finish();
  if (!room) packet.reset();
  return SoftStatus::kOk;
}

SoftCompletion SoftSendQueue::CompletionOf(uint64_t place) {
  const SoftWork& work = ring_.At(place);
  return {.id = work.id,
          .ring = &ring_,
          .place = place,
          .queue = options_.number,
          .opcode = work.segment_size > 0 ? SoftOpcode::kSegment : SoftOpcode::kSend};
}

void SoftSendQueue::Complete(size_t taken, Nanoseconds now) {
  for (; taken > 0; --taken, ring_.Advance()) {
    if (!ring_.At(ring_.next()).signaled) continue;
    SoftCompletion completion = CompletionOf(ring_.next());
    completion.at = now;
    completions_.Push(completion);
  }
}

void SoftSendQueue::Unstage() {
  for (size_t i = 0; i < staged_.size(); ++i) {
    if (ring_.At(ring_.next() + i).signaled) completions_.BreakPromise();
  }
  staged_.Clear();
}

bool SoftSendQueue::Flush() {
  Unstage();
  while (ring_.waiting() > 0) {
    if (!completions_.MakeRoom()) return false;
    Fail(SoftStatus::kFlushed);
  }
  return true;
}

void SoftSendQueue::Reset() {
  Unstage();
  completions_.Forget(ring_);
  ring_.Reset();
}

}  // namespace sluice

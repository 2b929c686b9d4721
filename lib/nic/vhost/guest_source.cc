// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <optional>

#include "nic/offload/first_lines_internal.h"
#include "nic/vhost/guest_source_internal.h"
#include "nic/vhost/guest_words_internal.h"
#include "nic/wire/virtio_net_header_internal.h"

namespace sluice {
namespace {

// Copied of a frame whose payload is borrowed: more than the headers that Parse follows.
constexpr uint32_t kHeadBytes = 256;
constexpr uint32_t kFirstLines = 2 * kLine;  // header and the shortest frame

// What counts of a header of any length, read once.
class RawHeader {
 public:
  explicit RawHeader(const uint8_t* at)
      : first_(ReadOnce<uint64_t>(at)), last_(ReadOnce<uint16_t>(at + sizeof(first_))) {}

  // Whether it is more than a header of zeros in what is looked at: flags that we know, or a kind of segmenting.
  bool asks() const { return (first_ & kAsking) != 0; }
  VirtioNetHeader Unpack() const {
    std::array<uint8_t, sizeof(VirtioNetHeader)> header;
    std::memcpy(header.data(), &first_, sizeof(first_));
    std::memcpy(header.data() + sizeof(first_), &last_, sizeof(last_));
    return std::bit_cast<VirtioNetHeader>(header);
  }

 private:
  static_assert(sizeof(VirtioNetHeader) == sizeof(uint64_t) + sizeof(uint16_t));
  static_assert(offsetof(VirtioNetHeader, flags) == 0 && offsetof(VirtioNetHeader, gso_type) == 1 &&
                VirtioNetHeader::kWhole == 0);
  static constexpr uint64_t kAsking = VirtioNetHeader::kNeedsChecksum | VirtioNetHeader::kDataValid | 0xff00;

  uint64_t first_;
  uint16_t last_;
};

}  // namespace

void GuestSource::Start(const RingShape& shape, const RingPlace& place, const RingPosition& position) {
  Stop();
  shape_ = shape;
  loans_ = GuestLoans::Make(shape.size, options_.wake);
  loans_->Keep(place.memory);
  held_.assign(shape.size, {});
  held_first_ = held_count_ = 0;
  headroom_ = options_.pool->options().headroom;
  room_ = options_.pool->options().buffer_size - headroom_;
  head_bytes_ = std::min(kHeadBytes, room_);
  copy_limit_ = std::clamp(options_.copy_up_to, head_bytes_, room_);
  shape.packed ? packed_.Start(shape, place, position) : split_.Start(shape, place, position);
  fault_.store(shape.packed ? packed_.fault() : split_.fault(), std::memory_order_relaxed);
  armed_ = call_ = false;
  running_ = true;
}

void GuestSource::Replace(const RingPlace& place) {
  if (!running_) return;
  loans_->Keep(place.memory);
  Disarm();
  shape_.packed ? packed_.Replace(place) : split_.Replace(place);
}

RingPosition GuestSource::Stop() {
  if (!running_) return position();
  Disarm();
  if (fault() == RingFault::kNone) shape_.packed ? GiveAllBack(packed_) : GiveAllBack(split_);
  loans_->Leave();
  loans_ = nullptr;
  held_count_ = 0;
  running_ = false;
  shape_.packed ? packed_.LetGo() : split_.LetGo();
  return position();
}

RingPosition GuestSource::position() const { return shape_.packed ? packed_.position() : split_.position(); }

RingTraffic GuestSource::Receive(Burst& burst) {
  if (!running_ || fault() != RingFault::kNone) return {};
  Disarm();
  return shape_.packed ? ReceiveFrom(packed_, burst) : ReceiveFrom(split_, burst);
}

template <typename Ring>
RingTraffic GuestSource::ReceiveFrom(Ring& ring, Burst& burst) {
  if (held_count_ != 0) GiveBackHome(ring);
  const RingTraffic got = TakeAll(ring, burst);
  call_ |= ring.Publish();
  return got;
}

template <typename Ring>
RingTraffic GuestSource::TakeAll(Ring& ring, Burst& burst) {
  // 1. Read the chains, and send for their first bytes.
  batch_.Clear();
  ring.Fetch(batch_, burst.room(), /*writable=*/false);
  if (batch_.size() == 0) {
    if (ring.fault() != RingFault::kNone) fault_.store(ring.fault(), std::memory_order_relaxed);
    return {};
  }

  // 2. Make packets of them. Those for which the pool has none wait in the ring.
  Packet** const packets = burst.Extend(batch_.size());
  const size_t n = GetPackets(packets, batch_.size());
  size_t good = 0;
  uint64_t bytes = 0, copied = 0;
  GetNames(SendForFirstLines(n));
  for (size_t i = 0; i < n; ++i) {
    Packet* const packet = packets[i];
    if (!Fill(*packet, i)) [[unlikely]] {
      PacketPtr dropped(packet);
      continue;
    }
    packets[good++] = packet;
    bytes += packet->length();
    copied += packet->head_length();
  }
  burst.DropBack(batch_.size() - good);

  // 3. Give the chains back, or hold them until what is lent of them, or of one before them, is home.
  ring.Take(&batch_[0], n);
  if (held_count_ == 0 && !lending_) [[likely]] {
    ring.GiveBackUnwritten(&batch_[0], n);
  } else {
    Hold(n);
    GiveBackHome(ring);
  }
  return {.packets = good, .bytes = bytes, .lent = bytes - copied};
}

// Of all frames at once; those behind them the processor sends for by itself. Returns how many of the frames are to be
// lent in one piece.
inline size_t GuestSource::SendForFirstLines(size_t n) const {
  const uint32_t unread = shape_.asks ? 0 : shape_.header_bytes;
  size_t lent = 0;
  for (size_t i = 0; i < n; ++i) {
    const RingPiece& piece = batch_.first_piece(batch_[i]);
    if (piece.bytes > unread) SendForReading(piece.at + unread, std::min(piece.bytes - unread, kFirstLines));
    lent += LendsOnePiece(batch_[i]);
  }
  return lent;
}

// Where a frame begins that lies in one place, behind its header; null where it does not.
inline uint8_t* GuestSource::FrameOf(const RingChain& chain) const {
  const RingPiece* const first = &batch_.first_piece(chain);
  if (chain.pieces == 1) [[likely]]
    return first->at + shape_.header_bytes;
  return chain.pieces == 2 && first->bytes == shape_.header_bytes ? first[1].at : nullptr;
}

inline bool GuestSource::LendsOnePiece(const RingChain& chain) const {
  const uint32_t bytes =
      chain.bytes - shape_.header_bytes;  // more than any frame where the header is not whole
  return bytes > copy_limit_ && bytes <= kLongestFrame && bytes >= FirstLines::kShortest &&
         FrameOf(chain) != nullptr;
}

// The frame of a chain, in a packet that GetPackets gave. False when it is dropped, and counted.
inline bool GuestSource::Fill(Packet& packet, size_t i) {
  const RingChain& chain = batch_[i];
  const uint32_t bytes = chain.bytes - shape_.header_bytes;
  uint8_t* const frame = FrameOf(chain);
  if (frame == nullptr || bytes < FirstLines::kShortest || bytes > kLongestFrame) [[unlikely]]
    return FillOdd(packet, i);
  const uint32_t copied = CopiedOf(bytes);
  if (copied > room_) [[unlikely]]
    return Drop(DropReason::kNoBuffer);
  packet.Restart(headroom_, copied);
  packet.Arrive(options_.arrival);
  CopyBytes(packet.data(), frame, copied);
  if (copied < bytes) LendRest(packet, {frame + copied, bytes - copied}, SlotOf(i));
  if (!shape_.asks) return true;
  const RawHeader header(batch_.first_piece(chain).at);
  return !header.asks() || TakeInHeader(header.Unpack(), packet);
}

// Of a frame in one place: all, where it is short, or where the pool has no packet to name what is lent.
inline uint32_t GuestSource::CopiedOf(uint32_t bytes) const {
  return bytes <= copy_limit_ || names_taken_ == names_got_ ? bytes : head_bytes_;
}

// Of a frame in one place, what lies behind its head.
inline void GuestSource::LendRest(Packet& packet, absl::Span<uint8_t> rest, size_t slot) {
  loans_->Lend(slot, 1);
  lending_ = true;
  LinkLent(packet, names_[names_taken_++], rest, slot);
  packet.CountLinked(static_cast<uint32_t>(rest.size()));
}

// Hangs a part of what is lent behind a piece.
inline void GuestSource::LinkLent(Packet& behind, Packet* name, absl::Span<uint8_t> part, size_t slot) {
  name->Restart(0, 0);
  name->BorrowBytes(part.data(), static_cast<uint32_t>(part.size()), *loans_, slot);
  behind.Link(PacketPtr(name));
}

// Frames in several pieces.
bool GuestSource::FillOdd(Packet& packet, size_t i) {
  const RingChain& chain = batch_[i];
  packet.Restart(headroom_, 0);
  packet.Arrive(options_.arrival);
  if (chain.bytes < shape_.header_bytes + FirstLines::kShortest) return Drop(DropReason::kTooShort);
  const uint32_t bytes = chain.bytes - shape_.header_bytes;
  if (bytes > kLongestFrame) return Drop(DropReason::kTooLong);

  PieceCursor cursor(batch_.pieces(chain));
  std::array<uint8_t, kLongestHeader> header;
  cursor.Read(header.data(), shape_.header_bytes);
  const uint32_t copied = bytes <= copy_limit_ ? bytes : head_bytes_;
  packet.SetLength(copied);
  cursor.Read(packet.data(), copied);
  if (copied < bytes && !Borrow(packet, cursor, bytes - copied, SlotOf(i)))
    return Drop(DropReason::kNoBuffer);
  const RawHeader asked(header.data());
  if (shape_.asks && asked.asks() && !TakeInHeader(asked.Unpack(), packet)) return false;
  return true;
}

bool GuestSource::TakeInHeader(const VirtioNetHeader& header, Packet& packet) {
  const std::optional<DropReason> refused = TakeIn(header, packet);
  return !refused || Drop(*refused);
}

bool GuestSource::Drop(DropReason reason) {
  options_.drops->Add(reason);
  return false;
}

// Hangs what the cursor still has to give behind the packet, each part lent where it lies. False, and nothing done, when the
// pool has not so many packets to name them.
bool GuestSource::Borrow(Packet& packet, PieceCursor cursor, uint32_t bytes, size_t slot) {
  std::array<absl::Span<uint8_t>, ChainBatch::kPieces> parts;
  size_t n = 0;
  for (size_t left = bytes; left != 0; left -= parts[n++].size()) parts[n] = cursor.Next(left);
  std::array<Packet*, ChainBatch::kPieces> names;
  const size_t got = GetPackets(names.data(), n);
  if (got < n) {
    for (size_t i = 0; i < got; ++i) names[i]->Restart(headroom_, 0);
    PacketPool::Put(names.data(), got);
    return false;
  }
  loans_->Announce(1);
  loans_->Lend(slot, static_cast<uint32_t>(n));
  lending_ = true;
  Packet* last = &packet;
  for (size_t i = 0; i < n; ++i) {
    LinkLent(*last, names[i], parts[i], slot);
    last = names[i];
  }
  packet.CountLinked(bytes);
  return true;
}

// For so many frames that will be lent in one piece, or as many as the pool has.
inline void GuestSource::GetNames(size_t frames) {
  names_taken_ = 0;
  names_got_ = frames == 0 ? 0 : GetPackets(names_.data(), frames);
  if (names_got_ != 0) loans_->Announce(names_got_);
}

// To be made fresh by Restart.
size_t GuestSource::GetPackets(Packet** to, size_t n) {
  size_t got = 0;
  while (got < n) {
    const size_t step = std::min(n - got, Burst::kCapacity);
    const size_t here =
        options_.owner == kNobody ? options_.pool->GetRaw(to + got, step) : GetCharged(to + got, step);
    got += here;
    if (here < step) break;
  }
  return got;
}

size_t GuestSource::GetCharged(Packet** to, size_t n) {
  Burst fresh;
  const size_t got = options_.pool->Get(fresh, n, options_.owner);
  std::copy_n(fresh.begin(), got, to);
  fresh.DropFront(got);
  return got;
}

void GuestSource::Hold(size_t n) {
  for (size_t i = 0; i < n; ++i) held_[SlotOf(i)] = batch_[i];
  held_count_ += n;
  lending_ = false;
}

// In order: what is home behind one that is not waits for it.
template <typename Ring>
size_t GuestSource::GiveBackHome(Ring& ring) {
  size_t given = 0;
  while (held_count_ != 0 && loans_->home(held_first_)) {
    size_t run = 1;
    while (run < held_count_ && held_first_ + run < shape_.size && loans_->home(held_first_ + run)) ++run;
    GiveBackHeld(ring, run);
    given += run;
  }
  return given;
}

template <typename Ring>
void GuestSource::GiveBackHeld(Ring& ring, size_t run) {
  ring.GiveBackUnwritten(&held_[held_first_], run);
  held_first_ = held_first_ + run == shape_.size ? 0 : held_first_ + run;
  held_count_ -= run;
}

template <typename Ring>
void GuestSource::GiveAllBack(Ring& ring) {
  while (held_count_ != 0) GiveBackHeld(ring, std::min(held_count_, shape_.size - held_first_));
  ring.GiveUpInFlight();
  call_ |= ring.Publish();
}

size_t GuestSource::Reclaim() {
  if (held_count_ == 0 || fault() != RingFault::kNone) return 0;
  const size_t given = shape_.packed ? GiveBackHome(packed_) : GiveBackHome(split_);
  call_ |= shape_.packed ? packed_.Publish() : split_.Publish();
  return given;
}

bool GuestSource::Arm() {
  if (!running_ || fault() != RingFault::kNone) return true;
  armed_ = true;
  loans_->Sleep(true);
  shape_.packed ? packed_.AskForKicks(true) : split_.AskForKicks(true);
  // Behind both fences: what came before them is seen here, what comes behind them wakes.
  const bool loans = held_count_ != 0 && (!loans_->wakes() || loans_->home(held_first_));
  const bool idle = !loans && !(shape_.packed ? packed_.waiting() : split_.waiting());
  if (!idle) Disarm();
  return idle;
}

void GuestSource::Disarm() {
  if (!armed_) return;
  armed_ = false;
  loans_->Sleep(false);
  shape_.packed ? packed_.AskForKicks(false) : split_.AskForKicks(false);
}

}  // namespace sluice

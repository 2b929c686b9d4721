// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstring>

#include "nic/vhost/guest_sink_internal.h"
#include "nic/vhost/guest_words_internal.h"
#include "nic/vhost/piece_cursor_internal.h"
#include "nic/wire/virtio_net_header_internal.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {
namespace {

// The header in all its lengths (5.1.6.1): what is shared with tuntap, then how many chains the frame takes, then its hash.
struct LongHeader {
  VirtioNetHeader net;
  uint16_t chains = 1;
  uint32_t hash = 0;
  uint16_t hash_type = 0;
  uint16_t padding = 0;

  void TellHash(const Packet& packet);
};
static_assert(sizeof(LongHeader) == 20);

constexpr uint32_t kFirstLines = 2 * kLine;

// 5.1.6.4.4.
uint16_t HashType(RssType type) {
  switch (type) {
    case RssType::kIpv4:
      return 1;
    case RssType::kIpv4Tcp:
      return 2;
    case RssType::kIpv4Udp:
      return 3;
    case RssType::kIpv6:
      return 4;
    case RssType::kIpv6Tcp:
      return 5;
    case RssType::kIpv6Udp:
      return 6;
    default:
      return 0;
  }
}

void LongHeader::TellHash(const Packet& packet) {
  hash = packet.rss_type == RssType::kNone ? 0 : packet.rss_hash;
  hash_type = HashType(packet.rss_type);
}

}  // namespace

struct GuestSink::AtOnce {
  static constexpr bool kByProcessor = true;
  void Copy(uint8_t* to, const uint8_t* from, size_t bytes) { CopyBytes(to, from, bytes); }
  void Wrote(Packet&, size_t, size_t) {}
  template <typename Ring>
  void GiveBack(Ring& ring, const RingChain* chains, size_t n) {
    ring.GiveBack(chains, n);
  }
  template <typename Ring>
  void EndBurst(Ring&) {}
  void Free(Packet* const* packets, size_t n) { PacketPool::Put(packets, n); }
};

void GuestSink::Start(const RingShape& shape, const RingPlace& place, const RingPosition& position) {
  shape_ = shape;
  shape.packed ? packed_.Start(shape, place, position) : split_.Start(shape, place, position);
  log_ = place.log.get();
  memory_ = place.memory.get();
  if (held_ != nullptr) held_->Start(shape, log_ != nullptr);
  fault_.store(shape.packed ? packed_.fault() : split_.fault(), std::memory_order_relaxed);
  call_ = false;
  running_ = true;
}

void GuestSink::Replace(const RingPlace& place) {
  if (!running_) return;
  shape_.packed ? packed_.Replace(place) : split_.Replace(place);
  log_ = place.log.get();
  memory_ = place.memory.get();
  if (held_ != nullptr) held_->SetLog(log_ != nullptr);
}

RingPosition GuestSink::Stop() {
  if (running_ && fault() == RingFault::kNone) shape_.packed ? GiveUp(packed_) : GiveUp(split_);
  running_ = false;
  log_ = nullptr;
  memory_ = nullptr;
  shape_.packed ? packed_.LetGo() : split_.LetGo();
  return position();
}

template <typename Ring>
void GuestSink::GiveUp(Ring& ring) {
  ring.GiveUpInFlight();
  call_ |= ring.Publish();
}

RingPosition GuestSink::position() const { return shape_.packed ? packed_.position() : split_.position(); }

RingTraffic GuestSink::Send(Burst& burst, DropCounters& drops) {
  if (!running_ || fault() != RingFault::kNone || burst.empty()) return {};
  Done done{drops};
  if (held_ != nullptr) [[unlikely]] {
    SendBy(*held_, burst, done);
  } else {
    AtOnce at_once;
    SendBy(at_once, burst, done);
  }
  burst.DropFront(done.taken);
  return done.sent;
}

template <typename Way>
void GuestSink::SendBy(Way& way, Burst& burst, Done& done) {
  shape_.packed ? SendTo(way, packed_, burst, done) : SendTo(way, split_, burst, done);
  way.Free(burst.begin(), done.taken);
}

template <typename Way, typename Ring>
void GuestSink::SendTo(Way& way, Ring& ring, Burst& burst, Done& done) {
  size_t wanted = burst.size();
  while (done.taken < burst.size()) {
    // 1. Read as many chains as there are packets, or all that can be, once one takes several.
    batch_.Clear();
    ring.Fetch(batch_, wanted, /*writable=*/true);
    if (ring.fault() != RingFault::kNone) [[unlikely]]
      fault_.store(ring.fault(), std::memory_order_relaxed);
    if (batch_.size() == 0) break;

    // 2. Fill them, and give back those that were.
    const size_t before = done.taken;
    const size_t chains = WriteAll(way, burst, done);
    if (log_ != nullptr) [[unlikely]]
      LogWritten(chains);
    ring.Take(&batch_[0], chains);
    way.GiveBack(ring, &batch_[0], chains);

    // 3. One that all of them together have no room for: is that all that the guest has?
    if (done.taken != before) continue;
    if (batch_.full()) {
      done.drops.Add(DropReason::kTooLong);
      ++done.taken;
    } else if (batch_.size() < wanted) {
      break;
    }
    wanted = ChainBatch::kChains;
  }
  way.EndBurst(ring);
  call_ |= ring.Publish();
}

// As many packets as there is room for. Returns how many chains they took.
template <typename Way>
size_t GuestSink::WriteAll(Way& way, Burst& burst, Done& done) {
  SendForFirstLines();
  const size_t packets = burst.size(), chains = batch_.size();
  size_t used = 0;
  while (done.taken < packets && used < chains) {
    used += WritePlain(way, burst, done, used);
    if (done.taken == packets || used == chains) break;
    Packet& packet = burst[done.taken];
    const Outcome outcome = WriteOdd(way, packet, used);
    if (outcome.waits) break;
    if (outcome.dropped) {
      done.drops.Add(*outcome.dropped);
      ++done.taken;
      continue;
    }
    used += outcome.chains;
    way.Wrote(packet, done.taken, outcome.chains);
    done.Add(1, packet.length());
  }
  return used;
}

// Of all chains. A header with a line to itself may be there already: see WriteHeader.
inline void GuestSink::SendForFirstLines() const {
  for (size_t i = 0; i < batch_.size(); ++i) {
    const uint8_t* const at = batch_.first_piece(batch_[i]).at;
    if (StartsLine(at + kUsualHeader)) {
      SendForReading(at, kUsualHeader);
      SendForWriting(at + kUsualHeader, kLine);
    } else {
      SendForWriting(at, kFirstLines);
    }
  }
}

// The lines behind the first that a packet goes to, while the one before it is written: to get one from the guest's processor
// takes longer than to write it. One of two, for processors fetch the neighbour, too. Behind a short packet there are mostly
// none.
inline void GuestSink::SendForRest(const Packet& packet, const RingChain& chain) const {
  const RingPiece& piece = batch_.first_piece(chain);
  const uint32_t bytes = std::min(shape_.header_bytes + packet.length(), piece.bytes);
  for (uint32_t at = kFirstLines; at < bytes; at += 2 * kLine) SendForWriting(piece.at + at, kLine);
}

// Of a frame in one chain. Drivers that use the same buffers again and let frames begin with a line, as DPDK's do, have the
// header there mostly: not written once more, its line is not taken away from the driver's processor.
inline void GuestSink::WriteHeader(uint8_t* at, uint64_t flags) {
  constexpr uint32_t kOneChain = 1u << 16;
  uint8_t* const behind = at + sizeof(flags);
  if (StartsLine(at + kUsualHeader) && ReadOnce<uint64_t>(at) == flags &&
      ReadOnce<uint32_t>(behind) == kOneChain)
    return;
  std::memcpy(at, &flags, sizeof(flags));
  std::memcpy(behind, &kOneChain, sizeof(kOneChain));
}

// Packets that ask for nothing, each into a chain of one piece that it fits, from the chain at `first` on: up to
// the first that is not so. Returns how many.
template <typename Way>
inline size_t GuestSink::WritePlain(Way& way, const Burst& burst, Done& done, size_t first) {
  const uint32_t header_bytes = shape_.header_bytes;
  const uint64_t verdict = shape_.takes_verdicts ? VirtioNetHeader::kDataValid : 0;
  Packet* const* const packets = burst.begin() + done.taken;
  RingChain* const chains = &batch_[first];
  const size_t most = std::min(burst.size() - done.taken, batch_.size() - first);
  size_t n = 0;
  uint64_t sum = 0;
  for (; n < most; ++n) {
    Packet& packet = *packets[n];
    RingChain& chain = chains[n];
    const uint32_t bytes = packet.length();
    if (packet.offload.any() || chain.pieces != 1 || header_bytes + bytes > chain.bytes) [[unlikely]]
      break;
    if (Way::kByProcessor && bytes > kLine && n + 1 < most) SendForRest(*packets[n + 1], chains[n + 1]);

    uint8_t* const at = batch_.first_piece(chain).at;
    const uint64_t flags = packet.l4_checksum == ChecksumVerdict::kGood ? verdict : 0;
    if (header_bytes == kUsualHeader) [[likely]] {
      WriteHeader(at, flags);
    } else {
      LongHeader header;
      header.net.flags = static_cast<uint8_t>(flags);
      header.TellHash(packet);
      std::memcpy(at, &header, header_bytes);
    }
    uint8_t* to = at + header_bytes;
    const Packet* piece = &packet;
    do {
      way.Copy(to, piece->data(), piece->head_length());
      to += piece->head_length();
      piece = piece->next();
    } while (piece != nullptr);
    chain.written = header_bytes + bytes;
    sum += bytes;
    way.Wrote(packet, done.taken + n, 1);
  }
  done.Add(n, sum);
  return n;
}

// Any packet into any chains, from the one at `first` on. Apart, so that it costs WriteAll no registers.
template <typename Way>
[[gnu::noinline]] GuestSink::Outcome GuestSink::WriteOdd(Way& way, Packet& packet, size_t first) {
  const uint32_t bytes = shape_.header_bytes + packet.length();
  const size_t chains = ChainsFor(bytes, first);
  if (chains == 0 && shape_.mergeable) return {.waits = true};
  if (chains == 0) return {.dropped = DropReason::kTooLong};

  LongHeader header;
  if (packet.offload.any()) {
    if (const auto refused = Express(packet, header.net)) return {.dropped = refused};
  } else if (HasVerdict(packet)) {
    header.net.flags = VirtioNetHeader::kDataValid;
  }
  header.chains = static_cast<uint16_t>(chains);
  header.TellHash(packet);

  PieceCursor cursor(batch_.PiecesFrom(first));
  AtOnce at_once;
  cursor.Write(at_once, reinterpret_cast<const uint8_t*>(&header), shape_.header_bytes);
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next())
    cursor.Write(way, piece->data(), piece->head_length());
  uint32_t left = bytes;
  for (size_t i = first; i < first + chains; ++i) {
    batch_[i].written = std::min(left, batch_[i].bytes);
    left -= batch_[i].written;
  }
  return {.chains = chains};
}

// How many of the chains from `first` on have room for `bytes`; 0 where all of them have not.
size_t GuestSink::ChainsFor(uint32_t bytes, size_t first) const {
  const size_t end = shape_.mergeable ? batch_.size() : first + 1;
  uint64_t room = 0;
  for (size_t i = first; i < end; ++i) {
    room += batch_[i].bytes;
    if (room >= bytes) return i - first + 1;
  }
  return 0;
}

size_t GuestSink::ReclaimHeld() {
  held_->copies().Look();
  return TellOfHeld();
}

void GuestSink::Finish() {
  if (held_ == nullptr || held_->empty()) return;
  held_->copies().Finish();
  (void)TellOfHeld();
}

size_t GuestSink::TellOfHeld() {
  const size_t freed = shape_.packed ? held_->GiveBackDone(packed_) : held_->GiveBackDone(split_);
  call_ |= shape_.packed ? packed_.Publish() : split_.Publish();
  return freed;
}

bool GuestSink::HasVerdict(const Packet& packet) const {
  return packet.l4_checksum == ChecksumVerdict::kGood && shape_.takes_verdicts;
}

void GuestSink::LogWritten(size_t chains) const {
  for (size_t i = 0; i < chains; ++i) {
    uint32_t left = batch_[i].written;
    for (const RingPiece& piece : batch_.pieces(batch_[i])) {
      const uint32_t here = std::min(left, piece.bytes);
      log_->Mark(GuestAddressOf(*memory_, piece.at), here);
      left -= here;
    }
  }
}

}  // namespace sluice

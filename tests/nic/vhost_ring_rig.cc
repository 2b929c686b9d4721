// SPDX-License-Identifier: Apache-2.0
#include "tests/nic/vhost_ring_rig.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::testing {
namespace {

constexpr size_t kRingBytes = size_t{1} << 20;
constexpr size_t kPage = 4096;

GuestSourceOptions Complete(GuestSourceOptions options, PacketPool& pool, DropCounters& drops) {
  options.pool = &pool;
  options.drops = &drops;
  return options;
}

std::unique_ptr<HeldFrames> MakeHeldFrames(const DeferredCopyOptions& options) {
  if (options.engine == nullptr) return nullptr;
  return std::make_unique<HeldFrames>(options.engine(QueueId{0}).value(), options);
}

}  // namespace

std::vector<DriverRingOptions> RingKinds(uint16_t size) {
  std::vector<DriverRingOptions> kinds;
  for (const bool packed : {false, true}) {
    kinds.push_back({.packed = packed, .size = size});
    kinds.push_back({.packed = packed, .event_index = true, .size = size});
    kinds.push_back({.packed = packed, .indirect = true, .size = size});
    kinds.push_back(
        {.packed = packed, .indirect = true, .event_index = true, .in_order = true, .size = size});
  }
  return kinds;
}

std::string TextOf(const DriverRingOptions& kind) {
  return absl::StrCat(kind.packed ? "packed" : "split", kind.indirect ? " indirect" : "",
                      kind.event_index ? " event-index" : "", kind.in_order ? " in-order" : "", " of ",
                      kind.size);
}

RingRig::Area RingRig::MakeArea(size_t bytes) {
  auto* const here = static_cast<uint8_t*>(std::aligned_alloc(kPage, bytes));
  std::memset(here, 0xa5, bytes);
  return Area(here);
}

RingRig::RingRig(const RigOptions& options)
    : options_(options),
      pool_(*PacketPool::Create({.packets = options.packets, .huge_pages = HugePages::kOff})),
      ring_area_(MakeArea(kRingBytes)),
      low_(MakeArea(kBufferBytes)),
      high_(MakeArea(kBufferBytes)),
      memory_(std::make_shared<GuestMemory>(std::vector<GuestRegion>{
          {.guest = kHigh, .user = 3 * kHigh, .bytes = kBufferBytes, .here = high_.get()},
          {.guest = kRing, .user = 3 * kRing, .bytes = kRingBytes, .here = ring_area_.get()},
          {.guest = kLow, .user = 3 * kLow, .bytes = kBufferBytes, .here = low_.get()}})),
      log_bits_((kHigh + kBufferBytes) / DirtyLog::kPage / 8),
      driver_(DriverRing::Make(options.ring, {ring_area_.get(), kRing, kRingBytes})),
      source_(Complete(options.source, *pool_, drops_)),
      sink_(MakeHeldFrames(options.copies)) {}

uint64_t RingRig::Alloc(size_t bytes) {
  REQUIRE(next_ + bytes <= kHigh + kBufferBytes);
  return std::exchange(next_, next_ + bytes);
}

uint8_t* RingRig::At(uint64_t guest) const {
  GuestMemory::Hint hint;
  const absl::Span<uint8_t> found = memory_->At(guest, 1, hint);
  REQUIRE(!found.empty());
  return found.data();
}

void RingRig::Write(uint64_t guest, absl::Span<const uint8_t> bytes) const {
  GuestMemory::Hint hint;
  for (size_t at = 0; at < bytes.size();) {
    const absl::Span<uint8_t> found = memory_->At(guest + at, bytes.size() - at, hint);
    REQUIRE(!found.empty());
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), found.size(), found.begin());
    at += found.size();
  }
}

Bytes RingRig::Read(uint64_t guest, size_t bytes) const {
  Bytes read;
  GuestMemory::Hint hint;
  while (read.size() < bytes) {
    const absl::Span<uint8_t> found = memory_->At(guest + read.size(), bytes - read.size(), hint);
    REQUIRE(!found.empty());
    read.insert(read.end(), found.begin(), found.end());
  }
  return read;
}

std::vector<DriverPiece> RingRig::Lay(const Bytes& frame, const std::vector<uint32_t>& cuts,
                                      const Bytes& header) {
  Bytes all(options_.header_bytes);
  std::copy(header.begin(), header.end(), all.begin());
  all.insert(all.end(), frame.begin(), frame.end());
  std::vector<DriverPiece> pieces;
  size_t at = 0;
  for (size_t i = 0; at < all.size(); ++i) {
    const size_t bytes = i < cuts.size() ? std::min<size_t>(cuts[i], all.size() - at) : all.size() - at;
    const uint64_t guest = Alloc(bytes);
    Write(guest, absl::MakeConstSpan(all).subspan(at, bytes));
    pieces.push_back({.guest = guest, .bytes = static_cast<uint32_t>(bytes)});
    at += bytes;
  }
  return pieces;
}

void RingRig::Offer(const Bytes& frame, const std::vector<uint32_t>& cuts, const Bytes& header) {
  REQUIRE(driver_->Add(Lay(frame, cuts, header), tokens_++));
  driver_->Publish();
}

void RingRig::Post(const std::vector<uint32_t>& lengths) {
  std::vector<DriverPiece> pieces;
  for (const uint32_t bytes : lengths)
    pieces.push_back({.guest = Alloc(bytes), .bytes = bytes, .writable = true});
  REQUIRE(driver_->Add(pieces, posted_.size()));
  posted_.push_back(pieces);
  driver_->Publish();
}

size_t RingRig::TakeAllUsed() {
  size_t taken = 0;
  while (driver_->TakeUsed()) ++taken;
  return taken;
}

Bytes RingRig::TakeArrival() {
  Bytes arrival;
  size_t chains = 1;
  for (size_t i = 0; i < chains; ++i) {
    const std::optional<UsedChain> used = driver_->TakeUsed();
    if (!used) return arrival;
    size_t left = used->written;
    for (const DriverPiece& piece : posted_[used->token]) {
      const Bytes part = Read(piece.guest, std::min<size_t>(left, piece.bytes));
      arrival.insert(arrival.end(), part.begin(), part.end());
      left -= part.size();
    }
    if (i == 0 && options_.mergeable) chains = arrival[10] | size_t{arrival[11]} << 8;
  }
  return arrival;
}

RingShape RingRig::shape() const {
  const DriverRingOptions& ring = options_.ring;
  return {.size = ring.size,
          .header_bytes = options_.header_bytes,
          .packed = ring.packed,
          .indirect = ring.indirect,
          .event_index = ring.event_index,
          .in_order = ring.in_order,
          .mergeable = options_.mergeable,
          .takes_verdicts = options_.takes_verdicts,
          .asks = options_.asks};
}

RingPlace RingRig::place() const {
  const RingParts& parts = driver_->parts();
  RingPlace place = {.descriptors = parts.descriptors,
                     .driver = parts.driver,
                     .device = parts.device,
                     .memory = memory_,
                     .log = nullptr};
  if (options_.log)
    place.log = std::make_shared<DirtyLog>(const_cast<uint8_t*>(log_bits_.data()), log_bits_.size(), nullptr);
  return place;
}

size_t RingRig::Send(Burst& burst) {
  const size_t offered = burst.size();
  const RingTraffic sent = sink_.Send(burst, drops_);
  sent_.packets += sent.packets;
  sent_.bytes += sent.bytes;
  return offered - burst.size();
}

std::vector<Bytes> RingRig::ReceiveAll() {
  std::vector<Bytes> frames;
  Burst burst;
  while (Receive(burst) != 0) {
    for (const Packet* packet : burst) frames.push_back(BytesOf(*packet));
    burst.Clear();
  }
  source_.Reclaim();
  return frames;
}

}  // namespace sluice::testing

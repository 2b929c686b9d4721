// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/segment.h"

#include <algorithm>
#include <array>
#include <utility>

#include "packet/segment_headers_internal.h"
#include "packet/word_sum_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

// Segments made at a time whose payload is read, so that their headers are still at hand when it has been.
constexpr size_t kFew = 8;

}  // namespace

// Packets for segments, got in bulk: the heads in their places in the burst, and those for the payload, of which what is
// too much goes back. They may be as their last holders left them, for all that is in use of them is written. When the
// pool is dry, the last heads serve as payload of the first.
class Segmenter::Stock {
 public:
  Stock(const SegmentOptions& options, Burst& out, size_t segments)
      : options_(options), expected_(std::min(2 * segments, packets_.size())) {
    const size_t got = Get(out, segments);
    heads_ = {out.end() - got, got};
  }
  ~Stock() {
    charges() ? PacketPool::Put(pieces_.next, pieces_.size())
              : options_.pool->PutRaw(pieces_.next, pieces_.size());
  }

  absl::Span<Packet* const> heads() const { return heads_; }

  // Those for payload that are at hand: take them from a copy, which a loop keeps in registers, and give it back.
  struct Pieces {
    Packet* const* next = nullptr;
    Packet* const* end = nullptr;
    bool empty() const { return next == end; }
    size_t size() const { return static_cast<size_t>(end - next); }
    Packet* Take() { return *next++; }
  };
  Pieces pieces() const { return pieces_; }
  void Leave(Pieces pieces) { pieces_ = pieces; }
  // How many were taken, of all.
  uint32_t taken() const { return got_ - static_cast<uint32_t>(pieces_.size()); }

  // Has the next `n` of those fetched.
  void Expect(size_t n) const {
    for (Packet* const piece : absl::MakeConstSpan(pieces_.next, std::min(n, pieces_.size()))) Fetch(piece);
  }

  // When all of them are taken: more, where of the heads those from `unused` on may be had. None when the pool is dry.
  [[gnu::noinline]] Pieces Refill(Packet* const* unused) {
    Burst burst;
    size_t got = Get(burst, expected_);
    std::copy_n(burst.begin(), got, packets_.data());
    burst.DropFront(got);
    if (got == 0 && unused < heads_.end()) {
      packets_[got++] = heads_.back();
      heads_.remove_suffix(1);
    }
    pieces_ = {packets_.data(), packets_.data() + got};
    got_ += static_cast<uint32_t>(got);
    expected_ = std::min(expected_, kMore);
    return pieces_;
  }

 private:
  static constexpr size_t kMore = 16;  // at a time, when the first did not suffice

  bool charges() const { return options_.owner != kNobody; }
  size_t Get(Burst& burst, size_t n) const {
    if (charges()) return options_.pool->Get(burst, n, options_.owner);
    const size_t got = options_.pool->GetRaw(burst.Extend(n), n);
    burst.DropBack(n - got);
    return got;
  }

  const SegmentOptions& options_;
  size_t expected_;
  uint32_t got_ = 0;
  absl::Span<Packet* const> heads_;
  Pieces pieces_;
  std::array<Packet*, Burst::kCapacity> packets_;
};

uint32_t HeadersWithinMtu(const Layers& layers) {
  return uint32_t{Select(layers, LayerSet::kInnermost).payload} - layers.outer.l3;
}

uint16_t SegmentSize(const OffloadRequest& request, L4Type type) {
  return type == L4Type::kTcp ? std::max(request.mss, request.mss_override) : request.mss;
}

Segmenter::Segmenter(const SegmentOptions& options) : options_(options), headers_(new Headers) {}
Segmenter::~Segmenter() = default;

std::optional<DropReason> Segmenter::Begin(PacketPtr& packet) {
  if (packet->offload.mss == 0) return DropReason::kUnsupportedOffload;
  if (std::optional<DropReason> reason = headers_->Read(*packet, options_.finish_checksums)) return reason;
  const uint16_t size = SegmentSize(packet->offload, headers_->l4_type());
  const uint32_t count = SegmentCount(headers_->payload(), size);
  if (count > options_.max_segments || (count > 1 && !headers_->may_be_cut())) {
    return DropReason::kUnsupportedOffload;
  }
  const uint32_t longest = std::min<uint32_t>(size, headers_->payload());
  const PacketPoolOptions& pool = options_.pool->options();
  if (!headers_->FitsLengthFields(longest) || headers_->room_needed() > pool.buffer_size - pool.headroom) {
    return DropReason::kTooLong;
  }

  headers_->SetPayload(longest);
  headers_->Spread(pool.headroom, pool.buffer_size - pool.headroom);
  Take(std::move(packet));
  size_ = longest;
  left_ = count;
  return std::nullopt;
}

// The big packet becomes the model of its segments.
void Segmenter::Take(PacketPtr packet) {
  place_ = PlaceIn(packet.get());
  const uint32_t headers = Select(packet->layers(), LayerSet::kInnermost).payload;
  place_.data += headers;
  place_.bytes -= headers;
  payload_left_ = headers_->payload();
  lost_ = 0;
  packet->layers() = headers_->layers();
  packet->forget_coalesced();
  packet->offload = {.l4_checksum = headers_->leaves_l4(), .insert_vlan = packet->offload.insert_vlan};
  packet->l3_checksum = ChecksumVerdict::kUnknown;
  packet->l4_checksum = headers_->leaves_l4() ? ChecksumVerdict::kPartial : ChecksumVerdict::kUnknown;
  big_ = SharedPacket(std::move(packet));
}

// Links to each head its payload. Returns for how many the pool had enough.
size_t Segmenter::AttachPayloads(absl::Span<Packet* const> heads, uint32_t payload, Stock& stock) {
  // All that changes is the loop's own, so that it stays in registers.
  Place place = place_;
  Stock::Pieces pieces = stock.pieces();
  Packet* const* head = heads.begin();
  Packet* const* end = heads.end();
  for (; head != end; ++head) {
    Packet* last = *head;
    uint32_t bytes = payload;
    while (bytes > 0) {
      while (place.bytes == 0) place = PlaceIn(place.piece->next());
      if (pieces.empty()) [[unlikely]] {
        pieces = stock.Refill(head + 1);
        end = std::min(end, stock.heads().end());
        if (pieces.empty()) break;
      }
      Packet* const fragment = pieces.Take();
      const uint32_t here = std::min(bytes, place.bytes);
      big_.Lend(place.data, here, bytes, *fragment);
      last->Link(PacketPtr(fragment));
      last = fragment;
      place.data += here;
      place.bytes -= here;
      bytes -= here;
    }
    if (bytes > 0) [[unlikely]]
      break;
  }
  place_ = place;
  stock.Leave(pieces);
  return static_cast<size_t>(head - heads.begin());
}

// Segments of one length: either the last, or others. One loop for the headers and one for the payload: each has few
// values that change, and keeps them in registers. Returns how many the pool had enough for.
size_t Segmenter::Make(absl::Span<Packet* const> heads, Stock& stock) {
  const bool last = left_ == 1;
  const uint32_t payload = last ? payload_left_ : size_;
  if (payload != size_) headers_->SetPayload(payload);
  const uint32_t length = headers_->length();
  const Packet::Likeness likeness(*big_.get(), options_.pool->options().headroom, length, length + payload);
  const size_t made = AttachPayloads(heads, payload, stock);
  if (made == 0) [[unlikely]]
    return 0;
  heads = heads.first(made);
  const bool reads = headers_->reads_payload();
  std::array<uint64_t, kFew> sums;
  if (reads) {
    // What is written next comes from the second cache while the payload is added up.
    headers_->Expect(heads);
    stock.Expect(2 * kFew);
    TailSums(heads.data(), made, sums.data());
  }
  headers_->Write(heads, likeness, payload, last);
  if (reads) headers_->Finish(heads, sums.data());
  payload_left_ -= static_cast<uint32_t>(made) * payload;
  left_ -= static_cast<uint32_t>(made);
  return made;
}

size_t Segmenter::MakeAll(Stock& stock) {
  const size_t most = headers_->reads_payload() ? kFew : Burst::kCapacity;
  size_t made = 0;
  while (made < stock.heads().size()) {
    const size_t before_last = std::min({most, stock.heads().size() - made, size_t{left_} - 1});
    const size_t run = std::max(before_last, size_t{1});
    const size_t ready = Make(stock.heads().subspan(made, run), stock);
    made += ready;
    if (ready < run) [[unlikely]]
      break;
  }
  return made;
}

// What was lent is counted in one step, when all of it is known and nobody has it yet.
size_t Segmenter::Next(Burst& out) {
  const size_t wanted = std::min<size_t>(out.room(), left_);
  Stock stock(options_, out, wanted);
  const size_t made = MakeAll(stock);
  if (stock.taken() > 0) big_.Commit(stock.taken());
  if (made < wanted) [[unlikely]]
    GiveUp(out, stock.heads().subspan(made));
  if (done()) big_.Reset();
  return made;
}

// The pool is dry: heads that were not finished are no segments, and none will follow.
void Segmenter::GiveUp(Burst& out, absl::Span<Packet* const> unfinished) {
  PacketPool::Put(unfinished.data(), unfinished.size());
  out.DropBack(static_cast<size_t>(out.end() - unfinished.data()));
  lost_ = std::exchange(left_, 0);
}

uint32_t Segmenter::frame_length() const { return headers_->length() + size_; }

}  // namespace sluice

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

// Packets for segments, got in bulk: the heads in their places in the burst, and those for the payload, of which what is
// too much goes back. They may be as their last holders left them, for all that is in use of them is written. When the
// pool is dry, the last heads serve as payload of the first.
class Segmenter::Stock {
 public:
  Stock(const SegmentOptions& options, Burst& out, size_t segments)
      : options_(options), expected_(std::min(2 * segments, Burst::kCapacity)) {
    const size_t got = charges() ? options.pool->Get(out, segments, options.owner) : GetRaw(out, segments);
    first_head_ = out.end() - got;
    end_of_heads_ = out.end();
  }
  ~Stock() { charges() ? PacketPool::Put(next_, left()) : options_.pool->PutRaw(next_, left()); }

  Packet* const* heads() const { return first_head_; }
  size_t head_count() const { return static_cast<size_t>(end_of_heads_ - first_head_); }
  // Whether this head may be used still.
  bool Has(Packet* const* head) const { return head < end_of_heads_; }

  // Those for payload that are at hand. Take them from the front of a copy, which a loop keeps in registers, and say in
  // the end how many there were left.
  absl::Span<Packet* const> pieces() const { return {next_, left()}; }
  void Leave(size_t left) { next_ = end_ - left; }

  // When all of them are taken: more, where of the heads those from `unused` on may be had. None when the pool is dry.
  [[gnu::noinline]] absl::Span<Packet* const> Refill(Packet* const* unused) {
    Burst burst;
    size_t got = charges() ? options_.pool->Get(burst, expected_, options_.owner) : GetRaw(burst, expected_);
    std::copy_n(burst.begin(), got, packets_.data());
    burst.DropFront(got);
    if (got == 0 && unused < end_of_heads_) packets_[got++] = *--end_of_heads_;
    next_ = packets_.data();
    end_ = next_ + got;
    return pieces();
  }

 private:
  bool charges() const { return options_.owner != kNobody; }
  size_t left() const { return static_cast<size_t>(end_ - next_); }
  size_t GetRaw(Burst& burst, size_t n) const {
    const size_t got = options_.pool->GetRaw(burst.Extend(n), n);
    burst.DropBack(n - got);
    return got;
  }

  const SegmentOptions& options_;
  const size_t expected_;
  Packet* const* first_head_;
  Packet* const* end_of_heads_;
  Packet* const* next_ = nullptr;
  Packet* const* end_ = nullptr;
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
  packet->offload = {.l4_checksum = headers_->leaves_l4(), .insert_vlan = packet->offload.insert_vlan};
  packet->l3_checksum = ChecksumVerdict::kUnknown;
  packet->l4_checksum = headers_->leaves_l4() ? ChecksumVerdict::kPartial : ChecksumVerdict::kUnknown;
  big_ = SharedPacket(std::move(packet));
}

// One loop for the headers and one for the payload: each has few values that change, and keeps them in registers.
void Segmenter::WriteHeads(Packet* const* heads, size_t n, uint32_t payload, bool last) {
  Headers::Writer writer(*headers_, payload, last);
  const Packet& big = *big_.get();
  const size_t headroom = options_.pool->options().headroom;
  const uint32_t length = headers_->length();
  for (size_t i = 0; i < n; ++i) {
    Packet& head = *heads[i];
    head.CopyKnowledge(big);
    head.SetHeadroom(headroom);
    head.SetLength(length);
    head.CountLinked(payload);
    writer.Write(head.data());
  }
}

// Links to each head the pieces that it has counted. Returns for how many the pool had enough. With `reads` it adds up
// the pieces too, and finishes the head: in the same loop, so that there is something to do while they come from the
// second cache.
template <bool reads>
size_t Segmenter::AttachPayloads(Packet* const* heads, size_t n, uint32_t payload, Stock& stock) {
  // All that changes is the loop's own, so that it stays in registers.
  Place place = place_;
  SharedPacket big = std::move(big_);
  absl::Span<Packet* const> pieces = stock.pieces();
  size_t i = 0;
  for (; i < n && stock.Has(heads + i); ++i) {
    uint64_t sum = 0;
    Packet* last = heads[i];
    uint32_t bytes = payload;
    while (bytes > 0) {
      while (place.bytes == 0) place = PlaceIn(place.piece->next());
      if (pieces.empty() && (pieces = stock.Refill(heads + i + 1)).empty()) [[unlikely]]
        break;
      Packet* const fragment = pieces.front();
      pieces.remove_prefix(1);
      const uint32_t here = std::min(bytes, place.bytes);
      big.Lend(place.data, here, bytes, *fragment);
      last->Link(PacketPtr(fragment));
      last = fragment;
      if constexpr (reads) {
        const uint64_t more = WordSum(place.data, here);
        sum = word_sum::Add(sum, (payload - bytes) % 2 == 0 ? more : ShiftedWordSum(more));
      }
      place.data += here;
      place.bytes -= here;
      bytes -= here;
    }
    if (bytes > 0) [[unlikely]]
      break;
    if constexpr (reads) headers_->Finish(heads[i]->data(), SwapSum(FoldSum(sum)));
  }
  place_ = place;
  big_ = std::move(big);
  stock.Leave(pieces.size());
  return i;
}

// `n` segments of one length: either the last, or others. Returns how many the pool had enough for.
size_t Segmenter::Make(Packet* const* heads, size_t n, Stock& stock) {
  const bool last = left_ == 1;
  const uint32_t payload = last ? payload_left_ : size_;
  if (payload != size_) headers_->SetPayload(payload);
  WriteHeads(heads, n, payload, last);
  const size_t made = headers_->reads_payload() ? AttachPayloads<true>(heads, n, payload, stock)
                                                : AttachPayloads<false>(heads, n, payload, stock);
  payload_left_ -= static_cast<uint32_t>(made) * payload;
  left_ -= static_cast<uint32_t>(made);
  return made;
}

// Headers that get a checksum once the payload is read are written a few at a time, so that they are still at hand then
// (packet/segment/plain_checksums: 9 % less).
size_t Segmenter::MakeAll(Stock& stock) {
  constexpr size_t kFew = 8;
  const size_t most = headers_->reads_payload() ? kFew : Burst::kCapacity;
  size_t made = 0;
  while (made < stock.head_count()) {
    const size_t before_last = std::min({most, stock.head_count() - made, size_t{left_} - 1});
    const size_t run = std::max(before_last, size_t{1});
    const size_t ready = Make(stock.heads() + made, run, stock);
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
  big_.Commit();
  if (made < wanted) [[unlikely]]
    GiveUp(out, stock, made);
  if (done()) big_.Reset();
  return made;
}

// The pool is dry: heads that were not finished are no segments, and none will follow.
void Segmenter::GiveUp(Burst& out, const Stock& stock, size_t made) {
  PacketPool::Put(stock.heads() + made, stock.head_count() - made);
  out.DropBack(static_cast<size_t>(out.end() - stock.heads()) - made);
  lost_ = std::exchange(left_, 0);
}

uint32_t Segmenter::frame_length() const { return headers_->length() + size_; }

}  // namespace sluice

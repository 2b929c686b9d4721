// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/segment.h"

#include <algorithm>
#include <utility>

#include "packet/segment_headers_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice {

// Empty packets for the heads and the payload of segments, got in bulk; those too many go back.
class Segmenter::Stock {
 public:
  Stock(const SegmentOptions& options, size_t segments) : options_(options), segments_(segments) {}

  // Null when the pool is dry.
  PacketPtr Take() {
    if (packets_.empty() && !Refill()) [[unlikely]]
      return nullptr;
    return packets_.PopFront();
  }
  void CountSegment() { --segments_; }

 private:
  bool Refill() {
    const size_t expected = std::min(2 * segments_, Burst::kCapacity);
    return options_.pool->Get(packets_, expected, options_.owner) > 0;
  }

  const SegmentOptions& options_;
  size_t segments_;  // still to be made
  Burst packets_;
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
  piece_ = packet.get();
  at_ = Select(packet->layers(), LayerSet::kInnermost).payload;
  payload_left_ = headers_->payload();
  lost_ = 0;
  packet->layers() = headers_->layers();
  packet->offload = {.l4_checksum = headers_->leaves_l4(), .insert_vlan = packet->offload.insert_vlan};
  packet->l3_checksum = ChecksumVerdict::kUnknown;
  packet->l4_checksum = headers_->leaves_l4() ? ChecksumVerdict::kPartial : ChecksumVerdict::kUnknown;
  big_ = SharedPacket(std::move(packet));
}

inline bool Segmenter::AttachPayload(Packet& segment, uint32_t bytes, Stock& stock) {
  ChecksumSum sum;
  while (bytes > 0) {
    if (at_ >= piece_->head_length()) {
      at_ -= piece_->head_length();
      piece_ = piece_->next();
      continue;
    }
    PacketPtr fragment = stock.Take();
    if (fragment == nullptr) return false;
    const uint32_t here = std::min(bytes, piece_->head_length() - at_);
    if (headers_->reads_payload()) sum.Add(absl::MakeConstSpan(piece_->data() + at_, here));
    big_.Lend(piece_->data() + at_, here, *fragment);
    segment.Append(std::move(fragment));
    at_ += here;
    bytes -= here;
  }
  if (headers_->reads_payload()) headers_->Finish(segment.data(), sum.folded());
  return true;
}

// Null when the pool is dry.
inline PacketPtr Segmenter::Make(Stock& stock) {
  PacketPtr segment = stock.Take();
  if (segment == nullptr) return nullptr;
  const bool last = left_ == 1;
  const uint32_t payload = last ? payload_left_ : size_;
  if (payload != size_) headers_->SetPayload(payload);
  segment->CopyKnowledge(*big_.get());
  headers_->Write(segment->data(), payload, last);
  segment->SetLength(headers_->length());
  if (!AttachPayload(*segment, payload, stock)) [[unlikely]] {
    big_.Commit();  // before the segment, unfinished, gives back what it holds
    return nullptr;
  }
  payload_left_ -= payload;
  --left_;
  return segment;
}

// What was lent is counted in one step, when all of it is known and nobody has it yet.
size_t Segmenter::Next(Burst& out) {
  const size_t wanted = std::min<size_t>(out.room(), left_);
  Stock stock(options_, wanted);
  size_t made = 0;
  for (; made < wanted; ++made) {
    PacketPtr segment = Make(stock);
    if (segment == nullptr) [[unlikely]]
      break;
    out.Push(std::move(segment));
    stock.CountSegment();
  }
  big_.Commit();
  if (made < wanted) [[unlikely]]
    lost_ = std::exchange(left_, 0);
  if (done()) big_.Reset();
  return made;
}

uint32_t Segmenter::frame_length() const { return headers_->length() + size_; }

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "nic/softverbs/frame_check_internal.h"
#include "nic/softverbs/receive_queue_internal.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

// Writes bytes to the pieces of a request, one after the other.
class Scatterer {
 public:
  Scatterer(const SoftMemory& memory, uint32_t domain, absl::Span<const SoftPiece> pieces)
      : memory_(memory), domain_(domain), pieces_(pieces) {}

  SoftStatus Write(const uint8_t* bytes, size_t n) {
    while (n > 0) {
      if (left_ == 0) {
        if (const SoftStatus opened = Open(); opened != SoftStatus::kOk) return opened;
        continue;
      }
      const size_t part = std::min<size_t>(n, left_);
      std::memcpy(to_, bytes, part);
      bytes += part;
      n -= part;
      to_ += part;
      left_ -= static_cast<uint32_t>(part);
    }
    return SoftStatus::kOk;
  }

 private:
  SoftStatus Open() {
    if (pieces_.empty()) return SoftStatus::kTooLong;
    to_ = memory_.Reach(domain_, pieces_.front(), true);
    left_ = pieces_.front().length;
    pieces_.remove_prefix(1);
    return to_ == nullptr ? SoftStatus::kNoAccess : SoftStatus::kOk;
  }

  const SoftMemory& memory_;
  const uint32_t domain_;
  absl::Span<const SoftPiece> pieces_;
  uint8_t* to_ = nullptr;
  uint32_t left_ = 0;
};

}  // namespace

// There is no place now.
SoftReceiveQueue::Place SoftReceiveQueue::Await(const Clock& clock) {
  if (!open_ || given_up_) return Place::kNone;
  const Nanoseconds now = clock.Now();
  given_up_ = now - full_since_.value_or(now) >= options_.patience;
  if (!full_since_.has_value()) full_since_ = now;
  return given_up_ ? Place::kNone : Place::kNotYet;
}

// A ring of buffers that a program keeps long is in no near cache: they are asked for some frames before. The address is
// that of the program, and mostly where the bytes are; elsewhere nothing comes of it.
void SoftReceiveQueue::FetchAhead() const {
  constexpr uint64_t kAhead = 8;
  if (ring_.waiting() <= kAhead) return;
  __builtin_prefetch(reinterpret_cast<const void*>(ring_.At(ring_.next() + kAhead).only.address), 1);
}

void SoftReceiveQueue::Take(const SoftArrival& arrival, uint32_t mark) {
  --claimed_;
  FetchAhead();
  const uint64_t place = ring_.next();
  const SoftWork& work = ring_.At(place);
  SoftCompletion& completion = completions_.Fresh();
  completion = {.id = work.id,
                .ring = &ring_,
                .place = place,
                .at = arrival.at,
                .queue = options_.number,
                .bytes = arrival.packet.length(),
                .mark = mark,
                .opcode = SoftOpcode::kReceive,
                .checksums_good = arrival.checksums_good};
  if (!CopyPlain(work, arrival.packet)) completion.status = Scatter(arrival, completion);
  ring_.Advance();
  completions_.Push();
}

// From one piece into one, nothing taken off or put behind; false when it is not that, or does not fit.
bool SoftReceiveQueue::CopyPlain(const SoftWork& work, const Packet& packet) const {
  if (work.pieces != 1 || work.only.length < packet.length()) return false;
  if (!packet.contiguous() || strip_vlan_ || options_.scatter_fcs) return false;
  uint8_t* const to = memory_.Reach(options_.domain, work.only, true);
  if (to == nullptr) return false;
  std::memcpy(to, packet.data(), packet.length());
  return true;
}

bool SoftReceiveQueue::TakeTag(const Packet& packet, SoftCompletion& completion) const {
  if (!strip_vlan_ || packet.head_length() < sizeof(EthernetHeader) + sizeof(VlanTag)) return false;
  if (HeaderAt<EthernetHeader>(packet.data(), 0)->type.get() != Ethertype::kVlan) return false;
  completion.vlan_tci = HeaderAt<VlanTag>(packet.data(), sizeof(EthernetHeader))->tci.get();
  completion.bytes -= uint32_t{sizeof(VlanTag)};
  return true;
}

SoftStatus SoftReceiveQueue::Scatter(const SoftArrival& arrival, SoftCompletion& completion) {
  constexpr size_t kAddresses = 2 * MacAddress::kSize;  // the tag is behind them
  const Packet& packet = arrival.packet;
  Scatterer to(memory_, options_.domain, ring_.Pieces(completion.place));
  const bool untagged = TakeTag(packet, completion);
  const size_t gap = untagged ? kAddresses : 0;
  SoftStatus status = to.Write(packet.data(), gap);
  const size_t behind = untagged ? gap + sizeof(VlanTag) : 0;
  if (status == SoftStatus::kOk) status = to.Write(packet.data() + behind, packet.head_length() - behind);
  for (const Packet* piece = packet.next(); piece != nullptr && status == SoftStatus::kOk;
       piece = piece->next()) {
    status = to.Write(piece->data(), piece->head_length());
  }
  if (options_.scatter_fcs && status == SoftStatus::kOk) {
    const FrameCheck check = FrameCheckOf(packet);
    completion.bytes += uint32_t{sizeof(check)};
    status = to.Write(check.data(), check.size());
  }
  return status;
}

bool SoftReceiveQueue::Flush() {
  while (ring_.waiting() > 0) {
    if (!completions_.MakeRoom()) return false;
    completions_.Promise();
    completions_.Push({.id = ring_.At(ring_.next()).id,
                       .ring = &ring_,
                       .place = ring_.next(),
                       .queue = options_.number,
                       .status = SoftStatus::kFlushed,
                       .opcode = SoftOpcode::kReceive});
    ring_.Advance();
  }
  return true;
}

void SoftReceiveQueue::Reset() {
  completions_.Forget(ring_);
  ring_.Reset();
}

}  // namespace sluice

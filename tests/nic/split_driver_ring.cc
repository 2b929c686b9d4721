// SPDX-License-Identifier: Apache-2.0
// The split ring's driver side (virtio 1.2, 2.7).
#include <numeric>
#include <utility>

#include "base/asymmetric_fence_internal.h"
#include "tests/nic/driver_ring_book.h"

namespace sluice::testing {
namespace {

class SplitDriverRing final : public BookedRing {
 public:
  SplitDriverRing(const DriverRingOptions& options, const SharedMemory& memory, const RingParts& parts,
                  uint8_t* tables)
      : BookedRing(options, memory, parts, tables),
        descriptors_(reinterpret_cast<vring_desc*>(parts.descriptors)),
        available_(reinterpret_cast<vring_avail*>(parts.driver)),
        used_(reinterpret_cast<vring_used*>(parts.device)),
        free_(options.size),
        added_(options.went_before),
        kicked_(options.went_before),
        taken_(options.went_before) {
    std::iota(free_.rbegin(), free_.rend(),
              uint16_t{0});  // the first is the last in the list, and so taken first
    next_of_.resize(options.size);
    StoreShared(available_->idx, added_);
    StoreShared(used_->idx, taken_);
  }

  bool Add(absl::Span<const DriverPiece> chain, uint64_t token, Lay lay) override {
    const std::optional<Shape> shape = ShapeOf(chain, lay);
    if (!shape) return false;
    const uint16_t head = TakeDescriptors(shape->slots());
    uint16_t at = head;
    for (size_t i = 0; i < shape->direct; ++i, at = next_of_[at]) {
      Write(descriptors_[at], chain[i], i + 1 < shape->slots(), next_of_[at]);
    }
    if (shape->table) WriteTable(at, chain.subspan(shape->direct), token);
    available_->ring[added_ % size()] = head;
    ++added_;
    NoteOut(head, chain, shape->slots(), token);
    return true;
  }

  void Publish() override { StoreShared(available_->idx, added_); }

  // 2.7.10.2, 2.7.13.3: the index is there before the device's wish is read.
  bool KickWanted() override {
    FullFence();
    const uint16_t old = std::exchange(kicked_, LoadShared(available_->idx));
    if (old == kicked_) return false;
    if (options().event_index) return Passed(LoadShared(available_event()), kicked_, old);
    return (LoadShared(used_->flags) & VRING_USED_F_NO_NOTIFY) == 0;
  }

  void RefuseCalls() override {
    if (options().event_index) {
      StoreShared(used_event(), static_cast<uint16_t>(taken_ - 1));
    } else {
      StoreShared(available_->flags, uint16_t{VRING_AVAIL_F_NO_INTERRUPT});
    }
  }

  // The wish is there before the last look at what was used.
  bool AskForCall() override {
    if (options().event_index) {
      StoreShared(used_event(), taken_);
    } else {
      StoreShared(available_->flags, uint16_t{0});
    }
    FullFence();
    return TakenAll() && LoadShared(used_->idx) == taken_;
  }

  uint32_t BaseFromUsed() const override { return LoadShared(used_->idx); }

 private:
  std::optional<Said> ReadUsed() const override {
    const uint16_t now = LoadShared(used_->idx);
    if (now == taken_) return std::nullopt;
    Demand(static_cast<uint16_t>(now - taken_) <= outstanding(), "used more chains than are out");
    const vring_used_elem& element = used_->ring[taken_ % size()];
    Demand(element.id < size(), "used a chain that is not out");
    return Said{static_cast<uint16_t>(element.id), element.len};
  }

  void Pass(uint16_t head, const Chain& chain) override {
    Demand(LoadShared(used_->idx) != taken_, "used a batch that its index falls short of");
    ++taken_;
    if (options().in_order) return;
    uint16_t at = head;
    for (uint16_t i = 0; i < chain.slots; ++i, at = next_of_[at]) free_.push_back(at);
  }

  // Of `slots` descriptors the first; next_of_ leads on. In ring order where that was agreed on (2.7.9).
  uint16_t TakeDescriptors(uint16_t slots) {
    uint16_t head = 0, last = 0;
    for (uint16_t i = 0; i < slots; ++i) {
      const uint16_t taken = TakeDescriptor();
      (i == 0 ? head : next_of_[last]) = taken;
      last = taken;
    }
    return head;
  }
  uint16_t TakeDescriptor() {
    if (options().in_order) return static_cast<uint16_t>(next_in_order_++ % size());
    const uint16_t taken = free_.back();
    free_.pop_back();
    return taken;
  }

  static void Write(vring_desc& descriptor, const DriverPiece& piece, bool more, uint16_t next) {
    const int flags = (piece.writable ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0);
    descriptor = {.addr = piece.guest,
                  .len = piece.bytes,
                  .flags = static_cast<uint16_t>(flags),
                  .next = more ? next : kRubbish};
  }

  // 2.7.5.3: within the table the chain starts at 0 and leads on by `next`. Of the descriptor that refers to it a device
  // ignores the write flag, and so it is there now and then.
  void WriteTable(uint16_t at, absl::Span<const DriverPiece> pieces, uint64_t token) {
    auto* const table = reinterpret_cast<vring_desc*>(Table(at));
    for (uint16_t i = 0; i < pieces.size(); ++i) {
      Write(table[i], pieces[i], i + size_t{1} < pieces.size(), static_cast<uint16_t>(i + 1));
    }
    const int flags = VRING_DESC_F_INDIRECT | (token % 2 == 1 ? VRING_DESC_F_WRITE : 0);
    descriptors_[at] = {.addr = GuestOf(table),
                        .len = static_cast<uint32_t>(pieces.size() * sizeof(vring_desc)),
                        .flags = static_cast<uint16_t>(flags),
                        .next = kRubbish};
  }

  uint16_t& used_event() { return available_->ring[size()]; }
  uint16_t& available_event() {  // behind the used ring
    return *reinterpret_cast<uint16_t*>(reinterpret_cast<uint8_t*>(used_) + offsetof(vring_used, ring) +
                                        size() * sizeof(vring_used_elem));
  }

  static constexpr uint16_t kRubbish = 0xbad1;

  vring_desc* const descriptors_;
  vring_avail* const available_;
  vring_used* const used_;
  std::vector<uint16_t> free_;     // descriptors, but with IN_ORDER
  std::vector<uint16_t> next_of_;  // of each descriptor that is out
  uint32_t next_in_order_ = 0;
  uint16_t added_, kicked_, taken_;  // indices that count on
};

}  // namespace

std::unique_ptr<DriverRing> MakeSplitRing(const DriverRingOptions& options, const SharedMemory& memory,
                                          const RingParts& parts, uint8_t* tables) {
  return std::make_unique<SplitDriverRing>(options, memory, parts, tables);
}

}  // namespace sluice::testing

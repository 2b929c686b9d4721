// SPDX-License-Identifier: Apache-2.0
// The packed ring's driver side (virtio 1.2, 2.8).
#include <bit>
#include <cstddef>
#include <numeric>
#include <utility>

#include "base/asymmetric_fence_internal.h"
#include "nic/vhost/guest_words_internal.h"
#include "tests/nic/driver_ring_book.h"

namespace sluice::testing {
namespace {

constexpr uint16_t kAvailable = 1 << VRING_PACKED_DESC_F_AVAIL;
constexpr uint16_t kUsed = 1 << VRING_PACKED_DESC_F_USED;

// A slot, and the lap's parity (2.8.1).
struct Position {
  uint16_t slot = 0;
  bool wrap = true;

  static Position After(uint32_t slots, uint16_t size) {
    return {static_cast<uint16_t>(slots % size), slots / size % 2 == 0};
  }
  void Advance(uint16_t slots, uint16_t size) {
    const uint32_t to = uint32_t{slot} + slots;
    if (to >= size) wrap = !wrap;
    slot = static_cast<uint16_t>(to >= size ? to - size : to);
  }
  // Of a descriptor that was made available here.
  uint16_t available_flags() const { return wrap ? kAvailable : kUsed; }
  bool IsUsed(uint16_t flags) const {
    return ((flags & kAvailable) != 0) == wrap && ((flags & kUsed) != 0) == wrap;
  }
  // As event structures and SET_VRING_BASE have it.
  uint16_t word() const {
    return static_cast<uint16_t>(slot | (wrap ? 1u << VRING_PACKED_EVENT_F_WRAP_CTR : 0));
  }
};

class PackedDriverRing final : public BookedRing {
 public:
  PackedDriverRing(const DriverRingOptions& options, const SharedMemory& memory, const RingParts& parts,
                   uint8_t* tables)
      : BookedRing(options, memory, parts, tables),
        ring_(reinterpret_cast<vring_packed_desc*>(parts.descriptors)),
        wish_(reinterpret_cast<uint32_t*>(parts.driver)),
        device_wish_(reinterpret_cast<uint32_t*>(parts.device)),
        next_(Position::After(options.went_before, options.size)),
        used_(next_),
        published_(next_) {
    free_ids_.resize(options.size);
    std::iota(free_ids_.begin(), free_ids_.end(), uint16_t{0});
    // As the lap before has left them: neither available nor used.
    for (uint16_t slot = 0; slot < size(); ++slot) {
      const bool lap = slot < next_.slot ? next_.wrap : !next_.wrap;
      StoreShared(ring_[slot].flags, static_cast<uint16_t>(lap ? kAvailable | kUsed : 0));
    }
  }

  bool Add(absl::Span<const DriverPiece> chain, uint64_t token, Lay lay) override {
    const std::optional<Shape> shape = ShapeOf(chain, lay);
    if (!shape) return false;
    const uint16_t id = free_ids_.front();
    free_ids_.pop_front();
    const uint16_t slots = shape->slots();
    if (shape->table) {
      WriteTable(id, chain);
    } else {
      for (uint16_t i = 0; i < slots; ++i) WriteSlot(chain[i], i, i + 1 == slots, id);
    }
    next_.Advance(slots, size());
    unpublished_ += slots;
    NoteOut(id, chain, slots, token);
    return true;
  }

  // The first descriptor's flags go last: a device goes no further than where it finds none.
  void Publish() override {
    if (held_) StoreShared(ring_[held_->slot].flags, held_->flags);
    held_.reset();
    published_ = next_;
    unkicked_ += std::exchange(unpublished_, 0);
  }

  // 2.8.21.3.1: the descriptors are there before the device's wish is read.
  bool KickWanted() override {
    FullFence();
    const uint32_t passed = std::exchange(unkicked_, 0);
    const uint32_t wish = LoadShared(*device_wish_);
    if (passed == 0) return false;
    switch (wish >> 16 & 3) {
      case VRING_PACKED_EVENT_FLAG_ENABLE:
        return true;
      case VRING_PACKED_EVENT_FLAG_DESC:
        Demand(options().event_index, "asks for an event that was not agreed on");
        return PassedEvent(static_cast<uint16_t>(wish), passed);
      default:
        return false;
    }
  }

  void RefuseCalls() override { Wish(VRING_PACKED_EVENT_FLAG_DISABLE); }

  bool AskForCall() override {
    Wish(options().event_index ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE);
    FullFence();  // the wish is there before the last look at what was used
    return TakenAll() && !ReadUsed();
  }

  uint32_t BaseFromUsed() const override { return used_.word() | uint32_t{used_.word()} << 16; }

 private:
  struct Held {
    uint16_t slot = 0;
    uint16_t flags = 0;
  };

  std::optional<Said> ReadUsed() const override {
    if (outstanding() == 0) return std::nullopt;
    // At once, as the device writes it, though looking at the flags first would do: ThreadSanitizer sees no order between
    // accesses of different sizes.
    struct Rest {
      uint32_t bytes;
      uint16_t id;
      uint16_t flags;
    };
    const auto* const at =
        reinterpret_cast<const uint8_t*>(&ring_[used_.slot]) + offsetof(vring_packed_desc, len);
    const auto rest = std::bit_cast<Rest>(Load<uint64_t>(at, __ATOMIC_ACQUIRE));
    if (!used_.IsUsed(rest.flags)) return std::nullopt;
    Demand(rest.id < size(), "used a chain that is not out");
    return Said{rest.id, (rest.flags & VRING_DESC_F_WRITE) != 0 ? rest.bytes : 0};
  }

  void Pass(uint16_t id, const Chain& chain) override {
    used_.Advance(chain.slots, size());
    free_ids_.push_back(id);
  }

  // The id counts in the last descriptor only (2.8.6).
  void WriteSlot(const DriverPiece& piece, uint16_t offset, bool last, uint16_t id) {
    const int flags = (piece.writable ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT);
    Fill(offset, piece.guest, piece.bytes, last ? id : kRubbish, flags);
  }

  // 2.8.7: a table is filled from its start, without NEXT; ids in it mean nothing.
  void WriteTable(uint16_t id, absl::Span<const DriverPiece> pieces) {
    auto* const table = reinterpret_cast<vring_packed_desc*>(Table(id));
    for (size_t i = 0; i < pieces.size(); ++i) {
      table[i] = {.addr = pieces[i].guest,
                  .len = pieces[i].bytes,
                  .id = kRubbish,
                  .flags = static_cast<uint16_t>(pieces[i].writable ? VRING_DESC_F_WRITE : 0)};
    }
    Fill(0, GuestOf(table), static_cast<uint32_t>(pieces.size() * sizeof(table[0])), id,
         VRING_DESC_F_INDIRECT);
  }

  // The slot `offset` behind the next one; the flags of the first since Publish are held back.
  void Fill(uint16_t offset, uint64_t address, uint32_t bytes, uint16_t id, int flags) {
    Position at = next_;
    at.Advance(offset, size());
    vring_packed_desc& descriptor = ring_[at.slot];
    descriptor.addr = address;
    descriptor.len = bytes;
    descriptor.id = id;
    const auto all = static_cast<uint16_t>(flags | at.available_flags());
    if (!held_) {
      held_ = Held{at.slot, all};
    } else {
      StoreShared(descriptor.flags, all);
    }
  }

  // Whether the last `passed` slots include the event's, which is in this lap or in the one before.
  bool PassedEvent(uint16_t event, uint32_t passed) const {
    const bool this_lap = (event >> VRING_PACKED_EVENT_F_WRAP_CTR != 0) == published_.wrap;
    const int slot = event & 0x7fff;
    const int behind = published_.slot - (this_lap ? slot : slot - size());
    return behind > 0 && static_cast<uint32_t>(behind) <= passed;
  }

  // The device tells of what it uses from the next position on (2.8.10).
  void Wish(int flags) { StoreShared(*wish_, static_cast<uint32_t>(flags) << 16 | used_.word()); }

  static constexpr uint16_t kRubbish = 0xbad1;

  vring_packed_desc* const ring_;
  uint32_t* const wish_;               // of this side, of calls: position, flags
  const uint32_t* const device_wish_;  // of kicks
  std::deque<uint16_t> free_ids_;
  std::optional<Held> held_;
  Position next_;       // to be made available
  Position used_;       // to be used by the device
  Position published_;  // up to here the device sees them
  uint32_t unpublished_ = 0;
  uint32_t unkicked_ = 0;
};

}  // namespace

std::unique_ptr<DriverRing> MakePackedRing(const DriverRingOptions& options, const SharedMemory& memory,
                                           const RingParts& parts, uint8_t* tables) {
  return std::make_unique<PackedDriverRing>(options, memory, parts, tables);
}

}  // namespace sluice::testing

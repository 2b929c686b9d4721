// SPDX-License-Identifier: Apache-2.0
// How packets go home that have something to settle: fragments, loans, charges.
#include <algorithm>
#include <array>
#include <utility>

#include "packet/freed_packet_internal.h"
#include "packet/packet_stock_internal.h"
#include "sluice/packet/budget.h"
#include "sluice/packet/packet_pool.h"
#include "sluice/packet/shared_packet.h"

namespace sluice {

// Pieces on their way home together: neighbours mostly share the pool, who pays, and who lends their bytes. Who lends is told
// when they are home. Fragments are written where they will lie, in the thread's cache; the heads of their chains wait where
// they are, and follow:
//
//   cache   ... │ fragments of A, B and C │ A │ B │ C │   got first from this end
//
// So whoever makes frames of many pieces gets as heads what were heads, in whose buffers headers were, and as fragments
// what were fragments. A charge ends after the buffer is home, so that whoever waited for the one finds the other.
class PacketPool::Homecoming {
 public:
  // Of `n` chains, at most a group.
  Homecoming(Packet* const* heads, size_t n) : waiting_(heads), head_(heads), end_of_heads_(heads + n) {}

  void Run() {
    Packet* piece = nullptr;  // where the chain of the last head goes on
    while (piece != nullptr || head_ != end_of_heads_) {
      piece = AddAlike(piece);
      if (piece != nullptr) piece = is_head(piece) ? AddHead(*piece) : AddFragment(*piece);
    }
    SendHome();
    EndShares();
    EndLoans();
  }

 private:
  bool is_head(const Packet* piece) const { return head_ != end_of_heads_ && piece == *head_; }

  // Adds `piece` with what hangs behind it, and chain after chain, as long as nobody pays for the pieces, and they are of
  // the pool, and of the packet or the lender if they borrow, of the one before. Returns the first that is not, null when
  // there is none.
  Packet* AddAlike(Packet* piece) {
    // All that changes is the loop's own, so that it stays in registers.
    const uintptr_t plain = plain_;
    const uintptr_t borrowing = plain | Packet::kBorrows;
    const uintptr_t sharing = borrowing | Packet::kShares;
    const auto lending = reinterpret_cast<uintptr_t>(lending_);
    const Lender* const lender = lender_;
    Packet* const* head = head_;
    Packet* const* const end_of_heads = end_of_heads_;
    Packet** place = next_;
    Packet** const end = end_;
    uint32_t shares = shares_;
    size_t loans = loans_;
    const auto is_alike = [&](const Packet& one) {
      const uintptr_t home = one.home_ & ~uintptr_t{Packet::kFragments};
      if (home == borrowing) {
        if (one.details_.lender != lender || loans == cookies_.size()) return false;
        cookies_[loans++] = one.details_.cookie;
        return true;
      }
      if (home != sharing) return home == plain;
      if (one.details_.cookie != lending) return false;
      ++shares;
      return true;
    };
    const auto stop_at = [&](Packet* odd) {
      head_ = head;
      next_ = place;
      shares_ = shares;
      loans_ = loans;
      return odd;
    };
    for (;;) {
      while (piece != nullptr) {
        if (place == end || !is_alike(*piece)) return stop_at(piece);
        *place++ = piece;
        piece = piece->Release(plain);
      }
      if (head == end_of_heads) return stop_at(nullptr);
      piece = *head;
      if (!is_alike(*piece)) return stop_at(piece);
      ++head;
      piece = piece->Release(plain);
    }
  }

  // Adds the next head, of any kind. Returns what hung behind it.
  Packet* AddHead(Packet& piece) {
    Packet* const rest = Settle(piece);
    ++head_;
    return rest;
  }

  // Adds any fragment. Returns what hung behind it.
  Packet* AddFragment(Packet& piece) {
    Packet* const rest = Settle(piece);
    if (next_ == end_) {
      SendHome();
      OpenPlaces();
    }
    *next_++ = &piece;
    return rest;
  }

  // Settles what a piece must not take home. Returns what hung behind it.
  Packet* Settle(Packet& piece) {
    if (piece.borrows()) EndLoan(piece);
    if (piece.pool() != pool_ || piece.owner() != owner_) Turn(piece);
    piece.home_ &= ~uintptr_t{Packet::kFragments | Packet::kCharged};  // kFree stays, to be found
    return std::exchange(piece.next_, nullptr);
  }

  void Turn(const Packet& piece) {
    SendHome();
    pool_ = piece.pool();
    owner_ = piece.owner();
    plain_ = owner_ == kNobody ? reinterpret_cast<uintptr_t>(pool_) : 0;
    OpenPlaces();
  }

  void OpenPlaces() {
    const uint32_t slot = thread_slot;
    cache_ = slot < kThreadSlots ? &pool_->stock_->caches[slot] : nullptr;
    const absl::Span<Packet*> cached = cache_ != nullptr ? cache_->places() : absl::Span<Packet*>();
    if (cached.empty()) cache_ = nullptr;
    const absl::Span<Packet*> places = cached.empty() ? absl::MakeSpan(spare_) : cached;
    first_ = next_ = places.data();
    end_ = next_ + places.size();
  }

  // Others may free packets in turn, and use the places, before the next piece comes: it finds none.
  void SendHome() {
    const auto fragments = static_cast<size_t>(next_ - first_);
    const auto heads = static_cast<size_t>(head_ - waiting_);
    end_ = next_ = first_;
    if (fragments > 0) SendFragments(fragments);
    if (heads > 0) pool_->PutRaw(std::exchange(waiting_, head_), heads);
    if (owner_ == kNobody || fragments + heads == 0) return;
    pool_->options_.budget->Release(owner_, pool_->options_.buffer_size, fragments + heads);
  }

  void SendFragments(size_t n) {
    if (cache_ == nullptr) return pool_->PutRaw(first_, n);
    if constexpr (kCheckFrees) Bury(first_, n);
    cache_->Keep(n);
  }

  void EndLoan(Packet& piece) {
    Packet* const lending = piece.lending_packet();
    piece.home_ &= ~uintptr_t{Packet::kBorrows | Packet::kShares};
    if (lending != nullptr) {
      if (lending != lending_) EndShares();
      lending_ = lending;
      ++shares_;
    } else {
      if (piece.details_.lender != lender_ || loans_ == cookies_.size()) EndLoans();
      lender_ = piece.details_.lender;
      cookies_[loans_++] = piece.details_.cookie;
    }
  }

  // Who is told may free packets in turn.
  void EndLoans() {
    if (loans_ == 0) return;
    SendHome();
    lender_->Returned({cookies_.data(), std::exchange(loans_, 0)});
  }

  void EndShares() {
    if (shares_ == 0) return;
    SendHome();
    SharedPacket::Return(lending_, std::exchange(shares_, 0));
  }

  Packet* const* waiting_;  // heads that are settled, up to head_
  Packet* const* head_;
  Packet* const* const end_of_heads_;
  PacketPool* pool_ = nullptr;
  PacketCache* cache_ = nullptr;  // where the places are; null: spare_
  Packet** first_ = nullptr;
  Packet** next_ = nullptr;
  Packet** end_ = nullptr;
  uintptr_t plain_ = 0;  // home_ of its packets without encumbrance; 0 while owner_ pays
  Packet* lending_ = nullptr;
  OwnerId owner_;
  uint32_t shares_ = 0;
  Lender* lender_ = nullptr;
  size_t loans_ = 0;
  std::array<uint64_t, PacketDepot::kGroup> cookies_;
  std::array<Packet*, PacketDepot::kGroup> spare_;  // when the thread has no cache, or a full one
};

void PacketPool::PutEncumbered(Packet* const* packets, size_t n) {
  for (; n > PacketDepot::kGroup; n -= PacketDepot::kGroup, packets += PacketDepot::kGroup) {
    Homecoming(packets, PacketDepot::kGroup).Run();
  }
  Homecoming(packets, n).Run();
}

}  // namespace sluice

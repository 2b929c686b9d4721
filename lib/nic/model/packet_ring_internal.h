// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_PACKET_RING_INTERNAL_H_
#define SLUICE_NIC_MODEL_PACKET_RING_INTERNAL_H_

// A bounded queue of packets from one thread to one other: a lane of a pair wire, a receive ring of a
// ModelNic.
//
//   head ──▶ │ p │ p │ p │   │   │ ◀── tail      both only grow; slot = number % capacity
//            receiver owns        sender owns
//
// Owns what is in it. Each side keeps a copy of the other's number and looks again only when that says empty
// or full, so that in full flow the two meet once in many bursts.
//
// Memory order: the sender releases the slots by tail, the receiver returns them by head. A light fence follows
//   the sender's release, for its next step is to ask whether the receiver sleeps (doorbell_internal.h).

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "base/asymmetric_fence_internal.h"
#include "sluice/base/counters.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/packet_pool.h"

namespace sluice {

// By two lines at a time, as far as they reach, then by halves of that: no call, for which the caller would have to save what
// it has at hand.
inline void CopyPointers(Packet* const* from, size_t n, Packet** to) {
  constexpr size_t kLines = 2 * kCacheLine / sizeof(Packet*);
  const auto* const lines = from + n / kLines * kLines;
  for (; from != lines; from += kLines, to += kLines) std::memcpy(to, from, 2 * kCacheLine);
  if (n % kLines == 0) return;
  for (size_t piece = kLines / 2; piece > 0; piece /= 2) {
    if ((n & piece) == 0) continue;
    std::memcpy(to, from, piece * sizeof(Packet*));
    from += piece;
    to += piece;
  }
}

class PacketRing {
 public:
  // `capacity` is a power of two.
  explicit PacketRing(uint32_t capacity)
      : lines_(new Line[(capacity + kLine - 1) / kLine]), slots_(lines_[0].slots), mask_(capacity - 1) {}
  ~PacketRing() { Clear(); }
  PacketRing(const PacketRing&) = delete;
  PacketRing& operator=(const PacketRing&) = delete;

  size_t capacity() const { return mask_ + 1; }

  // Sender.
  // -----------------------------------------------------------------------------------------------------
  // How many packets have been pushed: the number of the next.
  uint64_t pushed() const { return staged_; }
  // Free slots; looks at the receiver's number only when fewer than `wanted` are known of.
  size_t Room(size_t wanted) {
    const size_t room = capacity() - (staged_ - head_seen_);
    if (room >= wanted) [[likely]]
      return room;
    head_seen_ = head_.load(std::memory_order_acquire);
    return capacity() - (staged_ - head_seen_);
  }

  // Takes over and publishes the first of `n` packets, as many as fit.
  size_t Push(Packet* const* packets, size_t n) {
    n = std::min(n, Room(n));
    if (n > 0) PushAll(packets, n);
    return n;
  }
  // All of them: there is room.
  void PushAll(Packet* const* packets, size_t n) {
    CopyIn(packets, n);
    staged_ += n;
    Publish();
  }

  // Takes over one packet, which stays unseen until Publish; false when full.
  bool Stage(Packet* packet) {
    if (Room(1) == 0) return false;
    slots_[staged_++ & mask_] = packet;
    return true;
  }
  void Publish() {
    tail_.store(staged_, std::memory_order_release);
    LightFence();
  }

  // Receiver.
  // ---------------------------------------------------------------------------------------------------
  // How many packets have been popped: the number of the next.
  uint64_t popped() const { return head_.load(std::memory_order_relaxed); }
  // Whether the packet of that number, which is the next, is there.
  bool Holds(uint64_t next) {
    if (tail_seen_ == next) tail_seen_ = tail_.load(std::memory_order_acquire);
    return tail_seen_ != next;
  }

  // Hands over up to `n` packets, the oldest first.
  size_t Pop(Packet** to, size_t n) {
    const size_t popped = Peek(to, n);
    if (popped > 0) Advance(popped);
    return popped;
  }

  // Hands over the next `n`, which are there.
  void PopAll(Packet** to, size_t n) {
    const uint64_t head = popped();
    CopyOut(head, to, n);
    head_.store(head + n, std::memory_order_release);
  }

  // Shows up to `n` packets, which stay, until Advance takes out the first of them.
  size_t Peek(Packet** to, size_t n) {
    const uint64_t head = popped();
    if (tail_seen_ - head < n) tail_seen_ = tail_.load(std::memory_order_acquire);
    n = std::min<uint64_t>(n, tail_seen_ - head);
    CopyOut(head, to, n);
    return n;
  }
  // The packet of a number from popped() on, which stays; null when it has not come.
  Packet* Waiting(uint64_t number) {
    if (number == tail_seen_) tail_seen_ = tail_.load(std::memory_order_acquire);
    return number == tail_seen_ ? nullptr : slots_[number & mask_];
  }
  void Advance(size_t n) { head_.store(popped() + n, std::memory_order_release); }

  // Whether nothing waits, after the receiver said that it is going to sleep, and a heavy fence.
  bool EmptyBeforeSleep() const { return tail_.load(std::memory_order_acquire) == popped(); }

  // Frees what is in it, with neither side at work; returns how many.
  size_t Clear() {
    size_t freed = 0;
    for (Packet* packet; Pop(&packet, 1) == 1; ++freed) PacketPool::Put(&packet, 1);
    return freed;
  }

  // Any thread; may be out of date.
  size_t size() const {
    const uint64_t head = head_.load(std::memory_order_acquire);
    return tail_.load(std::memory_order_acquire) - head;
  }

 private:
  static constexpr size_t kLine = kCacheLine / sizeof(Packet*);
  struct alignas(kCacheLine) Line {
    Packet* slots[kLine];
  };

  void CopyIn(Packet* const* packets, size_t n) {
    const size_t at = staged_ & mask_;
    if (at + n > capacity()) [[unlikely]]
      return CopyInRound(packets, n);
    CopyPointers(packets, n, slots_ + at);
  }
  void CopyOut(uint64_t head, Packet** to, size_t n) const {
    const size_t at = head & mask_;
    if (at + n > capacity()) [[unlikely]]
      return CopyOutRound(at, to, n);
    CopyPointers(slots_ + at, n, to);
  }
  // Up to the end of the array, and from its start. Apart: it is rare, and would cost the others registers.
  [[gnu::cold, gnu::noinline]] void CopyInRound(Packet* const* packets, size_t n) {
    const size_t at = staged_ & mask_;
    const size_t first = capacity() - at;
    std::copy_n(packets, first, slots_ + at);
    std::copy_n(packets + first, n - first, slots_);
  }
  [[gnu::cold, gnu::noinline]] void CopyOutRound(size_t at, Packet** to, size_t n) const {
    const size_t first = capacity() - at;
    std::copy_n(slots_ + at, first, to);
    std::copy_n(slots_, n - first, to + first);
  }

  // Read by both, written by none.
  const std::unique_ptr<Line[]> lines_;
  Packet** const slots_;
  const size_t mask_;

  alignas(kCacheLine) std::atomic<uint64_t> tail_{0};  // the sender's line
  uint64_t staged_ = 0;                                // tail, and what was staged since
  uint64_t head_seen_ = 0;

  alignas(kCacheLine) std::atomic<uint64_t> head_{0};  // the receiver's line
  uint64_t tail_seen_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_PACKET_RING_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_PACKET_H_
#define SLUICE_PACKET_PACKET_H_

// A frame and what is known about it. It knows no device; whoever holds the PacketPtr owns it.
//
//   Packet (128 B, apart from the data)          buffer (2 KiB by default, in the pool's region)
//   ┌──────────────────────────────────┐         ┌──────────┬──────────────────────┬──────────┐
//   │ line 0: what every hop touches   │──data──▶│ headroom │ frame ......         │ tailroom │
//   │ line 1: layers, offload request  │         └──────────┴──────────────────────┴──────────┘
//   └───────┬──────────────────────────┘
//           └─next─▶ Packet ─next─▶ ...   fragments of a big frame, each a Packet of its own:
//                                         pool memory, or *borrowed* memory
//
// A frame of one piece is a chain of one. Each piece is a Packet: head_length() counts its own bytes, and
// length() those from it to the end of the frame.
//
// Borrowed: the bytes belong to a guest or a peer and are lent until the packet is freed or calls Own().
// Headers are copied into the head buffer before anything looks at them, so that checks are made on bytes
// that nobody else can change.
//
// Invariants: head_length() <= length(); without fragments they are equal. Offsets in Layers count from
// data(). Threads: one at a time; handing a Packet to another thread needs a queue that orders memory.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "absl/types/span.h"
#include "sluice/base/clock.h"
#include "sluice/base/counters.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"

namespace sluice {

class Burst;
class Packet;
class PacketPool;

enum class ChecksumVerdict : uint8_t {
  kUnknown,  // nobody looked, or the device cannot tell
  kGood,
  kBad,
  kPartial,  // from a local sender: the L4 field holds the pseudo-header sum and is to be finished before it
             // leaves the host
};

enum class L3Type : uint8_t { kNone, kIpv4, kIpv6, kArp, kOther };
enum class L4Type : uint8_t { kNone, kTcp, kUdp, kIcmp, kIcmpv6, kFragment, kOther };
enum class TunnelType : uint8_t { kNone, kVxlan, kGeneve, kGre, kNvgre, kNsh, kMpls };

// What Parse (parse.h) made of a frame.
enum class ParseVerdict : uint8_t {
  kOk,
  kTruncated,  // a header reaches past the bytes at hand
  kMalformed,  // a length contradicts another, or the frame's
};

// Where the headers are, from data(). An absent layer has type kNone and its offset equal to the next one's.
struct LayerOffsets {
  uint16_t l3 = 0;
  uint16_t l4 = 0;
  uint16_t payload = 0;
  L3Type l3_type = L3Type::kNone;
  L4Type l4_type = L4Type::kNone;
};

struct Layers {
  LayerOffsets outer;  // the only ones without a tunnel
  LayerOffsets inner;  // inside `tunnel`
  uint16_t inner_l2 = 0;
  TunnelType tunnel = TunnelType::kNone;
  uint8_t vlan_tags : 6 = 0;                           // still in the frame, before outer.l3
  ParseVerdict inner_verdict : 2 = ParseVerdict::kOk;  // of the tunnel's header and what is inside
};

// In which IPv4 headers all segments of a frame have one identification, where others count up: senders may do that who forbid
// fragments (RFC 6864, 4.1), and many do, with zero. It means nothing where DF is not set.
struct FixedIds {
  bool outer : 1 = false;  // by Layers: the only one without a tunnel
  bool inner : 1 = false;
  uint8_t reserved : 6 = 0;  // fills the byte, for Packet::FirstWords

  bool operator==(const FixedIds&) const = default;
};

// What a sender asks the next device, or software in its place, to finish. Zero means: the frame is complete
// as it is.
struct OffloadRequest {
  bool l4_checksum : 1 = false;     // fill TCP/UDP checksum of the innermost L4
  bool l3_checksum : 1 = false;     // fill the innermost IPv4 header checksum
  bool outer_checksum : 1 = false;  // fill outer IPv4 and, where it is not zero, outer UDP checksum
  bool segment : 1 = false;         // cut into frames of `mss` payload bytes (TSO, USO)
  bool insert_vlan : 1 = false;     // put Packet::vlan_tci in front of the Ethertype
  uint8_t reserved : 3 = 0;         // fills the byte that flags() returns
  FixedIds fixed_ids{};             // of the segments; no request in itself
  uint16_t mss = 0;                 // of the guest, bytes of L4 payload a segment
  uint16_t mss_override = 0;        // larger cut that the underlay allows; 0 = none

  bool any() const { return flags() != 0; }
  // All that any() asks for in one byte, for loops over a burst that gather it.
  uint8_t flags() const {
    uint8_t flags;
    std::memcpy(&flags, this, sizeof(flags));
    return flags;
  }
};

enum class RssType : uint8_t { kNone, kIpv4, kIpv6, kIpv4Tcp, kIpv6Tcp, kIpv4Udp, kIpv6Udp };

// Who lends memory to packets.
class SLUICE_EXPORT Lender {
 public:
  // Called when bytes are no longer needed, on the thread that frees their packets, for as many loans as end together: each
  // is told of once, by its cookie.
  virtual void Returned(absl::Span<const uint64_t> cookies) = 0;

 protected:
  ~Lender() = default;
};

// Gives a packet, its fragments, borrowed memory and charges back. See PacketPool.
struct SLUICE_EXPORT ReturnToPool {
  void operator()(Packet* packet) const;
};
using PacketPtr = std::unique_ptr<Packet, ReturnToPool>;

class SLUICE_EXPORT alignas(2 * kCacheLine) Packet {
  // Line 0 holds all that a forwarding hop reads and writes. Its first half stays as the pool made it, but
  // for what a free undoes ...
  uint8_t* buffer_ = nullptr;
  uintptr_t home_ = 0;  // the pool, with Encumbrance in the low bits: one compare tells a plain packet of it
  Packet* next_ = nullptr;
  uint8_t buffer_shift_ = 0;  // log2 of the buffer's size
  uint8_t group_size_ = 0;    // while first of a group in the depot: packets in the group

 public:
  uint32_t rss_hash = 0;  // meaningful unless rss_type is kNone

 private:
  // ... and its second half is written at once when the packet is got again (Restart).
  alignas(kCacheLine / 2) uint8_t* data_ = nullptr;

 public:
  // What is known of the frame. All zero in a fresh packet.
  PortId ingress_port;
  QueueId ingress_queue;
  bool vlan_stripped : 1 = false;

 private:
  bool stamped_ : 1 = false;  // details_.timestamp is meaningful; likewise the next two
  bool marked_ : 1 = false;
  bool coalesced_ : 1 = false;
  bool fixed_outer_id_ : 1 = false;  // of what was coalesced, as the next
  bool fixed_inner_id_ : 1 = false;
  uint8_t unused_ : 2 = 0;  // written with the others, so that none of them has to be read for that

 public:
  ChecksumVerdict l3_checksum = ChecksumVerdict::kUnknown;
  ChecksumVerdict l4_checksum = ChecksumVerdict::kUnknown;
  RssType rss_type = RssType::kNone;

 private:
  uint32_t length_ = 0;
  uint32_t head_length_ = 0;

 public:
  uint16_t vlan_tci = 0;  // taken out on receive if vlan_stripped; put in on send if offload.insert_vlan
  OffloadRequest offload;

  Packet(const Packet&) = delete;
  Packet& operator=(const Packet&) = delete;

  // The frame.
  // ------------------------------------------------------------------------------------------------------
  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  uint32_t length() const { return length_; }            // whole frame in bytes, without FCS
  uint32_t head_length() const { return head_length_; }  // of those, the ones at data()
  // Both in one word, for loops over a burst: length() + head_length() * 2^32.
  uint64_t lengths() const {
    uint64_t both;
    std::memcpy(&both, reinterpret_cast<const uint8_t*>(this) + kLengths, sizeof(both));
    return both;
  }
  // What a sender has to know of each packet, in one load, for loops over a burst: length(), head_length(),
  // vlan_tci + offload.flags() * 2^16 with its fixed_ids above, and the sizes of the request.
  using FirstWords = std::array<uint32_t, 4>;
  FirstWords first_words() const {
    FirstWords words;
    std::memcpy(words.data(), reinterpret_cast<const uint8_t*>(this) + kLengths, sizeof(words));
    return words;
  }
  size_t headroom() const { return borrows() ? 0 : static_cast<size_t>(data_ - buffer_); }
  size_t tailroom() const { return borrows() ? 0 : buffer_size() - headroom() - head_length_; }
  bool contiguous() const { return next_ == nullptr; }
  Packet* next() { return next_; }
  const Packet* next() const { return next_; }

  // Length of a frame without fragments; the caller has checked that it fits the buffer.
  void SetLength(uint32_t bytes) { length_ = head_length_ = bytes; }
  // Where the frame starts in the buffer; `headroom` <= buffer_size(). Keeps the lengths.
  void SetHeadroom(size_t headroom) { data_ = buffer_ + headroom; }
  // Opens `bytes` in front of the frame and returns the new start; bytes <= headroom(). Layer offsets are not
  // moved.
  uint8_t* Prepend(uint32_t bytes) {
    data_ -= bytes;
    head_length_ += bytes;
    length_ += bytes;
    return data_;
  }
  // Removes `bytes` from the front; bytes <= head_length(). Layer offsets are not moved.
  void TrimFront(uint32_t bytes) {
    data_ += bytes;
    head_length_ -= bytes;
    length_ -= bytes;
  }

  // Hangs `fragment`, with what hangs on it, behind the last fragment, and takes it over. Walks the chain.
  void Append(PacketPtr fragment) {
    const uint32_t more = fragment->length_;
    Packet* last = this;
    last->length_ += more;
    while (last->next_ != nullptr) {
      last = last->next_;
      last->length_ += more;
    }
    last->next_ = fragment.release();
    last->home_ |= kFragments;
  }
  // The same in two steps, for who adds piece after piece and remembers the last: Link hangs a piece behind
  // this one, and CountLinked tells the first piece, once for many, how long the frame has become. The pieces
  // between are not told: of such a frame only the first piece's length() means anything.
  void Link(PacketPtr fragment) {
    next_ = fragment.release();
    home_ |= kFragments;
  }
  void CountLinked(uint32_t bytes) { length_ += bytes; }
  // Takes off what hangs behind this piece; null when nothing does.
  PacketPtr Unlink() {
    PacketPtr rest(next_);
    next_ = nullptr;
    home_ &= ~uintptr_t{kFragments};
    length_ = head_length_;
    return rest;
  }

  // Makes the frame of this empty packet the `bytes` at `data`, lent by `lender`. There is then no headroom
  // or tailroom, and the bytes must not be written. For bytes of another packet see SharedPacket.
  void BorrowBytes(uint8_t* data, uint32_t bytes, Lender& lender, uint64_t cookie) {
    Borrow(data, bytes, &lender, cookie);
  }
  bool borrows() const { return (home_ & kBorrows) != 0; }

  // Copies what the chain borrows into its pieces' own buffers, and into further ones of their pool behind a piece that is
  // longer than one, and gives the loans back. False when the pool has too few: the packet is then unchanged, and the
  // caller drops it (kNoBuffer).
  [[nodiscard]] bool Own();

  // Copies [offset, offset + bytes) of the frame to `to`, across fragments; false when that reaches past the
  // end.
  [[nodiscard]] bool CopyOut(uint32_t offset, uint32_t bytes, uint8_t* to) const;

  // For drivers, which fill packets that PacketPool::GetRaw gave as they were left: a frame of `bytes` bytes
  // that starts `headroom` into the buffer, and of which nothing is known. One store, where there is one of
  // 32 bytes.
  void Restart(size_t headroom, uint32_t bytes) {
    WriteHalf(Half{reinterpret_cast<uintptr_t>(buffer_)} +
              Half{headroom, 0, bytes * uint64_t{0x1'0000'0001}});
  }

  // The same for packets that carry copies of another's headers, in a loop: what all of them have in common.
  class Likeness;
  void Restart(const Likeness& likeness, size_t further);

  // What line 0 knows of the frame, beside its bytes, in two words: packets that agree in them agree in ports,
  // verdicts, VLAN tag and request, and in what else was set.
  std::array<uint64_t, 2> known() const {
    std::array<uint64_t, 2> words;
    std::memcpy(&words[0], reinterpret_cast<const uint8_t*>(this) + kArrival, sizeof(words[0]));
    std::memcpy(&words[1], reinterpret_cast<const uint8_t*>(this) + kRequest, sizeof(words[1]));
    return words;
  }

  // Where frames arrive, as it is written into each of them.
  class Arrival {
   public:
    Arrival() = default;
    Arrival(PortId port, QueueId queue) : word_(port.value() | uint64_t{queue.value()} << 16) {}
    bool operator==(const Arrival&) const = default;

   private:
    friend class Packet;
    uint64_t word_ = 0;  // ingress_port to rss_type
  };
  // What a device does to a frame that comes in: says where, and forgets what earlier hops found out. The
  // offload request, with its VLAN tag, stays: over a wire in memory it is part of the frame. One store; for
  // a loop over a burst make the Arrival once.
  void Arrive(Arrival where) {
    std::memcpy(reinterpret_cast<uint8_t*>(this) + kArrival, &where.word_, sizeof(where.word_));
  }
  void Arrive(PortId port, QueueId queue) { Arrive(Arrival(port, queue)); }

  // Metadata of line 1. What was not set reads as zero, and costs no access to the line.
  // --------------------------------
  Layers& layers() { return details_.known.layers; }  // meaningful after Parse (parse.h)
  const Layers& layers() const { return details_.known.layers; }

  Nanoseconds timestamp() const { return stamped_ ? details_.known.timestamp : 0; }  // of arrival
  void set_timestamp(Nanoseconds at) {
    details_.known.timestamp = at;
    stamped_ = true;
  }
  uint32_t mark() const { return marked_ ? details_.known.mark : 0; }  // given by a rule
  void set_mark(uint32_t mark) {
    details_.known.mark = mark;
    marked_ = mark != 0;
  }
  // How many frames receive coalescing joined into this one, and the L4 payload bytes of each but the last.
  uint16_t coalesced_segments() const { return coalesced_ ? details_.coalesced_segments : 0; }
  uint16_t coalesced_size() const { return coalesced_ ? details_.coalesced_size : 0; }
  // Which of their identifications were all the same: what cuts the frame again has to know.
  FixedIds coalesced_ids() const {
    return coalesced_ ? FixedIds{.outer = fixed_outer_id_, .inner = fixed_inner_id_} : FixedIds{};
  }
  void set_coalesced(uint16_t segments, uint16_t size, FixedIds ids = {}) {
    details_.coalesced_segments = segments;
    details_.coalesced_size = size;
    fixed_outer_id_ = ids.outer;
    fixed_inner_id_ = ids.inner;
    coalesced_ = true;
  }
  void forget_coalesced() { coalesced_ = fixed_outer_id_ = fixed_inner_id_ = false; }

  PacketPool* pool() const { return reinterpret_cast<PacketPool*>(home_ & ~kEncumbrances); }
  // Who is charged for the buffer.
  OwnerId owner() const { return (home_ & kCharged) != 0 ? details_.owner : kNobody; }
  uint8_t* buffer() { return buffer_; }
  size_t buffer_size() const { return size_t{1} << buffer_shift_; }

 private:
  friend class PacketPool;
  friend class PacketDepot;
  friend class FreedPacket;
  friend class SharedPacket;

  // What must be settled before a packet goes home.
  enum Encumbrance : uintptr_t {
    kBorrows = 1,    // data_ is lent: tell the lender
    kFragments = 2,  // next_ is set
    kCharged = 4,    // an owner pays for the buffer
    kFree = 8,       // it is home already; set in debug builds only, as is the next
    kPoisoned = 16,  // and its buffer is filled with a pattern
    kShares = 32,    // beside kBorrows: the lender is a SharedPacket, the cookie its packet
    kEncumbrances = 63,
  };

  // Where members of line 0 are: home_ with next_ behind it, ingress_port, length_, vlan_tci. The last two are loaded at
  // once (first_words), also behind a Restart that is two stores.
  static constexpr size_t kHome = 8;
  static constexpr size_t kArrival = kCacheLine - 24;
  static constexpr size_t kLengths = kCacheLine - 16;
  static constexpr size_t kRequest = kCacheLine - 8;

  Packet() {}
  bool encumbered() const { return (home_ & kEncumbrances) != 0; }
  void Borrow(uint8_t* data, uint32_t bytes, Lender* lender, uint64_t cookie) {
    data_ = data;
    length_ = head_length_ = bytes;
    details_.lender = lender;
    details_.cookie = cookie;
    home_ |= kBorrows;
  }
  // A share of `lending`'s bytes, of which nothing is known.
  void Share(const Packet* lending, const uint8_t* data, uint32_t bytes, uint32_t length) {
    WriteHalf(Half{reinterpret_cast<uintptr_t>(data), 0, length + (uint64_t{bytes} << 32)});
    details_.cookie = reinterpret_cast<uintptr_t>(lending);
    home_ |= kBorrows | kShares;
  }
  size_t FurtherBuffers() const;
  Packet* CopyLoan(Burst& further);
  void EndLoan();
  // Whose bytes it borrows, if they are another packet's.
  Packet* lending_packet() const {
    return (home_ & kShares) != 0 ? reinterpret_cast<Packet*>(details_.cookie) : nullptr;
  }
  // Forgets what hangs behind it and what was to be settled, which the caller has done, and returns the first: `home` is
  // the pool. One store.
  Packet* Release(uintptr_t home) {
    using Pair = uint64_t __attribute__((vector_size(16)));
    static_assert(sizeof(Pair) == sizeof(home_) + sizeof(next_));
    Packet* const rest = next_;
    const Pair alone{home, 0};
    std::memcpy(reinterpret_cast<uint8_t*>(this) + kHome, &alone, sizeof(alone));
    return rest;
  }
  // The second half of line 0, in one store where there is one of 32 bytes.
  using Half = uint64_t __attribute__((vector_size(kCacheLine / 2)));
  void WriteHalf(const Half& half) {
    std::memcpy(reinterpret_cast<uint8_t*>(this) + kCacheLine / 2, &half, sizeof(half));
  }

  // Line 1. A fresh packet has the last holder's leavings here: line 0 says what is meaningful.
  struct Known {  // what a Likeness copies: half a line
    Layers layers;
    uint32_t mark;
    Nanoseconds timestamp;
  };
  struct Details {
    Known known;
    uint16_t coalesced_segments;
    uint16_t coalesced_size;
    OwnerId owner;
    Lender* lender;
    uint64_t cookie;
  };
  static constexpr size_t kCompanions = sizeof(Details) / sizeof(uint32_t);
  static_assert(sizeof(Known) == kCacheLine / 2, "one load and one store, where there are such");
  static_assert(sizeof(Details) == kCacheLine - 8, "fills line 1 but for the depot's link");

  union {
    Details details_ = {};
    uint32_t companions_[kCompanions];  // while in the depot: indices of other free packets
  };
  // In the depot the link to the next group; in a SharedPacket how many hold it. Who looks for a link may find a
  // number of holders, for it looks before it knows whether the packet is still there: see PacketDepot::Pop.
  std::atomic<uint32_t> depot_next_{0};
  std::atomic<uint32_t>& holders() { return depot_next_; }
};

static_assert(sizeof(Packet) == 2 * kCacheLine, "metadata is two cache lines");

// Of a packet: all that is known of it, its layers and its offload request among it, and where a frame starts and how
// long it is. For packets that may be as PacketPool::GetRaw gave them; three wide stores each.
class Packet::Likeness {
 public:
  // Of frames that start `headroom` into the buffer and have `length` bytes, `head_length` of them there.
  Likeness(const Packet& of, size_t headroom, uint32_t head_length, uint32_t length)
      : half_{headroom, of.known()[0], length + (uint64_t{head_length} << 32), of.known()[1]},
        rss_hash_(of.rss_hash) {
    std::memcpy(&known_, &of.details_.known, sizeof(known_));
  }

 private:
  friend class Packet;
  Half half_;
  Half known_;
  uint32_t rss_hash_;
};

// The frame starts `further` bytes from where it does by the likeness.
inline void Packet::Restart(const Likeness& likeness, size_t further) {
  WriteHalf(Half{reinterpret_cast<uintptr_t>(buffer_) + further} + likeness.half_);
  std::memcpy(reinterpret_cast<uint8_t*>(&details_.known), &likeness.known_, sizeof(likeness.known_));
  rss_hash = likeness.rss_hash_;
}

}  // namespace sluice

#endif  // SLUICE_PACKET_PACKET_H_

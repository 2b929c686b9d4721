// SPDX-License-Identifier: Apache-2.0
// Which packets are segments of one, and how they become it.
#include <algorithm>
#include <cstring>
#include <utility>

#include "packet/coalesce_match_internal.h"
#include "packet/coalesce_unit_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"
#include "sluice/packet/parse.h"

namespace sluice {
namespace {

constexpr uint8_t kEnding = TcpHeader::kPsh | TcpHeader::kFin;
constexpr uint8_t kFirstOnly = TcpHeader::kCwr;
constexpr uint8_t kNever = TcpHeader::kSyn | TcpHeader::kRst | TcpHeader::kUrg;
constexpr uint16_t kMinusZero = 0xffff;

// Sums of 16-bit words as residues modulo 0xffff, in which a right checksum makes zero of what it covers (RFC 1071).
uint32_t Modulo(uint64_t sum) { return static_cast<uint32_t>(sum % 0xffff); }
constexpr uint64_t kZero = uint64_t{0xffff} << 24;  // to subtract from, more than headers add up to
uint32_t Negative(uint32_t residue) { return residue == 0 ? 0 : 0xffff - residue; }
uint32_t Swapped(uint32_t residue) { return __builtin_bswap16(static_cast<uint16_t>(residue)); }
// What a sender writes: never minus zero, for no header adds up to plain zero; but in UDP, where zero means absent.
uint16_t AsField(uint64_t negative_sum) { return static_cast<uint16_t>(Modulo(negative_sum)); }
uint16_t NotAbsent(uint16_t udp_checksum) { return udp_checksum == 0 ? kMinusZero : udp_checksum; }

// Of headers and addresses: `n` is a multiple of four. Words of 32 bits, as good as their halves, for 2^16 is one here.
uint64_t SumOfWords(const uint8_t* bytes, size_t n) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i += sizeof(Be32)) sum += HeaderAt<Be32>(bytes, i)->get();
  return sum;
}

// Total length, id and checksum: the same in every right header that is alike.
uint32_t VaryingIn(const Ipv4Header& ip) {
  return Modulo(uint32_t{ip.total_length.get()} + ip.id.get() + ip.checksum.get());
}

// Of `n` sequences, each `step` after the one before. They wrap at 2^32, which is one to this kind of sum.
uint64_t SumOfSequences(uint64_t first, uint64_t step, uint64_t n) {
  const uint64_t last = first + (n - 1) * step;
  const uint64_t sum = n * (first + last) / 2;
  if (last >> 32 == 0) [[likely]]
    return sum;
  const uint64_t wrapped = (last - (uint64_t{1} << 32)) / step + 1;
  return sum - std::min(wrapped, n);
}

// In memory that is ours, in one piece but for payload, complete, and not joined before.
bool IsPlain(const Packet& packet) {
  for (const Packet* piece = &packet; piece != nullptr; piece = piece->next()) {
    if (piece->borrows()) return false;
  }
  const auto unfit = [](ChecksumVerdict verdict) {
    return verdict == ChecksumVerdict::kBad || verdict == ChecksumVerdict::kPartial;
  };
  return !packet.offload.any() && packet.coalesced_segments() == 0 && !unfit(packet.l3_checksum) &&
         !unfit(packet.l4_checksum);
}

bool SameMetadata(const Packet& a, const Packet& b) {
  return a.ingress_port == b.ingress_port && a.vlan_stripped == b.vlan_stripped && a.vlan_tci == b.vlan_tci &&
         a.mark() == b.mark();
}

}  // namespace

// The first.
// ---------------------------------------------------------------------------------------------------------

// In whole blocks, where that does not reach past the frame.
void CoalesceUnit::CopyHeaders(const Packet& packet) {
  const uint8_t* const data = packet.data();
  if (packet.head_length() < next_.headers.size()) {
    std::memcpy(next_.headers.data(), data, shape_.header);
    return;
  }
  for (size_t at = 0; at < shape_.header; at += CoalesceShape::kBlock) {
    std::memcpy(&next_.headers[at], data + at, CoalesceShape::kBlock);
  }
}

bool CoalesceUnit::StartTcp() {
  uint8_t& flags = HeaderAt<TcpHeader>(next_.headers.data(), shape_.l4)->flags;
  more_flags_ = flags & kFirstOnly;
  // Written only if need be: the next load of the whole block would wait for a byte that was just stored.
  if (more_flags_ != 0) flags &= static_cast<uint8_t>(~kFirstOnly);
  return (flags & (kNever | kEnding)) == 0 && (flags & TcpHeader::kAck) != 0;
}

bool CoalesceUnit::StartHeaders(Packet& packet) {
  CopyHeaders(packet);
  more_flags_ = 0;
  if (shape_.tcp && !StartTcp()) return false;
  covered_ = shape_.tunnel_l4 != 0 && First<UdpHeader>(shape_.tunnel_l4).checksum != Be16();
  return LengthsFit(packet) && Ipv4ChecksumsAreGood() && L4ChecksumsFit(packet);
}

bool CoalesceUnit::Start(Packet& packet, const CoalesceShapes::Numbered& shape,
                         const CoalesceOptions& options) {
  const uint32_t length = packet.length();
  if (length <= shape.shape.header || length > 0xffff || !IsPlain(packet)) return false;
  shape_ = shape.shape;
  next_.shape_number = shape.number;
  size_ = static_cast<uint16_t>(length - shape_.header);
  if (!StartHeaders(packet)) return false;
  Bound(options);
  if (next_.left == 0) return false;

  data_ = packet.data();
  first_ = next_.last_piece = &packet;
  while (next_.last_piece->next() != nullptr) next_.last_piece = next_.last_piece->next();
  missing_ = 0;
  last_seen_ = false;
  next_.sums = {};
  next_.SumOf(next_.left + 1u, size_) = uint32_t{ChecksumOf(data_)} + more_flags_;
  Foresee(packet);
  return true;
}

// How many more of full size there may be.
void CoalesceUnit::Bound(const CoalesceOptions& options) {
  const uint32_t bytes = options.max_bytes < full() ? 0 : (options.max_bytes - full()) / size_;
  next_.left = most_ = static_cast<uint16_t>(std::min<uint32_t>(bytes, options.max_segments - 1u));
}

// Nothing is foreseen where a counter would carry, or where more is to be looked at than headers and line 0.
void CoalesceUnit::Foresee(const Packet& packet) {
  const std::array<uint64_t, 2> known = packet.known();
  next_.known = known[0];
  next_.known_more = static_cast<uint32_t>(known[1]);
  next_.step = shape_.tcp ? size_ : uint16_t{0};
  GuessIds();
  CountFrom(data_);
  const bool foreseen = !covered_ && packet.mark() == 0 && !IdsWrap();
  next_.lengths = foreseen ? full() * CoalesceForeseen::kBothLengths : CoalesceForeseen::kNone;
}

// Whether an id may become zero. A checksum that does, and is 0xfffe next, makes the counter differ in the protocol too,
// and so foresees nothing that is.
bool CoalesceUnit::IdsWrap() const {
  bool wrap = false;
  for (size_t i = 0; i < shape_.ips; ++i) {
    wrap |= shape_.ip[i].ipv4 && First<Ipv4Header>(shape_.ip[i].at).id.get() > kMinusZero - next_.left;
  }
  return wrap;
}

// Until the second segment tells. Zero is what those send who do not count.
void CoalesceUnit::GuessIds() {
  if (!shape_.counts_ids) return;
  for (size_t i = 0; i < next_.ids.size(); ++i) SetStays(i, MayStay(i) && IdOf(data_, i) == 0);
}

void CoalesceUnit::CountFrom(const uint8_t* data) {
  next_.sequence = SequenceOf(data) + next_.step;
  for (size_t i = 0; i < next_.ids.size(); ++i)
    next_.ids[i] = BigAt(data, shape_.counters[1 + i]) + shape_.id_step(i, next_.shape_number);
}

// The next.
// ---------------------------------------------------------------------------------------------------------

bool CoalesceUnit::LengthsFit(const Packet& packet) const {
  const uint8_t* const data = packet.data();
  const uint32_t length = packet.length();
  bool fit = true;
  for (size_t i = 0; i < shape_.ips; ++i) {
    const auto [at, ipv4] = shape_.ip[i];
    fit &= ipv4 ? HeaderAt<Ipv4Header>(data, at)->total_length.get() == length - at
                : HeaderAt<Ipv6Header>(data, at)->payload_length.get() == length - at - sizeof(Ipv6Header);
  }
  if (!shape_.tcp) fit &= HeaderAt<UdpHeader>(data, shape_.l4)->length.get() == length - shape_.l4;
  if (shape_.tunnel_l4 != 0) {
    fit &= HeaderAt<UdpHeader>(data, shape_.tunnel_l4)->length.get() == length - shape_.tunnel_l4;
  }
  return fit;
}

bool CoalesceUnit::SequenceFollows(const uint8_t* data) const {
  const uint32_t first = First<TcpHeader>(shape_.l4).sequence.get();
  return HeaderAt<TcpHeader>(data, shape_.l4)->sequence.get() == first + segments() * size_;
}

// Those of the second segment do either way.
bool CoalesceUnit::IdFollows(const uint8_t* data, size_t i) const {
  const auto ahead = static_cast<uint16_t>(IdOf(data, i) - IdOf(next_.headers.data(), i));
  const bool counts = ahead == segments();
  const bool stays = ahead == 0 && MayStay(i);
  if (segments() == 1) return counts || stays;
  return Stays(i) ? stays : counts;
}

bool CoalesceUnit::IdsFollow(const uint8_t* data) const {
  return !shape_.counts_ids || (IdFollows(data, 0) && IdFollows(data, 1));
}

// From the second segment, which joins.
void CoalesceUnit::DecideIds(const uint8_t* data) {
  if (!shape_.counts_ids) return;
  for (size_t i = 0; i < next_.ids.size(); ++i) {
    SetStays(i, IdOf(data, i) == IdOf(next_.headers.data(), i));
  }
}

bool CoalesceUnit::Ipv4ChecksumsAreGood() const {
  for (size_t i = 0; i < shape_.ips; ++i) {
    if (!shape_.ip[i].ipv4) continue;
    const auto& ip = First<Ipv4Header>(shape_.ip[i].at);
    const auto* const bytes = reinterpret_cast<const uint8_t*>(&ip);
    if (Modulo(SumOfWords(bytes, ip.header_length())) != 0 || ip.checksum.get() == kMinusZero) return false;
  }
  return true;
}

// As those of the first are, when all else is alike.
bool CoalesceUnit::Ipv4ChecksumsFit(const uint8_t* data) const {
  for (size_t i = 0; i < shape_.ips; ++i) {
    if (!shape_.ip[i].ipv4) continue;
    const auto& ip = *HeaderAt<Ipv4Header>(data, shape_.ip[i].at);
    if (ip.checksum.get() == kMinusZero || VaryingIn(ip) != VaryingIn(First<Ipv4Header>(shape_.ip[i].at))) {
      return false;
    }
  }
  return true;
}

uint32_t CoalesceUnit::SequenceOf(const uint8_t* data) const {
  return HeaderAt<Be32>(data, shape_.counters[0])->get();
}
uint16_t CoalesceUnit::ChecksumOf(const uint8_t* data) const {
  return HeaderAt<Be16>(data, shape_.sum_at)->get();
}

bool CoalesceUnit::IsCanonical(const uint8_t* data) const {
  const uint16_t checksum = ChecksumOf(data);
  return shape_.tcp ? checksum != kMinusZero : (checksum != 0) == shape_.summed;
}

// A verdict is about the innermost; that of a tunnel's UDP header, where there is one, is verified here in any case.
bool CoalesceUnit::L4ChecksumsFit(Packet& packet) const {
  const uint8_t* const data = packet.data();
  if (!IsCanonical(data)) return false;
  ChecksumVerdict& verdict = packet.l4_checksum;
  if (verdict == ChecksumVerdict::kUnknown) verdict = VerifyL4Checksum(packet, LayerSet::kInnermost);
  if (shape_.tunnel_l4 != 0) {
    const bool covered = HeaderAt<UdpHeader>(data, shape_.tunnel_l4)->checksum != Be16();
    if (covered != covered_ || (covered && !shape_.summed)) return false;
    if (covered && VerifyL4Checksum(packet, LayerSet::kOuter) != ChecksumVerdict::kGood) {
      verdict = ChecksumVerdict::kBad;
    }
  }
  return verdict != ChecksumVerdict::kBad;
}

void CoalesceUnit::Hang(Packet& packet) {
  packet.TrimFront(shape_.header);
  PacketPtr piece(&packet);
  // Headers apart from their payload leave an empty piece, which no device likes.
  if (piece->head_length() == 0) [[unlikely]]
    piece = piece->Unlink();
  Packet* const next = piece.get();
  next_.last_piece->Link(std::move(piece));
  next_.last_piece = next;
  while (next_.last_piece->next() != nullptr) next_.last_piece = next_.last_piece->next();
}

// With the last, which has `flags` beyond those of the others. What it lacks in length is taken off all lengths summed.
void CoalesceUnit::End(uint32_t payload, uint8_t flags) {
  last_seen_ = true;
  missing_ = static_cast<uint16_t>(size_ - payload);
  more_flags_ |= flags;
  next_.SumOf(next_.left, size_) += flags + LengthsIn(Negative(missing_));
}

CoalesceUnit::Verdict CoalesceUnit::JoinAny(Packet& packet, const LayerOffsets& at) {
  const uint32_t payload = packet.length() - at.payload;
  if (const auto refusal = Refuse(packet, at, payload)) return {.end = *refusal};
  const uint8_t* const data = packet.data();
  const uint8_t flags = shape_.tcp ? HeaderAt<TcpHeader>(data, shape_.l4)->flags & kEnding : uint8_t{0};
  if (segments() == 1) DecideIds(data);
  next_.SumOf(next_.left, size_) += ChecksumOf(data);
  if (flags != 0 || payload < size_) End(payload, flags);
  CountFrom(data);
  --next_.left;
  Hang(packet);
  return {.joins = true};
}

// Rule by rule, the cheap ones first.
std::optional<CoalesceEnd> CoalesceUnit::Refuse(Packet& packet, const LayerOffsets& at,
                                                uint32_t payload) const {
  const uint8_t* const data = packet.data();
  if (payload == 0 || !IsPlain(packet)) return CoalesceEnd::kOther;
  const bool tcp = at.l4_type == L4Type::kTcp;
  if (tcp && (HeaderAt<TcpHeader>(data, at.l4)->flags & kNever) != 0) return CoalesceEnd::kOther;
  if (at.payload != shape_.header || payload > size_ ||
      HeadersDiffer(shape_.alike, data, next_.headers.data(), shape_.header) ||
      !SameMetadata(packet, *first_)) {
    return CoalesceEnd::kDifference;
  }
  if (tcp) {
    const uint8_t flags = HeaderAt<TcpHeader>(data, shape_.l4)->flags;
    if (((flags ^ First<TcpHeader>(shape_.l4).flags) & ~kEnding) != 0) return CoalesceEnd::kDifference;
    if (!SequenceFollows(data)) return CoalesceEnd::kOrder;
  }
  if (!IdsFollow(data)) return CoalesceEnd::kOrder;
  if (!Ipv4ChecksumsFit(data) || !LengthsFit(packet) || !L4ChecksumsFit(packet)) return CoalesceEnd::kOther;
  return std::nullopt;
}

// All together.
// ---------------------------------------------------------------------------------------------------------

// From the headers of the first, as they came.
void CoalesceUnit::PatchIp(uint8_t* data) const {
  for (size_t i = 0; i < shape_.ips; ++i) {
    const auto [at, ipv4] = shape_.ip[i];
    const auto whole = static_cast<uint16_t>(length() - at);
    if (ipv4) {
      const auto& before = First<Ipv4Header>(at);
      auto* const ip = HeaderAt<Ipv4Header>(data, at);
      ip->total_length = whole;
      ip->checksum =
          AsField(uint64_t{before.checksum.get()} + before.total_length.get() + (kMinusZero - whole));
    } else {
      HeaderAt<Ipv6Header>(data, at)->payload_length = static_cast<uint16_t>(whole - sizeof(Ipv6Header));
    }
  }
}

// An L4 length is summed in the pseudo-header, and in UDP's own.
uint32_t CoalesceUnit::LengthsIn(uint32_t l4_length) const { return shape_.tcp ? l4_length : 2 * l4_length; }

// What all segments of full size have in common under the L4 checksum: pseudo-header and header, but for sequence and
// checksum. Of UDP, which has no sequence, but for the word that stands for it. Not reduced: below 2^41.
uint64_t CoalesceUnit::FixedSum() const {
  const auto [at, ipv4] = shape_.innermost();
  const size_t addresses = at + (ipv4 ? offsetof(Ipv4Header, source) : offsetof(Ipv6Header, source));
  const uint32_t protocol = static_cast<uint32_t>(shape_.tcp ? IpProtocol::kTcp : IpProtocol::kUdp);
  const uint64_t sum =
      SumOfWords(&next_.headers[addresses], 2 * (ipv4 ? sizeof(Ipv4Address) : sizeof(Ipv6Address))) +
      SumOfWords(&next_.headers[shape_.l4], shape_.header - size_t{shape_.l4}) + protocol +
      (full() - shape_.l4);
  return kZero + sum - SequenceOf(next_.headers.data()) - ChecksumOf(next_.headers.data());
}

// From the checksums of the segments, which are right: pseudo-header, header and payload of each make zero. A payload at an
// even place is so -(fixed + sequence + checksum), and one at an odd place that with its bytes swapped (RFC 1071, 2 (B)).
uint16_t CoalesceUnit::JoinedChecksum() const {
  const uint64_t fixed = FixedSum();
  const uint64_t sequence = SequenceOf(next_.headers.data());
  const uint32_t odd = size_ % 2 != 0 ? segments() / 2 : 0;
  const uint32_t even = segments() - odd;
  const uint32_t stride = odd != 0 ? 2u * next_.step : next_.step;
  const size_t first = (most_ + size_t{1}) & size_ & 1u;
  uint64_t negative_payload = even * fixed + SumOfSequences(sequence, stride, even) + next_.sums[first];
  if (odd != 0) {
    negative_payload += Swapped(
        Modulo(odd * fixed + SumOfSequences(sequence + next_.step, stride, odd) + next_.sums[1 - first]));
  }
  const uint64_t header = fixed + LengthsIn(length() - full()) + sequence + more_flags_;
  return AsField(kZero + negative_payload - header);
}

void CoalesceUnit::PatchL4(uint8_t* data) const {
  if (shape_.tcp) {
    auto* const tcp = HeaderAt<TcpHeader>(data, shape_.l4);
    tcp->checksum = JoinedChecksum();
    tcp->flags = First<TcpHeader>(shape_.l4).flags | more_flags_;
    return;
  }
  auto* const udp = HeaderAt<UdpHeader>(data, shape_.l4);
  if (shape_.summed) udp->checksum = NotAbsent(JoinedChecksum());
  udp->length = static_cast<uint16_t>(length() - shape_.l4);
}

namespace {

ChecksumSum PseudoHeaderAt(const uint8_t* data, CoalesceShape::Ip ip, IpProtocol protocol, uint32_t length) {
  return ip.ipv4 ? PseudoHeader(*HeaderAt<Ipv4Header>(data, ip.at), protocol, length)
                 : PseudoHeader(*HeaderAt<Ipv6Header>(data, ip.at), protocol, length);
}

}  // namespace

// The tunnel's UDP header. What its checksum covers ends with an L4 segment that makes, with its right checksum, the
// negative of its pseudo-header: so no payload is read.
void CoalesceUnit::PatchCover(uint8_t* data) const {
  const size_t at = shape_.tunnel_l4;
  auto* const udp = HeaderAt<UdpHeader>(data, at);
  const auto whole = static_cast<uint16_t>(length() - at);
  udp->length = whole;
  if (!covered_) return;
  udp->checksum = uint16_t{0};
  ChecksumSum sum = PseudoHeaderAt(data, shape_.ip[0], IpProtocol::kUdp, whole);
  sum.Add(absl::MakeConstSpan(data + at, shape_.l4 - at));
  const IpProtocol protocol = shape_.tcp ? IpProtocol::kTcp : IpProtocol::kUdp;
  const ChecksumSum inside = PseudoHeaderAt(data, shape_.innermost(), protocol, length() - shape_.l4);
  udp->checksum =
      NotAbsent(AsField(Negative(Modulo(uint64_t{sum.folded()} + Negative(Modulo(inside.folded()))))));
}

Packet* CoalesceUnit::Finish() {
  next_.lengths = CoalesceForeseen::kNone;
  if (segments() == 1) return first_;
  PatchIp(data_);
  PatchL4(data_);
  if (shape_.tunnel_l4 != 0) PatchCover(data_);
  first_->CountLinked(length() - full());
  first_->set_coalesced(static_cast<uint16_t>(segments()), size_, fixed_ids());
  return first_;
}

void CoalesceUnit::PrefetchFinish() const {
  for (size_t i = 0; i < 2; ++i) {
    __builtin_prefetch(data_ + i * kCacheLine, 1);
    __builtin_prefetch(reinterpret_cast<const uint8_t*>(first_) + i * kCacheLine, 1);
  }
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
// Which packets are segments of one, and how they become it.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "packet/coalesce_unit_internal.h"
#include "sluice/packet/checksum.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

constexpr uint8_t kEnding = TcpHeader::kPsh | TcpHeader::kFin;
constexpr uint8_t kFirstOnly = TcpHeader::kCwr;
constexpr uint8_t kNever = TcpHeader::kSyn | TcpHeader::kRst | TcpHeader::kUrg;
constexpr uint16_t kMinusZero = 0xffff;

// Sums of 16-bit words as residues modulo 0xffff, in which a right checksum makes zero of what it covers (RFC 1071).
uint32_t Modulo(uint64_t sum) { return static_cast<uint32_t>(sum % 0xffff); }
uint32_t Negative(uint32_t residue) { return residue == 0 ? 0 : 0xffff - residue; }
uint32_t Swapped(uint32_t residue) { return __builtin_bswap16(static_cast<uint16_t>(residue)); }
// What a sender writes: never minus zero, for no header adds up to plain zero; but in UDP, where zero means absent.
uint16_t AsField(uint32_t negative_sum) { return static_cast<uint16_t>(Modulo(negative_sum)); }
uint16_t NotAbsent(uint16_t udp_checksum) { return udp_checksum == 0 ? kMinusZero : udp_checksum; }

uint32_t Words(uint32_t value) { return (value >> 16) + (value & 0xffff); }

// Three words, folded; not zero, as the length among them is not.
uint32_t IpSum(const Ipv4Header& ip) {
  const uint32_t sum = uint32_t{ip.total_length.get()} + ip.id.get() + ip.checksum.get();
  const uint32_t once = Words(sum);
  return Words(once);
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

void CoalesceUnit::Clear(uint32_t at, uint32_t bytes, Mask& mask) {
  const uint64_t bits = uint64_t{bytes} << at % kBlock;
  mask[at / kBlock] &= ~static_cast<uint32_t>(bits);
  if (bits >> kBlock != 0) mask[at / kBlock + 1] &= ~static_cast<uint32_t>(bits >> kBlock);
}

// `bytes` has a bit for each, from `at`.
void CoalesceUnit::Ignore(uint32_t at, uint32_t bytes) { Clear(at, bytes, alike_); }

void CoalesceUnit::ReadLayout(const Packet& packet, const LayerOffsets& at) {
  const Layers& layers = packet.layers();
  header_ = at.payload;
  l4_ = at.l4;
  tcp_ = at.l4_type == L4Type::kTcp;
  ips_ = 0;
  blocks_ = static_cast<uint8_t>((header_ + kBlock - 1) / kBlock);
  alike_.fill(~uint32_t{0});
  if (header_ % kBlock != 0) alike_[header_ / kBlock] = (uint32_t{1} << header_ % kBlock) - 1;
  exact_ = alike_;
  tunnel_l4_ = layers.tunnel == TunnelType::kNone ? uint16_t{0} : layers.outer.l4;
  std::memcpy(headers_.data(), packet.data(), header_);
}

// Left out of what is alike: total length, id, checksum; payload length.
bool CoalesceUnit::ReadIp(const Packet& packet, const LayerOffsets& at, LayerSet which) {
  Ip& ip = ip_[ips_++];
  ip = {.at = at.l3, .ipv4 = at.l3_type == L3Type::kIpv4, .sum = 0};
  if (!ip.ipv4) {
    Ignore(at.l3, 0b11'0000);
    return at.l4 == at.l3 + sizeof(Ipv6Header);
  }
  Ignore(at.l3, 0b1100'0011'1100);
  const auto& header = *HeaderAt<Ipv4Header>(headers_.data(), at.l3);
  ip.sum = IpSum(header);
  return header.checksum.get() != kMinusZero && VerifyIpv4Checksum(packet, which) == ChecksumVerdict::kGood;
}

bool CoalesceUnit::StartLayers(const Packet& packet, const LayerOffsets& at) {
  covered_ = false;
  if (tunnel_l4_ == 0) return ReadIp(packet, at, LayerSet::kOuter);
  Ignore(tunnel_l4_, 0b1111'0000);
  covered_ = HeaderAt<UdpHeader>(headers_.data(), tunnel_l4_)->checksum != Be16();
  if (covered_) Clear(tunnel_l4_, 0b1100'0000, exact_);
  return ReadIp(packet, packet.layers().outer, LayerSet::kOuter) && ReadIp(packet, at, LayerSet::kInner);
}

bool CoalesceUnit::StartTcp() {
  Ignore(l4_, 0b11'0010'0000'1111'0000);
  Clear(l4_, 0b11'0000'0000'0000'0000, exact_);
  summed_ = true;
  sum_at_ = static_cast<uint16_t>(l4_ + offsetof(TcpHeader, checksum));
  unfit_sum_ = kMinusZero;
  const uint8_t flags = HeaderAt<TcpHeader>(headers_.data(), l4_)->flags;
  return (flags & (kNever | kEnding)) == 0 && (flags & TcpHeader::kAck) != 0;
}

void CoalesceUnit::StartUdp() {
  Ignore(l4_, 0b1111'0000);
  summed_ = HeaderAt<UdpHeader>(headers_.data(), l4_)->checksum != Be16();
  sum_at_ = static_cast<uint16_t>(l4_ + offsetof(UdpHeader, checksum));
  unfit_sum_ = summed_ ? 0 : kMinusZero;  // without one, each is foreseen to be zero
  if (summed_) Clear(l4_, 0b1100'0000, exact_);
}

bool CoalesceUnit::Start(Packet& packet, const LayerOffsets& at, const CoalesceOptions& options) {
  const uint32_t length = packet.length();
  if (at.payload > Coalescer::kMostHeader || length <= at.payload || length > 0xffff || !IsPlain(packet)) {
    return false;
  }
  ReadLayout(packet, at);
  if (tcp_ && !StartTcp()) return false;
  if (!tcp_) StartUdp();
  if (!StartLayers(packet, at) || !LengthsFit(packet) || !L4ChecksumsFit(packet)) return false;

  full_ = length;
  size_ = static_cast<uint16_t>(length - header_);
  Bound(options);
  if (left_ == 0) return false;
  first_ = last_piece_ = &packet;
  while (last_piece_->next() != nullptr) last_piece_ = last_piece_->next();
  known_ = packet.known();
  quick_ = !covered_ && packet.mark() == 0 && size_ >= kBlock;

  segments_ = 0;
  length_ = header_;
  ending_ = 0;
  last_seen_ = false;
  varying_ = {};
  Take(packet.data(), size_);
  if (tcp_) HeaderAt<TcpHeader>(headers_.data(), l4_)->flags &= static_cast<uint8_t>(~kFirstOnly);
  const uint32_t l4_length = full_ - l4_;
  fixed_varying_ = tcp_ ? l4_length + HeaderAt<TcpHeader>(headers_.data(), l4_)->flags : 2 * l4_length;
  Foresee();
  return true;
}

// How many more of full size there may be.
void CoalesceUnit::Bound(const CoalesceOptions& options) {
  const uint32_t bytes = options.max_bytes < full_ ? 0 : (options.max_bytes - full_) / size_;
  left_ = static_cast<uint16_t>(std::min<uint32_t>(bytes, options.max_segments - 1u));
}

// The next.
// ---------------------------------------------------------------------------------------------------------

// The last block may reach past the headers, but not past the buffer.
bool CoalesceUnit::AgreesIn(const Packet& packet, const Mask& mask) const {
  if (packet.headroom() + blocks_ * kBlock <= packet.buffer_size()) return Agrees(packet.data(), mask);
  std::array<uint8_t, Coalescer::kMostHeader> copy;
  std::memcpy(copy.data(), packet.data(), header_);
  return Agrees(copy.data(), mask);
}

bool CoalesceUnit::LengthsFit(const Packet& packet) const {
  const uint8_t* const data = packet.data();
  const uint32_t length = packet.length();
  bool fit = true;
  for (size_t i = 0; i < ips_; ++i) {
    const Ip& ip = ip_[i];
    fit &= ip.ipv4 ? HeaderAt<Ipv4Header>(data, ip.at)->total_length.get() == length - ip.at
                   : HeaderAt<Ipv6Header>(data, ip.at)->payload_length.get() ==
                         length - ip.at - sizeof(Ipv6Header);
  }
  if (!tcp_) fit &= HeaderAt<UdpHeader>(data, l4_)->length.get() == length - l4_;
  if (tunnel_l4_ != 0) fit &= HeaderAt<UdpHeader>(data, tunnel_l4_)->length.get() == length - tunnel_l4_;
  return fit;
}

bool CoalesceUnit::IdsFollow(const uint8_t* data) const {
  bool follow = true;
  for (size_t i = 0; i < ips_; ++i) {
    const size_t at = ip_[i].at;
    if (!ip_[i].ipv4) continue;
    follow &= HeaderAt<Ipv4Header>(data, at)->id == HeaderAt<Ipv4Header>(headers_.data(), at)->id;
  }
  return follow;
}

bool CoalesceUnit::IpChecksumsFit(const uint8_t* data) const {
  for (size_t i = 0; i < ips_; ++i) {
    if (!ip_[i].ipv4) continue;
    const auto& ip = *HeaderAt<Ipv4Header>(data, ip_[i].at);
    if (IpSum(ip) != ip_[i].sum || ip.checksum.get() == kMinusZero) return false;
  }
  return true;
}

bool CoalesceUnit::IsCanonical(const uint8_t* data) const {
  if (tcp_) return HeaderAt<TcpHeader>(data, l4_)->checksum.get() != kMinusZero;
  return (HeaderAt<UdpHeader>(data, l4_)->checksum != Be16()) == summed_;
}

// A verdict is about the innermost; that of a tunnel's UDP header, where there is one, is verified here in any case.
bool CoalesceUnit::L4ChecksumsFit(Packet& packet) const {
  const uint8_t* const data = packet.data();
  if (!IsCanonical(data)) return false;
  ChecksumVerdict& verdict = packet.l4_checksum;
  if (verdict == ChecksumVerdict::kUnknown) {
    verdict = VerifyL4Checksum(packet, tunnel_l4_ == 0 ? LayerSet::kOuter : LayerSet::kInner);
  }
  if (tunnel_l4_ != 0) {
    const bool covered = HeaderAt<UdpHeader>(data, tunnel_l4_)->checksum != Be16();
    if (covered != covered_ || (covered && !summed_)) return false;
    if (covered && VerifyL4Checksum(packet, LayerSet::kOuter) != ChecksumVerdict::kGood) {
      verdict = ChecksumVerdict::kBad;
    }
  }
  return verdict != ChecksumVerdict::kBad;
}

// The words under the L4 checksum, itself among them, that differ between segments, but for the payload.
inline uint32_t CoalesceUnit::VaryingSum(const uint8_t* data, uint32_t l4_length) const {
  if (!tcp_) return 2 * l4_length + HeaderAt<UdpHeader>(data, l4_)->checksum.get();
  const auto& tcp = *HeaderAt<TcpHeader>(data, l4_);
  return l4_length + Words(tcp.sequence.get()) + tcp.flags + tcp.checksum.get();
}

inline void CoalesceUnit::Take(const uint8_t* data, uint32_t payload) {
  const bool odd = (length_ - header_) % 2 != 0;
  varying_[odd] += VaryingSum(data, header_ - l4_ + payload);
  length_ += payload;
  ++segments_;
}

void CoalesceUnit::Hang(Packet& packet) {
  packet.TrimFront(header_);
  PacketPtr piece(&packet);
  // Headers apart from their payload leave an empty piece, which no device likes.
  if (piece->head_length() == 0) [[unlikely]]
    piece = piece->Unlink();
  Packet* const next = piece.get();
  last_piece_->Link(std::move(piece));
  last_piece_ = next;
  while (last_piece_->next() != nullptr) last_piece_ = last_piece_->next();
}

CoalesceUnit::Verdict CoalesceUnit::JoinAny(Packet& packet, const LayerOffsets& at) {
  const uint32_t payload = packet.length() - at.payload;
  if (const auto refusal = Refuse(packet, at, payload)) return {.end = *refusal};
  const uint8_t* const data = packet.data();
  if (tcp_) ending_ = HeaderAt<TcpHeader>(data, l4_)->flags & kEnding;
  last_seen_ = ending_ != 0 || payload < size_;
  left_ = static_cast<uint16_t>(last_seen_ ? 0 : left_ - 1);
  Take(data, payload);
  Hang(packet);
  Foresee();
  return {.joins = true};
}

// Rule by rule, the cheap ones first.
std::optional<CoalesceEnd> CoalesceUnit::Refuse(Packet& packet, const LayerOffsets& at, uint32_t payload) {
  const uint8_t* const data = packet.data();
  if (payload == 0 || !IsPlain(packet)) return CoalesceEnd::kOther;
  if (at.l4_type == L4Type::kTcp && (HeaderAt<TcpHeader>(data, at.l4)->flags & kNever) != 0) {
    return CoalesceEnd::kOther;
  }
  if (at.payload != header_ || payload > size_ || !AgreesIn(packet, alike_) ||
      !SameMetadata(packet, *first_)) {
    return CoalesceEnd::kDifference;
  }
  if (tcp_) {
    const auto& tcp = *HeaderAt<TcpHeader>(data, l4_);
    const auto& next = *HeaderAt<TcpHeader>(headers_.data(), l4_);
    if (((tcp.flags ^ next.flags) & ~kEnding) != 0) return CoalesceEnd::kDifference;
    if (tcp.sequence != next.sequence) return CoalesceEnd::kOrder;
  }
  if (!IdsFollow(data)) return CoalesceEnd::kOrder;
  if (!IpChecksumsFit(data) || !LengthsFit(packet) || !L4ChecksumsFit(packet)) return CoalesceEnd::kOther;
  return std::nullopt;
}

// All together.
// ---------------------------------------------------------------------------------------------------------

void CoalesceUnit::PatchIp(uint8_t* data) const {
  for (size_t i = 0; i < ips_; ++i) {
    const Ip& ip = ip_[i];
    const auto length = static_cast<uint16_t>(length_ - ip.at);
    if (ip.ipv4) {
      auto* const header = HeaderAt<Ipv4Header>(data, ip.at);
      header->total_length = length;
      header->checksum = AsField(ip.sum + Negative(Modulo(length)) + Negative(Modulo(header->id.get())));
    } else {
      HeaderAt<Ipv6Header>(data, ip.at)->payload_length = static_cast<uint16_t>(length - sizeof(Ipv6Header));
    }
  }
}

namespace {

ChecksumSum PseudoHeaderAt(const uint8_t* data, uint32_t at, bool ipv4, IpProtocol protocol,
                           uint32_t length) {
  return ipv4 ? PseudoHeader(*HeaderAt<Ipv4Header>(data, at), protocol, length)
              : PseudoHeader(*HeaderAt<Ipv6Header>(data, at), protocol, length);
}

}  // namespace

uint32_t CoalesceUnit::PseudoHeaderSum(const uint8_t* data, uint32_t l4_length) const {
  const Ip& ip = ip_[ips_ - 1];
  const IpProtocol protocol = tcp_ ? IpProtocol::kTcp : IpProtocol::kUdp;
  return Modulo(PseudoHeaderAt(data, ip.at, ip.ipv4, protocol, l4_length).folded());
}

// `first` has the headers of the first segment, lengths in IP apart.
//
// From the checksums of the segments, which are right: pseudo-header, header and payload of each make zero. With
// `fixed` the sum of what is alike in all, a payload at an even place is -(fixed + varying), and one at an odd place
// that with its bytes swapped (RFC 1071, 2 (B)).
uint16_t CoalesceUnit::JoinedChecksum(const uint8_t* first) const {
  const uint32_t first_length = header_ - l4_ + uint32_t{size_};
  ChecksumSum header;
  header.Add(absl::MakeConstSpan(first + l4_, header_ - size_t{l4_}));
  const uint32_t fixed = Modulo(PseudoHeaderSum(first, first_length) + uint64_t{header.folded()} +
                                Negative(Modulo(VaryingSum(first, first_length))));

  const uint32_t odd = size_ % 2 != 0 ? segments_ / 2u : 0;
  const uint32_t even = segments_ - odd;
  const uint32_t payload = Negative(Modulo(uint64_t{even} * fixed + varying_[0])) +
                           Swapped(Negative(Modulo(uint64_t{odd} * fixed + varying_[1])));

  const uint32_t length = length_ - l4_;
  uint32_t varying = 2 * length;
  if (tcp_) {
    const auto& tcp = *HeaderAt<TcpHeader>(first, l4_);
    varying = length + Words(tcp.sequence.get()) + uint32_t{tcp.flags} + ending_;
  }
  return AsField(Negative(Modulo(uint64_t{fixed} + payload + varying)));
}

void CoalesceUnit::PatchL4(uint8_t* data) const {
  if (tcp_) {
    auto* const tcp = HeaderAt<TcpHeader>(data, l4_);
    tcp->checksum = JoinedChecksum(data);
    tcp->flags |= ending_;
    return;
  }
  auto* const udp = HeaderAt<UdpHeader>(data, l4_);
  if (summed_) udp->checksum = NotAbsent(JoinedChecksum(data));
  udp->length = static_cast<uint16_t>(length_ - l4_);
}

// The tunnel's UDP header. What its checksum covers ends with an L4 segment that makes, with its right checksum, the
// negative of its pseudo-header: so no payload is read.
void CoalesceUnit::PatchCover(uint8_t* data) const {
  auto* const udp = HeaderAt<UdpHeader>(data, tunnel_l4_);
  const uint32_t length = length_ - tunnel_l4_;
  udp->length = static_cast<uint16_t>(length);
  if (!covered_) return;
  udp->checksum = uint16_t{0};
  ChecksumSum sum = PseudoHeaderAt(data, ip_[0].at, ip_[0].ipv4, IpProtocol::kUdp, length);
  sum.Add(absl::MakeConstSpan(data + tunnel_l4_, size_t{l4_} - tunnel_l4_));
  const uint32_t inside = Negative(PseudoHeaderSum(data, length_ - l4_));
  udp->checksum = NotAbsent(AsField(Negative(Modulo(uint64_t{sum.folded()} + inside))));
}

Packet* CoalesceUnit::Finish() {
  if (segments_ > 1) {
    uint8_t* const data = first_->data();
    PatchIp(data);
    PatchL4(data);
    if (tunnel_l4_ != 0) PatchCover(data);
    first_->CountLinked(length_ - header_ - size_);
    first_->set_coalesced(segments_, size_);
  }
  return first_;
}

}  // namespace sluice

// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simple_coalescer.h"

#include <algorithm>
#include <cassert>
#include <optional>

#include "sluice/packet/checksum.h"
#include "sluice/packet/parse.h"

namespace sluice::testing {
namespace {

Layers LayersOf(const Bytes& frame) {
  Layers layers;
  Parse(frame, static_cast<uint32_t>(frame.size()), layers);
  return layers;
}

const LayerOffsets& Innermost(const Layers& layers) {
  return layers.tunnel == TunnelType::kNone ? layers.outer : layers.inner;
}

bool IsTcp(const Layers& layers) { return Innermost(layers).l4_type == L4Type::kTcp; }

uint16_t Get16(const Bytes& frame, size_t at) { return HeaderAt<Be16>(frame.data(), at)->get(); }
void Put16(Bytes& frame, size_t at, size_t value) {
  *HeaderAt<Be16>(frame.data(), at) = static_cast<uint16_t>(value);
}

// Lengths, and the checksum of IPv4.
void FixIp(Bytes& frame, const LayerOffsets& at) {
  if (at.l3_type == L3Type::kIpv6) return Put16(frame, at.l3 + 4u, frame.size() - at.l3 - 40);
  Put16(frame, at.l3 + 2u, frame.size() - at.l3);
  Put16(frame, at.l3 + 10u, 0);
  Put16(frame, at.l3 + 10u, SimpleChecksum(absl::MakeConstSpan(frame).subspan(at.l3, at.l4 - size_t{at.l3})));
}

void FixL4(Bytes& frame, const LayerOffsets& at) {
  const bool tcp = at.l4_type == L4Type::kTcp;
  const size_t field = at.l4 + (tcp ? 16u : 6u);
  if (!tcp) {
    Put16(frame, at.l4 + 4u, frame.size() - at.l4);
    if (Get16(frame, field) == 0) return;
  }
  Put16(frame, field, 0);
  const bool ipv4 = at.l3_type == L3Type::kIpv4;
  const size_t addresses = at.l3 + (ipv4 ? 12u : 8u);
  Bytes summed(frame.begin() + static_cast<ptrdiff_t>(addresses),
               frame.begin() + static_cast<ptrdiff_t>(addresses + (ipv4 ? 8 : 32)));
  summed.resize(summed.size() + 4);
  Put16(summed, summed.size() - 4, tcp ? 6 : 17);
  Put16(summed, summed.size() - 2, frame.size() - at.l4);
  summed.insert(summed.end(), frame.begin() + at.l4, frame.end());
  const uint16_t sum = SimpleChecksum(summed);
  Put16(frame, field, sum == 0 && !tcp ? 0xffff : sum);
}

void Fix(Bytes& frame, const Layers& layers) {
  FixIp(frame, Innermost(layers));
  FixL4(frame, Innermost(layers));
  if (layers.tunnel == TunnelType::kNone) return;
  FixIp(frame, layers.outer);
  FixL4(frame, layers.outer);
}

void CountId(Bytes& frame, const LayerOffsets& at, size_t segment, bool fixed) {
  if (at.l3_type != L3Type::kIpv4) return;
  const bool may_be_fixed = (Get16(frame, at.l3 + 6u) & Ipv4Header::kDontFragment) != 0;
  if (!fixed || !may_be_fixed) Put16(frame, at.l3 + 4u, Get16(frame, at.l3 + 4u) + segment);
}

// One that some other could follow, apart from its checksums and lengths.
bool MayBeSegment(const Layers& layers, const Bytes& frame, const CoalesceOptions& options) {
  const LayerOffsets& at = Innermost(layers);
  if (at.payload > Coalescer::kMostHeader || frame.size() <= at.payload) return false;
  for (const LayerOffsets* ip : {&layers.outer, &at}) {
    if (ip->l3_type == L3Type::kIpv6 && ip->l4 - ip->l3 != sizeof(Ipv6Header)) return false;
  }
  const bool absent = at.l4_type == L4Type::kUdp && Get16(frame, at.l4 + 6u) == 0;
  const bool covered = layers.tunnel != TunnelType::kNone && Get16(frame, layers.outer.l4 + 6u) != 0;
  if (absent && (covered || at.l3_type == L3Type::kIpv6)) return false;
  const uint8_t flags = IsTcp(layers) ? frame[at.l4 + 13u] : TcpHeader::kAck;
  constexpr uint8_t kNever = TcpHeader::kSyn | TcpHeader::kRst | TcpHeader::kUrg;
  return (flags & kNever) == 0 && (flags & TcpHeader::kAck) != 0 && frame.size() <= options.max_bytes;
}

// Addresses, ports, protocol and VNI; empty when the frame is of no flow that is looked at.
std::string FlowOf(const Layers& layers, const Bytes& frame, const CoalesceOptions& options) {
  const bool tunnel = layers.tunnel != TunnelType::kNone;
  const bool known = layers.tunnel == TunnelType::kVxlan || layers.tunnel == TunnelType::kGeneve;
  if (tunnel && (!known || layers.inner_verdict != ParseVerdict::kOk)) return "";
  const LayerOffsets& at = Innermost(layers);
  if (at.l4_type != L4Type::kTcp && at.l4_type != L4Type::kUdp) return "";
  if (IsTcp(layers) ? !options.tcp : !options.udp) return "";
  const bool ipv4 = at.l3_type == L3Type::kIpv4;
  const auto text = [&](size_t from, size_t n) {
    return std::string(frame.begin() + static_cast<ptrdiff_t>(from),
                       frame.begin() + static_cast<ptrdiff_t>(from + n));
  };
  return text(at.l3 + (ipv4 ? 12u : 8u), ipv4 ? 8 : 32) + text(at.l4, 4) + (IsTcp(layers) ? "t" : "u") +
         (tunnel ? text(layers.outer.payload + 4u, 4) : "");
}

size_t PayloadOf(const Bytes& frame) { return frame.size() - Innermost(LayersOf(frame)).payload; }

// With which ids the whole is cut into the same again, if with any.
std::optional<FixedIds> UndoneWith(const std::vector<Bytes>& frames) {
  const Bytes whole = JoinFrames(frames);
  for (const FixedIds ids :
       {FixedIds{}, FixedIds{.outer = true}, FixedIds{.inner = true}, FixedIds{true, true}}) {
    if (CutFrame(whole, PayloadOf(frames[0]), ids) == frames) return ids;
  }
  return std::nullopt;
}

}  // namespace

Bytes JoinFrames(const std::vector<Bytes>& frames) {
  Bytes joined = frames[0];
  const Layers layers = LayersOf(joined);
  const LayerOffsets& at = Innermost(layers);
  for (size_t i = 1; i < frames.size(); ++i) {
    joined.insert(joined.end(), frames[i].begin() + at.payload, frames[i].end());
  }
  constexpr uint8_t kEnding = TcpHeader::kPsh | TcpHeader::kFin;
  if (IsTcp(layers)) joined[at.l4 + 13u] |= static_cast<uint8_t>(frames.back()[at.l4 + 13u] & kEnding);
  Fix(joined, layers);
  return joined;
}

std::vector<Bytes> CutFrame(const Bytes& frame, size_t size, FixedIds ids) {
  const Layers layers = LayersOf(frame);
  const LayerOffsets& at = Innermost(layers);
  std::vector<Bytes> segments;
  for (size_t from = at.payload; from < frame.size(); from += size) {
    const size_t to = std::min(frame.size(), from + size);
    Bytes segment(frame.begin(), frame.begin() + at.payload);
    segment.insert(segment.end(), frame.begin() + static_cast<ptrdiff_t>(from),
                   frame.begin() + static_cast<ptrdiff_t>(to));
    CountId(segment, layers.outer, segments.size(), ids.outer);
    if (layers.tunnel != TunnelType::kNone) CountId(segment, layers.inner, segments.size(), ids.inner);
    if (IsTcp(layers)) {
      auto* const tcp = HeaderAt<TcpHeader>(segment.data(), at.l4);
      tcp->sequence = static_cast<uint32_t>(tcp->sequence.get() + from - at.payload);
      if (from != at.payload) tcp->flags &= static_cast<uint8_t>(~TcpHeader::kCwr);
      if (to != frame.size()) tcp->flags &= static_cast<uint8_t>(~(TcpHeader::kPsh | TcpHeader::kFin));
    }
    Fix(segment, layers);
    segments.push_back(segment);
  }
  return segments;
}

bool SimpleCoalescer::Complete(const Unit& unit) const {
  const Bytes& last = unit.frames.back();
  const Layers layers = LayersOf(last);
  const size_t size = PayloadOf(unit.frames[0]);
  const uint8_t flags = IsTcp(layers) ? last[Innermost(layers).l4 + 13u] : uint8_t{0};
  return (flags & (TcpHeader::kPsh | TcpHeader::kFin)) != 0 || PayloadOf(last) < size ||
         unit.frames.size() == options_.max_segments ||
         JoinFrames(unit.frames).size() + size > options_.max_bytes;
}

void SimpleCoalescer::Release(size_t unit) {
  const std::vector<Bytes>& frames = units_[unit].frames;
  Coalesced whole{.bytes = JoinFrames(frames)};
  if (frames.size() > 1) {
    whole.segments = static_cast<uint16_t>(frames.size());
    whole.size = static_cast<uint16_t>(PayloadOf(frames[0]));
    whole.ids = *UndoneWith(frames);
  }
  output_.push_back(whole);
  units_.erase(units_.begin() + static_cast<ptrdiff_t>(unit));
}

void SimpleCoalescer::Add(const Bytes& frame, Nanoseconds now) {
  const Layers layers = LayersOf(frame);
  const std::string flow = FlowOf(layers, frame, options_);
  const bool may = !flow.empty() && MayBeSegment(layers, frame, options_);

  for (size_t i = 0; i < units_.size() && !flow.empty(); ++i) {
    if (units_[i].flow != flow) continue;
    std::vector<Bytes> more = units_[i].frames;
    more.push_back(frame);
    const bool alike = Innermost(LayersOf(more[0])).payload == Innermost(layers).payload;
    if (may && alike && UndoneWith(more)) {
      units_[i].frames = more;
      if (Complete(units_[i])) Release(i);
      return;
    }
    Release(i);
    break;
  }
  const Unit unit{.flow = flow, .frames = {frame}, .since = now};
  if (!may || !UndoneWith(unit.frames) || Complete(unit)) {
    output_.push_back({.bytes = frame});
    return;
  }
  if (units_.size() == options_.flows) Release(0);
  units_.push_back(unit);
}

void SimpleCoalescer::Flush(Nanoseconds now) {
  const auto age = static_cast<Nanoseconds>(absl::ToInt64Nanoseconds(options_.max_age));
  while (!units_.empty() && units_[0].since + age <= now) Release(0);
}

void SimpleCoalescer::FlushAll() {
  while (!units_.empty()) Release(0);
}

CoalescerRig::CoalescerRig(PacketPool& pool, const CoalesceOptions& options)
    : pool_(pool), coalescer_(Coalescer::Create(options).value()) {}

void CoalescerRig::Add(const std::vector<Bytes>& frames, Nanoseconds now, ChecksumVerdict verdict) {
  Burst in;
  for (const Bytes& frame : frames) {
    PacketPtr packet = MakePacket(pool_, frame);
    assert(packet != nullptr);
    Parse(*packet);
    packet->l4_checksum = verdict;
    in.Push(std::move(packet));
    if (in.room() == 0) Give(in, now);
  }
  Give(in, now);
}

void CoalescerRig::Add(PacketPtr packet, Nanoseconds now) {
  Burst in;
  Parse(*packet);
  in.Push(std::move(packet));
  Give(in, now);
}

void CoalescerRig::Give(Burst& in, Nanoseconds now) {
  while (!in.empty()) {
    Burst out;
    coalescer_->Add(in, now, out);
    Collect(out);
  }
}

void CoalescerRig::Flush(Nanoseconds now) {
  for (Burst out; coalescer_->Flush(now, out) != 0; out.Clear()) Collect(out);
}

void CoalescerRig::FlushAll() {
  for (Burst out; coalescer_->FlushAll(out) != 0; out.Clear()) Collect(out);
}

void CoalescerRig::Collect(Burst& out) {
  for (Packet* packet : out) {
    output_.push_back({.bytes = BytesOf(*packet),
                       .segments = packet->coalesced_segments(),
                       .size = packet->coalesced_size(),
                       .ids = packet->coalesced_ids()});
    if (packet->coalesced_segments() == 0) continue;
    const Layers before = packet->layers();
    if (Parse(*packet) != ParseVerdict::kOk || packet->layers().inner_verdict != ParseVerdict::kOk) {
      complaint_ = "a joined packet does not parse";
    }
    if (Innermost(before).payload != Innermost(packet->layers()).payload)
      complaint_ = "layers are not the frame's";
    for (const LayerSet which : {LayerSet::kOuter, LayerSet::kInner}) {
      if (VerifyIpv4Checksum(*packet, which) == ChecksumVerdict::kBad) complaint_ = "a bad IPv4 checksum";
      if (VerifyL4Checksum(*packet, which) == ChecksumVerdict::kBad) complaint_ = "a bad L4 checksum";
    }
    if (packet->l4_checksum == ChecksumVerdict::kBad) complaint_ = "a joined packet is called bad";
  }
  out.Clear();
}

}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/parse_burst.h"

#include <cstring>

#include "packet/parse_burst_internal.h"
#include "packet/parse_usual_internal.h"

namespace sluice {
namespace {

// The flow of usual headers in no tunnel, and where they are, as a number, so that it need not be read back; 0, and nothing
// filled that counts, of all others.
template <typename Ip>
inline OffsetsWord ParsePlainIp(Extent in, uint32_t l3, ParsedPacketFlow& parsed) {
  const OffsetsWord offsets = ParseUsualIp<Ip>(in, l3);
  if (offsets == 0) return 0;
  const bool tcp = ProtocolIn(in.At<Ip>(l3)) == IpProtocol::kTcp;
  const auto& udp = in.At<UdpHeader>(l3 + uint32_t{sizeof(Ip)});
  if (!tcp && MayBeTunnel(udp.destination_port.get())) return 0;
  WriteUsualFlow<Ip>(in.data, l3, parsed.flow);
  parsed.has_flow = true;
  parsed.verdict = ParseVerdict::kOk;
  return offsets;
}

Extent WholeOf(const Packet& packet) {
  return {.data = packet.data(), .head = packet.head_length(), .end = packet.length()};
}

// The straight way of nearly all packets, by the bytes of each alone. Every question has one usual answer for each kind of
// traffic, which the processor foresees; no step waits for what another one has written.
inline OffsetsWord ParsePlain(Packet& packet, ParsedPacketFlow& parsed) {
  const Extent in = WholeOf(packet);
  Ethertype type;
  uint32_t at = 0;
  uint8_t tags;
  if (!SkipUsualEthernet(in, at, tags, type)) return 0;
  OffsetsWord offsets = 0;
  if (type == Ethertype::kIpv4) offsets = ParsePlainIp<Ipv4Header>(in, at, parsed);
  if (type == Ethertype::kIpv6) offsets = ParsePlainIp<Ipv6Header>(in, at, parsed);
  if (offsets == 0) return 0;
  Layers& layers = packet.layers();
  Write(offsets, layers.outer);
  Write(0, layers.inner);
  layers.inner_l2 = 0;
  layers.tunnel = TunnelType::kNone;
  layers.vlan_tags = tags & 3;
  layers.inner_verdict = ParseVerdict::kOk;
  return offsets;
}

void ParseOther(Packet& packet, LayerSet flows, ParsedPacketFlow& parsed) {
  const Extent in = WholeOf(packet);
  if (ParseUsual(in, packet.layers())) {
    parsed.verdict = ParseVerdict::kOk;
    const LayerOffsets& at = Select(packet.layers(), flows);
    parsed.has_flow = at.l3_type != L3Type::kNone;
    if (at.l3_type == L3Type::kIpv4) WriteUsualFlow<Ipv4Header>(in.data, at.l3, parsed.flow);
    if (at.l3_type == L3Type::kIpv6) WriteUsualFlow<Ipv6Header>(in.data, at.l3, parsed.flow);
    return;
  }
  parsed.verdict = ParseAny(absl::MakeConstSpan(in.data, in.head), in.end, packet.layers());
  parsed.has_flow = ExtractFlowKeyAt(packet.data(), Select(packet.layers(), flows), parsed.flow);
}

// What ParsePlain returns.
inline OffsetsWord ParseOneOf(const PacketRun& run, size_t i) {
  const OffsetsWord plain = run.flows == LayerSet::kInner ? 0 : ParsePlain(*run.packets[i], run.parsed[i]);
  if (plain == 0) [[unlikely]]
    ParseOther(*run.packets[i], run.flows, run.parsed[i]);
  return plain;
}

bool SameLayers(const Packet& a, const Packet& b) {
  return std::memcmp(&a.layers(), &b.layers(), sizeof(Layers)) == 0;
}

// From `first` on, each by itself, until a few in a row had the same layers; returns the next.
size_t ParseApart(const PacketRun& run, size_t first, Layers& expected) {
  constexpr size_t kFew = 4;
  size_t alike = 0;
  OffsetsWord before = 0;
  size_t i = first;
  for (; i < run.size && alike < kFew; ++i) {
    const OffsetsWord plain = ParseOneOf(run, i);
    bool same = plain == before;
    if (plain == 0) [[unlikely]]
      same = i > first && SameLayers(*run.packets[i - 1], *run.packets[i]);
    alike = same ? alike + 1 : 0;
    before = plain;
  }
  expected = alike == 0 ? Layers{} : run.packets[i - 1]->layers();
  return i;
}

}  // namespace

void ParseOneByOne(const PacketRun& run, Layers&) {
  constexpr size_t kAhead = 4;  // packets: what their headers take to come from memory
  for (size_t i = 0; i < run.size; ++i) {
    if (i + kAhead < run.size) __builtin_prefetch(run.packets[i + kAhead]->data());
    ParseOneOf(run, i);
  }
}

// A run is tried behind a few that are alike, and at the start of a burst if the last one ended so: traffic of
// many kinds would make many runs that end at once, which the processor does not foresee.
void ParseInRuns(const PacketRun& run, Layers& expected, ParseAlikeFunction* parse_alike) {
  size_t i = run.size == 0 ? 0 : parse_alike(run, 0, expected);
  while (i < run.size) {
    i = ParseApart(run, i, expected);
    if (i < run.size) i = parse_alike(run, i, expected);
  }
}

#if defined(__x86_64__)
constinit ParseRun parse_run({.scalar = &ParseOneByOne,
                              .avx2 = &ParseRunsAvx2,
                              .icelake = &ParseRunsIceLake});
#else
constinit ParseRun parse_run({.scalar = &ParseOneByOne});
#endif

void ParseBurst(Burst& burst, LayerSet flows, ParsedBurst& parsed) {
  parse_run(
      {.packets = burst.begin(), .size = burst.size(), .flows = flows, .parsed = parsed.packets_.data()},
      parsed.expected_);
}

}  // namespace sluice

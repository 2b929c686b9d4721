// SPDX-License-Identifier: Apache-2.0
// Runs of packets with the same headers in the same places, for processors with 32-byte vectors: of each level
// 16 bytes from the Ethertype on are compared at once, and the flow key is written in two pieces. Lengths,
// which differ from packet to packet, are compared one by one.

#if defined(__x86_64__)

#include <immintrin.h>

#include <array>

#include "packet/parse_alike_internal.h"
#include "packet/parse_burst_internal.h"

namespace sluice {
namespace {

#define SLUICE_INLINE_AVX2 SLUICE_TARGET_AVX2 [[gnu::always_inline]] inline

// What 16 bytes of a frame must be.
struct Pattern {
  constexpr void Require(size_t at, int byte, int bits = 0xff) {
    value[at] = static_cast<uint8_t>(byte);
    care[at] = static_cast<uint8_t>(bits);
  }

  alignas(16) std::array<uint8_t, 16> value{};
  alignas(16) std::array<uint8_t, 16> care{};
};

// From the Ethertype on.
constexpr Pattern IpPattern(bool ipv6, bool tcp) {
  constexpr size_t kIp = sizeof(Ethertype);
  const auto protocol = static_cast<int>(tcp ? IpProtocol::kTcp : IpProtocol::kUdp);
  Pattern pattern;
  pattern.Require(0, ipv6 ? 0x86 : 0x08);
  pattern.Require(1, ipv6 ? 0xdd : 0x00);
  if (ipv6) {
    pattern.Require(kIp, 0x60, 0xf0);
    pattern.Require(kIp + offsetof(Ipv6Header, next_header), protocol);
    return pattern;
  }
  pattern.Require(kIp, 0x45);
  pattern.Require(kIp + offsetof(Ipv4Header, flags_offset), 0, 0x3f);  // no fragment
  pattern.Require(kIp + offsetof(Ipv4Header, flags_offset) + 1, 0);
  pattern.Require(kIp + offsetof(Ipv4Header, protocol), protocol);
  return pattern;
}

// From the UDP header on: the port of a tunnel, and a header without options.
constexpr Pattern TunnelPattern(bool geneve) {
  const uint16_t port = geneve ? kGenevePort : kVxlanPort;
  const auto type = static_cast<uint16_t>(Ethertype::kBridging);
  Pattern pattern;
  pattern.Require(2, port >> 8);
  pattern.Require(3, port & 0xff);
  if (!geneve) {
    pattern.Require(sizeof(UdpHeader), VxlanHeader::kValidVni, VxlanHeader::kValidVni);
    return pattern;
  }
  pattern.Require(sizeof(UdpHeader), 0);
  pattern.Require(sizeof(UdpHeader) + 2, type >> 8);
  pattern.Require(sizeof(UdpHeader) + 3, type & 0xff);
  return pattern;
}

constexpr std::array<std::array<Pattern, 2>, 2> kIpPatterns = {
    {{IpPattern(false, false), IpPattern(false, true)}, {IpPattern(true, false), IpPattern(true, true)}}};
constexpr std::array<Pattern, 2> kTunnelPatterns = {TunnelPattern(false), TunnelPattern(true)};

SLUICE_INLINE_AVX2 __m128i Load16(const uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

struct Wanted {
  __m128i value;
  __m128i care;
};

SLUICE_INLINE_AVX2 Wanted Load(const Pattern& pattern) {
  return {.value = Load16(pattern.value.data()), .care = Load16(pattern.care.data())};
}

SLUICE_INLINE_AVX2 bool Is(const Wanted& wanted, const uint8_t* bytes) {
  return _mm_testz_si128(_mm_xor_si128(Load16(bytes), wanted.value), wanted.care) != 0;
}

// What the packets of a run have in common of one level.
struct Level {
  Wanted ip;
  uint32_t type;         // where its Ethertype is
  uint32_t length;       // where the datagram's length is, ...
  uint32_t counts_from;  // ... and from where it counts
  uint32_t l4;
  uint32_t header;  // length of the TCP header
};

SLUICE_INLINE_AVX2 Level MakeLevel(const LayerOffsets& at) {
  const bool ipv6 = IsIpv6(at);
  const size_t length = ipv6 ? offsetof(Ipv6Header, payload_length) : offsetof(Ipv4Header, total_length);
  return {.ip = Load(kIpPatterns[ipv6][at.l4_type == L4Type::kTcp]),
          .type = at.l3 - uint32_t{sizeof(Ethertype)},
          .length = at.l3 + static_cast<uint32_t>(length),
          .counts_from = ipv6 ? at.l4 : at.l3,
          .l4 = at.l4,
          .header = at.payload - uint32_t{at.l4}};
}

// Whether the level is that of the run, in a frame or datagram up to `end`; `end` then is that of what UDP
// declares.
template <bool kTcp>
SLUICE_INLINE_AVX2 bool Fits(const Level& level, const uint8_t* data, uint32_t& end) {
  const uint32_t datagram = level.counts_from + HeaderAt<Be16>(data, level.length)->get();
  if (!Is(level.ip, data + level.type) || datagram > end) return false;
  if (kTcp) {
    return HeaderAt<TcpHeader>(data, level.l4)->header_length() == level.header &&
           level.l4 + level.header <= datagram;
  }
  const uint32_t declared = HeaderAt<UdpHeader>(data, level.l4)->length.get();
  end = level.l4 + declared;
  return declared >= sizeof(UdpHeader) && end <= datagram;
}

// How the flow of the packets of a run is written.
struct FlowOf {
  __m256i addresses;  // where they are in what is loaded; of IPv4 the rest is zero
  __m128i ports;
  __m128i rest;  // protocol, family, that there is a flow, and the verdict
  uint32_t source;
  uint32_t l4;
  bool ipv6;
};

SLUICE_INLINE_AVX2 FlowOf MakeFlow(const LayerOffsets& at) {
  static_assert(offsetof(FlowKey, destination) == 16 && offsetof(FlowKey, source_port) == 32 &&
                offsetof(FlowKey, destination_port) == 34 && offsetof(FlowKey, protocol) == 36 &&
                offsetof(FlowKey, ipv6) == 37 && offsetof(ParsedPacketFlow, flow) == 0 &&
                offsetof(ParsedPacketFlow, has_flow) == 38 && offsetof(ParsedPacketFlow, verdict) == 39);
  static_assert(static_cast<int>(ParseVerdict::kOk) == 0);
  const bool ipv6 = IsIpv6(at);
  const auto protocol = static_cast<char>(at.l4_type == L4Type::kTcp ? IpProtocol::kTcp : IpProtocol::kUdp);
  const size_t source = ipv6 ? offsetof(Ipv6Header, source) : offsetof(Ipv4Header, source);
  return {.addresses = _mm256_setr_epi32(0x03020100, -1, -1, -1, 0x07060504, -1, -1, -1),
          .ports = _mm_setr_epi32(0x02030001, -1, -1, -1),
          .rest = _mm_setr_epi8(0, 0, 0, 0, protocol, ipv6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0),
          .source = at.l3 + static_cast<uint32_t>(source),
          .l4 = at.l4,
          .ipv6 = ipv6};
}

// Both addresses of IPv6 are 32 bytes. The 16 bytes from those of IPv4 on end where a UDP header does.
SLUICE_INLINE_AVX2 void WriteFlow(const FlowOf& flow, const uint8_t* data, ParsedPacketFlow& parsed) {
  __m256i addresses;
  if (flow.ipv6) {
    addresses = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + flow.source));
  } else {
    addresses = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(Load16(data + flow.source)), flow.addresses);
  }
  const __m128i l4 = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(data + flow.l4));
  const __m128i rest = _mm_or_si128(_mm_shuffle_epi8(l4, flow.ports), flow.rest);
  auto* const to = reinterpret_cast<uint8_t*>(&parsed);
  _mm256_store_si256(reinterpret_cast<__m256i*>(to), addresses);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to + sizeof(addresses)), rest);
}

// The front of the run whose packets have the plain headers of `layers`.
template <bool kTcp>
SLUICE_TARGET_AVX2 size_t ParsePlain(const PacketRun& run, size_t first, const Layers& layers,
                                     const Tags& tags) {
  const Level level = MakeLevel(layers.outer);
  const FlowOf flow = MakeFlow(layers.outer);
  const SameLayers same(layers);
  const uint32_t least = layers.outer.payload;
  const PacketRun here = run;  // in registers, as `same`
  for (size_t i = first; i < here.size; ++i) {
    Packet& packet = *here.packets[i];
    const uint8_t* const data = packet.data();
    uint32_t end = packet.length();
    if (packet.head_length() < least || !tags(data) || !Fits<kTcp>(level, data, end)) return i;
    if (!kTcp && AnnouncesTunnel(data + level.l4)) return i;
    WriteFlow(flow, data, here.parsed[i]);
    same.Store(packet);
  }
  return here.size;
}

// The same of packets in a tunnel, TCP or UDP.
template <bool kTcp>
SLUICE_TARGET_AVX2 size_t ParseTunnelled(const PacketRun& run, size_t first, const Layers& layers,
                                         const Tags& tags) {
  const Level outer = MakeLevel(layers.outer);
  const Level inner = MakeLevel(layers.inner);
  const Wanted tunnel = Load(kTunnelPatterns[layers.tunnel == TunnelType::kGeneve]);
  const FlowOf flow = MakeFlow(run.flows == LayerSet::kOuter ? layers.outer : layers.inner);
  const SameLayers same(layers);
  const uint32_t least = layers.inner.payload;
  const PacketRun here = run;  // in registers, as `same`
  for (size_t i = first; i < here.size; ++i) {
    Packet& packet = *here.packets[i];
    const uint8_t* const data = packet.data();
    uint32_t end = packet.length();
    if (packet.head_length() < least || !tags(data) || !Fits<false>(outer, data, end)) return i;
    if (!Is(tunnel, data + outer.l4) || !Fits<kTcp>(inner, data, end)) return i;
    WriteFlow(flow, data, here.parsed[i]);
    same.Store(packet);
  }
  return here.size;
}

constexpr ShapeParsers kParsers = {.plain = {ParsePlain<false>, ParsePlain<true>},
                                   .tunnelled = {ParseTunnelled<false>, ParseTunnelled<true>}};

}  // namespace

void ParseRunsAvx2(const PacketRun& run, Layers& expected) {
  ParseInRuns(run, expected, ParseAlike<kParsers>);
}

}  // namespace sluice

#endif  // defined(__x86_64__)

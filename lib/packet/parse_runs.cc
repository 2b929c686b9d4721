// SPDX-License-Identifier: Apache-2.0
// Packets whose headers are those of the packet before, in the same places, get its layers: one comparison of
// 64 bytes a level tells them, whatever their tags, lengths and tunnel. Nearly all packets of a burst are such.

#if defined(__x86_64__)

#include <immintrin.h>

#include <array>
#include <cstring>

#include "packet/parse_burst_internal.h"
#include "packet/parse_internal.h"
#include "packet/parse_shapes_internal.h"

namespace sluice {
namespace {

constexpr size_t kTcpHeaders = 16;  // lengths of a TCP header, in 4 bytes; of UDP we use 0

constexpr Shape PlainShape(bool ipv6, int header) {
  ShapeMaker maker(ipv6, kPlainLanes);
  maker.FormFlow();
  maker.RequireIp(header);
  return maker.shape();
}

constexpr Shape TunnelShape(bool ipv6, bool geneve) {
  ShapeMaker maker(ipv6, kTunnelLanes);
  maker.RequireIp(0);
  maker.RequireTunnel(geneve);
  return maker.shape();
}

constexpr auto kPlainShapes = [] {
  std::array<std::array<Shape, kTcpHeaders>, 2> shapes{};
  for (size_t ipv6 = 0; ipv6 < 2; ++ipv6) {
    for (size_t words = 0; words < kTcpHeaders; ++words) {
      if (words == 0 || words >= 5) shapes[ipv6][words] = PlainShape(ipv6 != 0, static_cast<int>(words) * 4);
    }
  }
  return shapes;
}();
constexpr std::array<std::array<Shape, 2>, 2> kTunnelShapes = {
    {{TunnelShape(false, false), TunnelShape(false, true)},
     {TunnelShape(true, false), TunnelShape(true, true)}}};

bool IsIpv6(const LayerOffsets& at) { return at.l3_type == L3Type::kIpv6; }

// Whether `at` is as ParseUsual fills it.
bool IsUsual(const LayerOffsets& at) {
  if (at.l3_type != L3Type::kIpv4 && !IsIpv6(at)) return false;
  const size_t header = IsIpv6(at) ? sizeof(Ipv6Header) : sizeof(Ipv4Header);
  return at.l4 - at.l3 == static_cast<int>(header) &&
         (at.l4_type == L4Type::kTcp || at.l4_type == L4Type::kUdp);
}

bool IsUsual(const Layers& layers) {
  const size_t l2 = sizeof(EthernetHeader) + layers.vlan_tags * sizeof(VlanTag);
  if (!IsUsual(layers.outer) || layers.vlan_tags > 2 || layers.outer.l3 != l2) return false;
  if (layers.tunnel == TunnelType::kNone) return true;
  if (layers.tunnel != TunnelType::kVxlan && layers.tunnel != TunnelType::kGeneve) return false;
  return layers.outer.l4_type == L4Type::kUdp && layers.inner_verdict == ParseVerdict::kOk &&
         layers.inner_l2 == layers.outer.payload + sizeof(VxlanHeader) && IsUsual(layers.inner) &&
         layers.inner.l3 == layers.inner_l2 + sizeof(EthernetHeader);
}

const Shape& ShapeOf(const LayerOffsets& at) {
  const size_t words = at.l4_type == L4Type::kUdp ? 0 : (at.payload - at.l4) / 4u;
  return kPlainShapes[IsIpv6(at)][words];
}

uint32_t WindowOf(const LayerOffsets& at) {
  return at.l3 - uint32_t{sizeof(EthernetHeader)} + WindowStart(IsIpv6(at));
}

// The Ethertypes of up to two tags, as they lie in a frame.
struct Tags {
  uint64_t care = 0;
  uint64_t value = 0;

  bool operator()(const uint8_t* data) const { return (Read(data) & care) == value; }
  static uint64_t Read(const uint8_t* data) {
    uint64_t tags;
    std::memcpy(&tags, data + offsetof(EthernetHeader, type), sizeof(tags));
    return tags;
  }
};

// What the tags of a packet are that was parsed as `layers`, or may have been: false when it has others.
bool FindTags(const Packet& packet, const Layers& layers, Tags& tags) {
  if (packet.head_length() < layers.outer.payload) return false;
  for (uint32_t i = 0; i < layers.vlan_tags; ++i) {
    const uint32_t at = static_cast<uint32_t>(offsetof(EthernetHeader, type) + i * sizeof(VlanTag));
    const Ethertype type = HeaderAt<BigEndian<Ethertype>>(packet.data(), at)->get();
    if (type != Ethertype::kVlan && type != Ethertype::kServiceVlan && type != Ethertype::kOldQinq)
      return false;
    tags.care |= uint64_t{0xffff} << (32 * i);
  }
  tags.value = Tags::Read(packet.data()) & tags.care;
  return true;
}

bool AnnouncesTunnel(const uint8_t* udp) {
  const uint16_t port = HeaderAt<UdpHeader>(udp, 0)->destination_port.get();
  return port >= kVxlanPort && port <= kMplsUdpPort;
}

struct Vectors {
  __m512i left;
  __m512i right;
  __m512i flip;
  __m512i care;
  __m512i add;
};

#define SLUICE_INLINE_ICELAKE SLUICE_TARGET_ICELAKE [[gnu::always_inline]] inline

SLUICE_INLINE_ICELAKE Vectors Load(const Shape& shape, int lanes, uint32_t end) {
  const __m512i add = _mm512_load_si512(shape.add.data());
  const auto end_lane = static_cast<__mmask16>(1u << (lanes + kEndLane));
  return {.left = _mm512_load_si512(shape.left.data()),
          .right = _mm512_load_si512(shape.right.data()),
          .flip = _mm512_load_si512(shape.flip.data()),
          .care = _mm512_load_si512(shape.care.data()),
          .add = _mm512_mask_add_epi32(add, end_lane, add, _mm512_set1_epi32(static_cast<int>(end)))};
}

SLUICE_INLINE_ICELAKE void StoreFlow(__m512i flow, ParsedPacketFlow& parsed) {
  _mm512_store_si512(&parsed, flow);
}

// In registers, which no store to a packet can change.
struct LayersPieces {
  __m128i offsets;
  uint32_t rest;
};

SLUICE_INLINE_ICELAKE LayersPieces PiecesOf(const Layers& layers) {
  static_assert(sizeof(Layers) == sizeof(__m128i) + sizeof(uint32_t));
  LayersPieces pieces;
  std::memcpy(&pieces.offsets, &layers, sizeof(pieces.offsets));
  std::memcpy(&pieces.rest, reinterpret_cast<const char*>(&layers) + sizeof(pieces.offsets),
              sizeof(pieces.rest));
  return pieces;
}

SLUICE_INLINE_ICELAKE void StoreLayers(const LayersPieces& pieces, Packet& packet) {
  char* const to = reinterpret_cast<char*>(&packet.layers());
  std::memcpy(to, &pieces.offsets, sizeof(pieces.offsets));
  std::memcpy(to + sizeof(pieces.offsets), &pieces.rest, sizeof(pieces.rest));
}

// The front of the run whose packets have the plain headers of `layers`.
SLUICE_TARGET_ICELAKE size_t ParsePlain(const PacketRun& run, size_t first, const Layers& layers,
                                        const Tags& tags) {
  const LayerOffsets& at = layers.outer;
  const Shape& shape = ShapeOf(at);
  const Vectors v = Load(shape, kPlainLanes, at.l3);
  const __mmask64 bytes = _cvtu64_mask64(shape.window);
  const auto end_lane = static_cast<__mmask16>(1u << (kPlainLanes + kEndLane));
  const uint32_t window = WindowOf(at);
  const LayersPieces same = PiecesOf(layers);
  const uint32_t least = layers.outer.payload;
  const PacketRun here = run;  // as `same`
  const bool tagged = tags.care != 0;
  const uint32_t l4 = at.l4;
  const bool udp = at.l4_type == L4Type::kUdp;
  for (size_t i = first; i < here.size; ++i) {
    Packet& packet = *here.packets[i];
    const uint8_t* const data = packet.data();
    if (packet.head_length() < least) return i;
    const __m512i frame = _mm512_maskz_loadu_epi8(bytes, data + window);
    const __m512i left =
        _mm512_ternarylogic_epi64(_mm512_permutexvar_epi8(v.left, frame), v.flip, v.care, 0x28);
    const __m512i right = _mm512_mask_set1_epi32(_mm512_permutexvar_epi8(v.right, frame), end_lane,
                                                 static_cast<int>(packet.length()));
    if (_mm512_mask_cmpgt_epu32_mask(kPlainChecks, _mm512_add_epi32(left, v.add), right) != 0) return i;
    if (tagged && !tags(data)) return i;
    if (udp && AnnouncesTunnel(data + l4)) return i;
    StoreFlow(left, here.parsed[i]);
    StoreLayers(same, packet);
  }
  return run.size;
}

// The same of packets in a tunnel: the checks of both levels stand side by side.
SLUICE_TARGET_ICELAKE size_t ParseTunnelled(const PacketRun& run, size_t first, const Layers& layers,
                                            const Tags& tags) {
  const LayerOffsets& out = layers.outer;
  const LayerOffsets& in = layers.inner;
  const Shape& outer_shape = kTunnelShapes[IsIpv6(out)][layers.tunnel == TunnelType::kGeneve];
  const Shape& inner_shape = ShapeOf(in);
  const Vectors outer = Load(outer_shape, kTunnelLanes, out.l3);
  const Vectors inner = Load(inner_shape, kPlainLanes, in.l3 - uint32_t{out.l4});
  const bool wants_outer = run.flows == LayerSet::kOuter;
  const Vectors flow = Load(wants_outer ? ShapeOf(out) : inner_shape, kPlainLanes, 0);

  // The inner datagram ends where the outer UDP says: its length field is lane 4 of the outer left side.
  const __m512i length_lane = _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  const auto inner_end = static_cast<__mmask16>(1u << (kPlainLanes + kEndLane));
  const auto outer_end = static_cast<__mmask16>(1u << (kTunnelLanes + kEndLane));
  const __m512i outer_right = _mm512_mask_permutexvar_epi32(outer.right, inner_end, length_lane, outer.left);
  const __mmask64 outer_bytes = _cvtu64_mask64(0x0000'0000'00ff'ffff);
  const __mmask64 right_bytes = _cvtu64_mask64(0x000f'0000'00ff'ffff);
  const __m512i flip = _mm512_mask_mov_epi32(inner.flip, kTunnelChecks, outer.flip);
  const __m512i care = _mm512_mask_mov_epi32(inner.care, kTunnelChecks, outer.care);
  const __m512i add = _mm512_mask_mov_epi32(inner.add, kTunnelChecks, outer.add);

  const __mmask64 outer_window = _cvtu64_mask64(outer_shape.window);
  const __mmask64 inner_window = _cvtu64_mask64(inner_shape.window);
  const uint32_t outer_at = WindowOf(out);
  const uint32_t inner_at = WindowOf(in);
  const LayersPieces same = PiecesOf(layers);
  const uint32_t least = layers.inner.payload;
  const PacketRun here = run;  // as `same`
  const bool tagged = tags.care != 0;
  for (size_t i = first; i < here.size; ++i) {
    Packet& packet = *here.packets[i];
    const uint8_t* const data = packet.data();
    if (packet.head_length() < least) return i;
    const __m512i frame = _mm512_maskz_loadu_epi8(outer_window, data + outer_at);
    const __m512i carried = _mm512_maskz_loadu_epi8(inner_window, data + inner_at);
    const __m512i inner_left = _mm512_permutexvar_epi8(inner.left, carried);
    const __m512i left = _mm512_mask_permutexvar_epi8(inner_left, outer_bytes, outer.left, frame);
    const __m512i inner_right = _mm512_permutexvar_epi8(inner.right, carried);
    const __m512i both_right = _mm512_mask_permutexvar_epi8(inner_right, right_bytes, outer_right, frame);
    const __m512i right = _mm512_mask_set1_epi32(both_right, outer_end, static_cast<int>(packet.length()));
    const __m512i checked = _mm512_add_epi32(_mm512_ternarylogic_epi64(left, flip, care, 0x28), add);
    if (_mm512_mask_cmpgt_epu32_mask(kPlainChecks | kTunnelChecks, checked, right) != 0) return i;
    if (tagged && !tags(data)) return i;
    const __m512i key = wants_outer ? _mm512_permutexvar_epi8(flow.left, frame) : inner_left;
    StoreFlow(_mm512_ternarylogic_epi64(key, flow.flip, flow.care, 0x28), here.parsed[i]);
    StoreLayers(same, packet);
  }
  return run.size;
}

// Parses from `first` on as many as have `layers`, and returns the first that may have others.
SLUICE_TARGET_ICELAKE size_t ParseAlike(const PacketRun& run, size_t first, const Layers& layers) {
  Tags tags;
  if (!IsUsual(layers) || !FindTags(*run.packets[first], layers, tags)) return first;
  if (layers.tunnel != TunnelType::kNone) return ParseTunnelled(run, first, layers, tags);
  return run.flows == LayerSet::kInner ? first : ParsePlain(run, first, layers, tags);
}

bool Same(const Layers& a, const Layers& b) { return std::memcmp(&a, &b, sizeof(Layers)) == 0; }

}  // namespace

// A run is tried behind a few that are alike, and at the start of a burst if the last one ended so: traffic of
// many kinds would make many runs that end at once, which the processor does not foresee.
void ParseRunsIceLake(const PacketRun& run, Layers& expected) {
  constexpr size_t kFew = 4;
  size_t i = run.size == 0 ? 0 : ParseAlike(run, 0, expected);
  if (i == run.size) return;
  size_t alike = 0;
  while (i < run.size) {
    ParseOneOf(run, i);
    const Layers& layers = run.packets[i]->layers();
    alike = Same(layers, expected) ? alike + 1 : 0;
    expected = layers;
    if (++i == run.size || alike < kFew) continue;
    i = ParseAlike(run, i, expected);
    if (i == run.size) return;
    alike = 0;
  }
  if (alike == 0) expected = Layers{};
}

}  // namespace sluice

#endif  // defined(__x86_64__)

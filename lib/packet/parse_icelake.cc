// SPDX-License-Identifier: Apache-2.0
// Packets whose headers are those of the packet before, in the same places, get its layers: one comparison of
// 64 bytes a level tells them, whatever their tags, lengths and tunnel. Nearly all packets of a burst are such.

#if defined(__x86_64__)

#include <immintrin.h>

#include <array>

#include "packet/parse_alike_internal.h"
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

const Shape& ShapeOf(const LayerOffsets& at) {
  const size_t words = at.l4_type == L4Type::kUdp ? 0 : (at.payload - at.l4) / 4u;
  return kPlainShapes[IsIpv6(at)][words];
}

uint32_t WindowOf(const LayerOffsets& at) {
  return at.l3 - uint32_t{sizeof(EthernetHeader)} + WindowStart(IsIpv6(at));
}

#define SLUICE_INLINE_ICELAKE SLUICE_TARGET_ICELAKE [[gnu::always_inline]] inline

struct Vectors {
  __m512i left;
  __m512i right;
  __m512i flip;
  __m512i care;
  __m512i add;
};

SLUICE_INLINE_ICELAKE __mmask16 EndLane(int lanes) {
  return static_cast<__mmask16>(1u << (lanes + kEndLane));
}

SLUICE_INLINE_ICELAKE Vectors Load(const Shape& shape, int lanes, uint32_t end) {
  const __m512i add = _mm512_load_si512(shape.add.data());
  return {.left = _mm512_load_si512(shape.left.data()),
          .right = _mm512_load_si512(shape.right.data()),
          .flip = _mm512_load_si512(shape.flip.data()),
          .care = _mm512_load_si512(shape.care.data()),
          .add = _mm512_mask_add_epi32(add, EndLane(lanes), add, _mm512_set1_epi32(static_cast<int>(end)))};
}

SLUICE_INLINE_ICELAKE void StoreFlow(__m512i flow, ParsedPacketFlow& parsed) {
  _mm512_store_si512(&parsed, flow);
}

// Masked, for g++ 12 warns of the plain form's unset operand.
SLUICE_INLINE_ICELAKE __m512i Permute(__m512i places, __m512i bytes) {
  return _mm512_maskz_permutexvar_epi8(_cvtu64_mask64(~uint64_t{0}), places, bytes);
}

// `right` with the packet's length added in the lane that is compared with the datagram's end.
SLUICE_INLINE_ICELAKE __m512i WithLength(__m512i right, int lanes, const Packet& packet) {
  const __m512i length = _mm512_set1_epi32(static_cast<int>(packet.length()));
  return _mm512_mask_add_epi32(right, EndLane(lanes), right, length);
}

// The right side. Only of UDP are two lengths of the frame compared with each other: of TCP it is the run's.
template <bool kTcp>
SLUICE_INLINE_ICELAKE __m512i Right(__m512i right, __m512i frame) {
  return kTcp ? right : Permute(right, frame);
}

// The front of the run whose packets have the plain headers of `layers`.
template <bool kTcp>
SLUICE_TARGET_ICELAKE size_t ParsePlain(const PacketRun& run, size_t first, const Layers& layers,
                                        const Tags& tags) {
  const LayerOffsets& at = layers.outer;
  const Shape& shape = ShapeOf(at);
  Vectors v = Load(shape, kPlainLanes, at.l3);
  if (kTcp) v.right = _mm512_sub_epi32(v.right, v.add);  // once, in place of an addition for each
  const __mmask64 bytes = _cvtu64_mask64(shape.window);
  const uint32_t window = WindowOf(at);
  const SameLayers same(layers);
  const uint32_t least = layers.outer.payload;
  const PacketRun here = run;  // in registers, as `same`
  const bool tagged = tags.care != 0;
  const uint32_t l4 = at.l4;
  for (size_t i = first; i < here.size; ++i) {
    Packet& packet = *here.packets[i];
    const uint8_t* const data = packet.data();
    if (packet.head_length() < least) return i;
    const __m512i frame = _mm512_maskz_loadu_epi8(bytes, data + window);
    const __m512i left = _mm512_ternarylogic_epi64(Permute(v.left, frame), v.flip, v.care, 0x28);
    const __m512i right = WithLength(Right<kTcp>(v.right, frame), kPlainLanes, packet);
    const __m512i checked = kTcp ? left : _mm512_add_epi32(left, v.add);
    if (_mm512_mask_cmpgt_epu32_mask(kPlainChecks, checked, right) != 0) return i;
    if (tagged && !tags(data)) return i;
    if (!kTcp && AnnouncesTunnel(data + l4)) return i;
    StoreFlow(left, here.parsed[i]);
    same.Store(packet);
  }
  return run.size;
}

// The same of packets in a tunnel, TCP or UDP: the checks of both levels stand side by side.
template <bool kTcp>
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
  const auto inner_end = EndLane(kPlainLanes);
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
  const SameLayers same(layers);
  const uint32_t least = layers.inner.payload;
  const PacketRun here = run;  // in registers, as `same`
  const bool tagged = tags.care != 0;
  for (size_t i = first; i < here.size; ++i) {
    Packet& packet = *here.packets[i];
    const uint8_t* const data = packet.data();
    if (packet.head_length() < least) return i;
    const __m512i frame = _mm512_maskz_loadu_epi8(outer_window, data + outer_at);
    const __m512i carried = _mm512_maskz_loadu_epi8(inner_window, data + inner_at);
    const __m512i inner_left = Permute(inner.left, carried);
    const __m512i left = _mm512_mask_permutexvar_epi8(inner_left, outer_bytes, outer.left, frame);
    const __m512i inner_right = Right<kTcp>(inner.right, carried);
    const __m512i both_right = _mm512_mask_permutexvar_epi8(inner_right, right_bytes, outer_right, frame);
    const __m512i right = WithLength(both_right, kTunnelLanes, packet);
    const __m512i checked = _mm512_add_epi32(_mm512_ternarylogic_epi64(left, flip, care, 0x28), add);
    if (_mm512_mask_cmpgt_epu32_mask(kPlainChecks | kTunnelChecks, checked, right) != 0) return i;
    if (tagged && !tags(data)) return i;
    const __m512i key = wants_outer ? Permute(flow.left, frame) : inner_left;
    StoreFlow(_mm512_ternarylogic_epi64(key, flow.flip, flow.care, 0x28), here.parsed[i]);
    same.Store(packet);
  }
  return run.size;
}

constexpr ShapeParsers kParsers = {.plain = {ParsePlain<false>, ParsePlain<true>},
                                   .tunnelled = {ParseTunnelled<false>, ParseTunnelled<true>}};

}  // namespace

void ParseRunsIceLake(const PacketRun& run, Layers& expected) {
  ParseInRuns(run, expected, ParseAlike<kParsers>);
}

}  // namespace sluice

#endif  // defined(__x86_64__)

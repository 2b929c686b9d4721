// SPDX-License-Identifier: Apache-2.0
#include "tests/support/layers_text.h"

#include "absl/strings/str_cat.h"
#include "sluice/packet/parse.h"

namespace sluice::testing {
namespace {

constexpr const char* kVerdicts[] = {"", "truncated ", "malformed "};
constexpr const char* kL3[] = {"", "ipv4", "ipv6", "arp", "other"};
constexpr const char* kL4[] = {"", "tcp", "udp", "icmp", "icmpv6", "fragment", "other"};
constexpr const char* kTunnels[] = {"", "vxlan", "geneve", "gre", "nvgre", "nsh", "mpls"};

std::string OffsetsText(const LayerOffsets& at) {
  std::string text;
  if (at.l3_type != L3Type::kNone) {
    absl::StrAppend(&text, kL3[static_cast<size_t>(at.l3_type)], "@", at.l3, " ");
  }
  if (at.l4_type != L4Type::kNone) {
    absl::StrAppend(&text, kL4[static_cast<size_t>(at.l4_type)], "@", at.l4, " ");
  }
  absl::StrAppend(&text, "payload@", at.payload);
  return text;
}

}  // namespace

std::string LayersText(ParseVerdict verdict, const Layers& layers) {
  std::string text = kVerdicts[static_cast<size_t>(verdict)];
  if (layers.vlan_tags != 0) absl::StrAppend(&text, "vlan*", int{layers.vlan_tags}, " ");
  absl::StrAppend(&text, OffsetsText(layers.outer));
  if (layers.tunnel == TunnelType::kNone) return text;
  absl::StrAppend(&text, " ", kTunnels[static_cast<size_t>(layers.tunnel)], " ",
                  kVerdicts[static_cast<size_t>(layers.inner_verdict)]);
  if (layers.inner_l2 != layers.inner.l3) absl::StrAppend(&text, "ethernet@", layers.inner_l2, " ");
  return absl::StrCat(text, OffsetsText(layers.inner));
}

std::string ParsedText(absl::Span<const uint8_t> frame) {
  return ParsedText(frame, static_cast<uint32_t>(frame.size()));
}

std::string ParsedText(absl::Span<const uint8_t> head, uint32_t frame_length) {
  Layers layers;
  const ParseVerdict verdict = Parse(head, frame_length, layers);
  return LayersText(verdict, layers);
}

}  // namespace sluice::testing

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_TESTS_SUPPORT_LAYERS_TEXT_H_
#define SLUICE_TESTS_SUPPORT_LAYERS_TEXT_H_

#include <string>

#include "absl/types/span.h"
#include "sluice/packet/packet.h"

namespace sluice::testing {

// What Parse found, in a line: names with offsets, absent layers left out, verdicts only when not kOk.
//
//   "vlan*1 ipv4@18 udp@38 payload@46 vxlan ethernet@54 ipv4@68 tcp@88 payload@108"
//   "malformed ipv4@14 payload@34", "ipv4@14 udp@34 payload@42 geneve truncated payload@42"
std::string LayersText(ParseVerdict verdict, const Layers& layers);

// The same of a frame, or of the first bytes of one of `frame_length`.
std::string ParsedText(absl::Span<const uint8_t> frame);
std::string ParsedText(absl::Span<const uint8_t> head, uint32_t frame_length);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_LAYERS_TEXT_H_

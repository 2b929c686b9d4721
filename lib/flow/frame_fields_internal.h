// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_LIB_FLOW_FRAME_FIELDS_INTERNAL_H_
#define SLUICE_LIB_FLOW_FRAME_FIELDS_INTERNAL_H_

// All that a rule can ask about a frame, in one flat block, so that a match is a few masked compares of words,
// whatever it names:
//
//   frame ── FieldsOf ──▶ FrameFields ─┐
//                                      ├─▶ for each word of the match: (frame ^ value) & mask == 0
//   RuleMatch ─────────▶ FlatMatch ────┘
//
// What a frame has not got is zero, and a bit of `has` tells it from a zero.

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "sluice/flow/rule.h"
#include "sluice/packet/packet.h"

namespace sluice {

// From Ethernet to L4, once outside and once inside of a tunnel.
struct HeaderFields {
  enum Has : uint8_t { kEthernet = 1, kVlan = 2, kIpv4 = 4, kIpv6 = 8, kTcp = 16, kUdp = 32 };

  MacAddress destination;
  uint16_t type = 0;
  MacAddress source;
  uint16_t tci = 0;
  std::array<uint8_t, 16> source_ip{};  // of IPv4 the first four bytes
  std::array<uint8_t, 16> destination_ip{};
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t flow_label = 0;
  uint16_t fragment = 0;
  uint8_t protocol = 0;
  uint8_t traffic_class = 0;  // TOS
  uint8_t hops = 0;           // TTL
  uint8_t has = 0;
  uint16_t unused = 0;
};

struct FrameFields {
  enum Has : uint16_t { kVxlan = 1, kGre = 2, kGreKey = 4, kMpls = 8 };

  HeaderFields outer;
  HeaderFields inner;
  uint32_t vni = 0;
  uint32_t mpls = 0;  // MplsLabel::entry
  uint32_t gre_key = 0;
  uint16_t gre_flags = 0;
  uint16_t gre_protocol = 0;
  uint16_t has = 0;
  uint16_t unused[3] = {};
};

using FieldWords = std::array<uint64_t, sizeof(FrameFields) / sizeof(uint64_t)>;
static_assert(sizeof(HeaderFields) == 64 && sizeof(FrameFields) == 152,
              "no hidden padding: words are compared");
static_assert(sizeof(FieldWords) == sizeof(FrameFields));

// What `packet` shows. Its layers() are looked at if `layers`; without, all behind Ethernet and its tags is
// taken as absent.
FieldWords FieldsOf(const Packet& packet, bool layers);

// A match as the words that it compares.
class FlatMatch {
 public:
  explicit FlatMatch(const RuleMatch& match);

  bool Accepts(const FieldWords& frame) const {
    for (const Word& word : words_) {
      if (((frame[word.index] ^ word.value) & word.mask) != 0) return false;
    }
    return true;
  }
  // Whether it asks for more than Ethernet and its tags.
  bool needs_layers() const { return needs_layers_; }

  // Of equal ones each accepts what the other does.
  auto operator<=>(const FlatMatch&) const = default;

 private:
  struct Word {
    size_t index;
    uint64_t value;
    uint64_t mask;
    auto operator<=>(const Word&) const = default;
  };
  std::vector<Word> words_;
  bool needs_layers_ = false;
};

}  // namespace sluice

#endif  // SLUICE_LIB_FLOW_FRAME_FIELDS_INTERNAL_H_

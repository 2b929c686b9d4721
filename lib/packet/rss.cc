// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/rss.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "sluice/base/status.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

constexpr size_t kDefaultTable = 128;

absl::Status Refuse(std::string what, std::string remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument,
                     {.stage = "configure RSS", .what = std::move(what), .remedy = std::move(remedy)});
}

// What is hashed of a packet: its addresses, then its ports, as they lie in the headers.
struct Input {
  std::array<uint8_t, 2 * sizeof(Ipv6Address) + 2 * sizeof(Be16)> bytes;
  size_t size = 0;

  void Add(const uint8_t* from, size_t count) {
    std::memcpy(bytes.data() + size, from, count);
    size += count;
  }
};

RssType AddressType(const LayerOffsets& at) {
  if (at.l3_type == L3Type::kIpv4) return RssType::kIpv4;
  return at.l3_type == L3Type::kIpv6 ? RssType::kIpv6 : RssType::kNone;
}

RssType PortType(const LayerOffsets& at) {
  const bool ipv4 = at.l3_type == L3Type::kIpv4;
  if (at.l4_type == L4Type::kTcp) return ipv4 ? RssType::kIpv4Tcp : RssType::kIpv6Tcp;
  if (at.l4_type == L4Type::kUdp) return ipv4 ? RssType::kIpv4Udp : RssType::kIpv6Udp;
  return RssType::kNone;
}

}  // namespace

const std::array<uint8_t, kRssKeySize> kMicrosoftRssKey = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

const std::array<uint8_t, kRssKeySize> kSymmetricRssKey = {
    0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
    0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
    0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a};

// Each set bit of the input adds the 32 bits of key that stand above it. `window` holds the 32 bits for the
// byte's first bit and the 8 that its other bits shift in, so the key is read a byte at a time.
uint32_t ToeplitzHash(absl::Span<const uint8_t> key, absl::Span<const uint8_t> input) {
  assert(key.size() >= input.size() + 4);
  uint64_t window = HeaderAt<Be32>(key.data(), 0)->get();
  uint32_t hash = 0;
  for (size_t i = 0; i < input.size(); ++i) {
    window = window << 8 | key[i + 4];
    for (uint32_t bits = input[i]; bits != 0; bits &= bits - 1) {
      hash ^= static_cast<uint32_t>(window >> (std::countr_zero(bits) + 1));
    }
  }
  return hash;
}

absl::StatusOr<RssConfig> RssConfig::Create(const RssOptions& options) {
  if (options.key.size() != kRssKeySize && options.key.size() != kLongRssKeySize) {
    return Refuse(absl::StrCat("key of ", options.key.size(), " bytes"), "give a key of 40 or 52 bytes");
  }
  if (!std::has_single_bit(options.table.size()) || options.table.size() > kMaxTable) {
    return Refuse(absl::StrCat("indirection table of ", options.table.size(), " entries"),
                  absl::StrCat("give a power of two of entries, at most ", kMaxTable));
  }
  return RssConfig(options);
}

RssConfig RssConfig::Spread(uint16_t queues) {
  assert(queues != 0 && queues <= kMaxTable);
  RssOptions options;
  options.table.resize(std::max(kDefaultTable, std::bit_ceil(size_t{queues})));
  for (size_t i = 0; i < options.table.size(); ++i) {
    options.table[i] = QueueId(static_cast<uint16_t>(i % queues));
  }
  return RssConfig(options);
}

absl::StatusOr<RssConfig> RssConfig::WithTable(std::vector<QueueId> table) const {
  RssOptions changed = options_;
  changed.table = std::move(table);
  ++changed.generation;
  return Create(changed);
}

RssResult RssHash(const RssConfig& config, const Packet& packet) {
  const LayerOffsets& at = packet.layers().outer;
  const RssType addresses = AddressType(at);
  if (addresses == RssType::kNone) return {};

  Input input;
  if (addresses == RssType::kIpv4) {
    input.Add(packet.data() + at.l3 + offsetof(Ipv4Header, source), 2 * sizeof(Ipv4Address));
  } else {
    input.Add(packet.data() + at.l3 + offsetof(Ipv6Header, source), 2 * sizeof(Ipv6Address));
  }
  RssType type = PortType(at);
  if (type != RssType::kNone && config.types().Has(type)) {
    input.Add(packet.data() + at.l4, 2 * sizeof(Be16));
  } else if (config.types().Has(addresses)) {
    type = addresses;
  } else {
    return {};
  }
  return {.hash = ToeplitzHash(config.key(), absl::MakeConstSpan(input.bytes.data(), input.size)),
          .type = type};
}

}  // namespace sluice

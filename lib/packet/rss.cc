// SPDX-License-Identifier: Apache-2.0
#include "sluice/packet/rss.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "absl/strings/str_cat.h"
#include "packet/toeplitz_internal.h"
#include "sluice/base/status.h"
#include "sluice/packet/headers.h"

namespace sluice {
namespace {

constexpr size_t kDefaultTable = 128;

absl::Status Refuse(std::string what, std::string remedy) {
  return ErrorStatus(absl::StatusCode::kInvalidArgument,
                     {.stage = "configure RSS", .what = std::move(what), .remedy = std::move(remedy)});
}

RssType AddressType(L3Type l3) {
  if (l3 == L3Type::kIpv4) return RssType::kIpv4;
  return l3 == L3Type::kIpv6 ? RssType::kIpv6 : RssType::kNone;
}

RssType PortType(L3Type l3, L4Type l4) {
  if (AddressType(l3) == RssType::kNone) return RssType::kNone;
  const bool ipv4 = l3 == L3Type::kIpv4;
  if (l4 == L4Type::kTcp) return ipv4 ? RssType::kIpv4Tcp : RssType::kIpv6Tcp;
  if (l4 == L4Type::kUdp) return ipv4 ? RssType::kIpv4Udp : RssType::kIpv6Udp;
  return RssType::kNone;
}

// The longest that is enabled.
RssType Choose(RssTypes enabled, L3Type l3, L4Type l4) {
  for (const RssType type : {PortType(l3, l4), AddressType(l3)}) {
    if (enabled.Has(type)) return type;
  }
  return RssType::kNone;
}

bool HasPorts(RssType type) { return type >= RssType::kIpv4Tcp; }

bool IsIpv6(RssType type) {
  return type == RssType::kIpv6 || type == RssType::kIpv6Tcp || type == RssType::kIpv6Udp;
}

// Makes what is hashed of `packet` input `i`: zeros where nothing is, for they hash to 0.
RssType Put(const RssConfig& config, const Packet& packet, LayerSet which, ToeplitzInputs& inputs, size_t i) {
  static constexpr uint8_t kZeros[2 * sizeof(Ipv4Address)] = {};
  const Layers& layers = packet.layers();
  const LayerOffsets& at = which == LayerSet::kOuter ? layers.outer : Select(layers, which);
  const RssType type = config.TypeOf(at.l3_type, at.l4_type);
  const uint8_t* ip = packet.data() + at.l3;
  const uint8_t* ports = HasPorts(type) ? packet.data() + at.l4 : kZeros;
  if (IsIpv6(type)) {
    PutIpv6(ip + offsetof(Ipv6Header, source), ports, inputs, i);
    return type;
  }
  PutIpv4(type != RssType::kNone ? ip + offsetof(Ipv4Header, source) : kZeros, ports, inputs, i);
  inputs.columns[1][i].fill(0);  // its neighbours may be IPv6
  inputs.columns[2][i].fill(0);
  return type;
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

RssConfig::RssConfig(const RssOptions& options) : options_(options), toeplitz_(options.key) {
  for (size_t l3 = 0; l3 < kL3Types; ++l3) {
    for (size_t l4 = 0; l4 < kL4Types; ++l4) {
      type_of_[l3][l4] = Choose(options.types, static_cast<L3Type>(l3), static_cast<L4Type>(l4));
    }
  }
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

RssResult RssHash(const RssConfig& config, const Packet& packet, LayerSet which) {
  ToeplitzInputs inputs;
  const RssType type = Put(config, packet, which, inputs, 0);
  uint32_t hash;
  ToeplitzHashes(config.toeplitz(), inputs, IsIpv6(type) ? kToeplitzColumns : 1, 1, &hash);
  return {.hash = hash, .type = type};
}

void RssHashBurst(const RssConfig& config, Burst& burst, LayerSet which) {
  ToeplitzInputs inputs;
  bool ipv6 = false;
  for (size_t i = 0; i < burst.size(); ++i) {
    burst[i].rss_type = Put(config, burst[i], which, inputs, i);
    ipv6 |= IsIpv6(burst[i].rss_type);
  }
  std::array<uint32_t, Burst::kCapacity> hashes;
  ToeplitzHashes(config.toeplitz(), inputs, ipv6 ? kToeplitzColumns : 1, burst.size(), hashes.data());
  for (size_t i = 0; i < burst.size(); ++i) burst[i].rss_hash = hashes[i];
}

}  // namespace sluice

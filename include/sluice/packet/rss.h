// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_PACKET_RSS_H_
#define SLUICE_PACKET_RSS_H_

// Receive side scaling: which queue a packet goes to, so that a flow keeps its order and many flows spread.
//
//   addresses, ports ──Toeplitz(key)──▶ hash ──low bits──▶ indirection table ──▶ queue
//
// The function is Microsoft's ("RSS Hashing Types", "Verifying the RSS Hash Calculation", Windows driver
// documentation), which every NIC computes: a hash made here equals the one a device stamps, for the same
// key.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/base/export.h"
#include "sluice/base/ids.h"
#include "sluice/packet/big_endian.h"
#include "sluice/packet/burst.h"
#include "sluice/packet/ip_address.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/parse.h"

namespace sluice {

inline constexpr size_t kRssKeySize = 40;      // 16 + 16 + 2 + 2 bytes of input and 4 of window
inline constexpr size_t kLongRssKeySize = 52;  // of devices that hash more; longer keys are refused

// Microsoft's verification key: what a NIC uses when nobody chose one.
SLUICE_EXPORT extern const std::array<uint8_t, kRssKeySize> kMicrosoftRssKey;
// Repeats 16 bits, so that both directions of a flow hash alike (Woo and Park, "Scalable TCP Session
// Monitoring with Symmetric Receive-side Scaling", 2012). Spreads less well: only 16 bits of the hash are
// independent.
SLUICE_EXPORT extern const std::array<uint8_t, kRssKeySize> kSymmetricRssKey;

// What is hashed of a packet, as it lies in the headers. Zeros add nothing: with ports of zero, the hash is
// that of the addresses.
struct RssTuple4 {
  Ipv4Address source;
  Ipv4Address destination;
  Be16 source_port;
  Be16 destination_port;
};
struct RssTuple6 {
  Ipv6Address source;
  Ipv6Address destination;
  Be16 source_port;
  Be16 destination_port;
};
static_assert(sizeof(RssTuple4) == 12 && sizeof(RssTuple6) == 36);

// A key made ready to hash with. A value; any thread reads.
class SLUICE_EXPORT ToeplitzKey {
 public:
  static constexpr size_t kMaxInput = 48;
  static constexpr size_t kParts = kMaxInput / sizeof(uint64_t);
  using Words = std::array<uint64_t, kParts>;

  // The key's bytes beyond kMaxInput + 4 are not looked at, and those that are missing are zero.
  explicit ToeplitzKey(absl::Span<const uint8_t> key);

  uint32_t Hash(absl::Span<const uint8_t> input) const;  // of at most kMaxInput bytes
  // The hash of each tuple to the same place of `hashes`, which are as many; at a fraction of the cost from
  // four of them on.
  void HashAll(absl::Span<const RssTuple4> tuples, absl::Span<uint32_t> hashes) const;
  void HashAll(absl::Span<const RssTuple6> tuples, absl::Span<uint32_t> hashes) const;

  // For each 8 bytes of input: the 32 bits of key from their first bit on, and the 64 bits after those.
  const Words& first() const { return first_; }
  const Words& rest() const { return rest_; }

 private:
  alignas(16) Words first_;  // read in pairs
  alignas(16) Words rest_;
};

// Toeplitz hash of `input` of any length; the key has at least input.size() + 4 bytes. Who hashes more than
// once with a key makes a ToeplitzKey.
SLUICE_EXPORT uint32_t ToeplitzHash(absl::Span<const uint8_t> key, absl::Span<const uint8_t> input);

// A set of hash types.
class RssTypes {
 public:
  constexpr RssTypes() = default;
  constexpr RssTypes(std::initializer_list<RssType> types) {
    for (const RssType type : types) bits_ = static_cast<uint8_t>(bits_ | Bit(type));
  }
  static constexpr RssTypes All() {
    return {RssType::kIpv4,    RssType::kIpv6,    RssType::kIpv4Tcp,
            RssType::kIpv6Tcp, RssType::kIpv4Udp, RssType::kIpv6Udp};
  }
  constexpr bool Has(RssType type) const { return (bits_ & Bit(type)) != 0; }
  friend constexpr bool operator==(RssTypes a, RssTypes b) { return a.bits_ == b.bits_; }

 private:
  static constexpr uint8_t Bit(RssType type) {
    return static_cast<uint8_t>(1u << static_cast<unsigned>(type));
  }
  uint8_t bits_ = 0;
};

struct RssOptions {
  std::vector<uint8_t> key{kMicrosoftRssKey.begin(), kMicrosoftRssKey.end()};  // 40 or 52 bytes
  std::vector<QueueId> table;  // the queue of each bucket; a power of two of entries, at most kMaxTable
  RssTypes types =
      RssTypes::All();      // a packet whose type is not in it falls back to addresses only, then to no hash
  uint64_t generation = 1;  // of this configuration; the caller counts
};

// Key, table and types as one value that never changes: a new one replaces it whole, so that no packet is
// hashed with one key and looked up in the table that belongs to another. Copies cost an allocation; readers
// share a pointer. Any thread reads.
class SLUICE_EXPORT RssConfig {
 public:
  static constexpr size_t kMaxTable = 4096;

  // kInvalidArgument for a key of another length, and for a table that is empty, too long or no power of two.
  static absl::StatusOr<RssConfig> Create(const RssOptions& options);

  // Microsoft's key, all types, 128 buckets (or as many as there are queues, when that is more) dealt over
  // queues 0 to `queues` - 1 in turn; 1 <= queues <= kMaxTable.
  static RssConfig Spread(uint16_t queues);

  // The same with another table, and the next generation number. Refuses as Create.
  absl::StatusOr<RssConfig> WithTable(std::vector<QueueId> table) const;

  // The bucket is hash % table size.
  QueueId QueueFor(uint32_t hash) const { return options_.table[hash & (options_.table.size() - 1)]; }

  absl::Span<const uint8_t> key() const { return options_.key; }
  const std::vector<QueueId>& table() const { return options_.table; }
  RssTypes types() const { return options_.types; }
  uint64_t generation() const { return options_.generation; }
  const ToeplitzKey& toeplitz() const { return toeplitz_; }

  // What is hashed of a packet with such layers.
  RssType TypeOf(L3Type l3, L4Type l4) const {
    return type_of_[static_cast<size_t>(l3)][static_cast<size_t>(l4)];
  }

 private:
  static constexpr size_t kL3Types = static_cast<size_t>(L3Type::kOther) + 1;
  static constexpr size_t kL4Types = static_cast<size_t>(L4Type::kOther) + 1;

  explicit RssConfig(const RssOptions& options);

  RssOptions options_;
  ToeplitzKey toeplitz_;
  std::array<std::array<RssType, kL4Types>, kL3Types> type_of_;
};

struct RssResult {
  uint32_t hash = 0;              // 0 without a type: bucket 0
  RssType type = RssType::kNone;  // what was hashed
};

// Hash of a parsed packet: of its outer headers, as devices do, or of those in a tunnel, which has no hash
// (kInner) or is hashed by the outer ones (kInnermost) where there is none. Fragments, and protocols other
// than TCP and UDP, are hashed by addresses.
SLUICE_EXPORT RssResult RssHash(const RssConfig& config, const Packet& packet,
                                LayerSet which = LayerSet::kOuter);

// The same for every packet of a burst, into rss_hash and rss_type. Several times as fast a packet.
SLUICE_EXPORT void RssHashBurst(const RssConfig& config, Burst& burst, LayerSet which = LayerSet::kOuter);

}  // namespace sluice

#endif  // SLUICE_PACKET_RSS_H_

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
#include "sluice/packet/packet.h"

namespace sluice {

inline constexpr size_t kRssKeySize = 40;      // 16 + 16 + 2 + 2 bytes of input and 4 of window
inline constexpr size_t kLongRssKeySize = 52;  // of devices that hash more; longer keys are refused

// Microsoft's verification key: what a NIC uses when nobody chose one.
SLUICE_EXPORT extern const std::array<uint8_t, kRssKeySize> kMicrosoftRssKey;
// Repeats 16 bits, so that both directions of a flow hash alike (Woo and Park, "Scalable TCP Session
// Monitoring with Symmetric Receive-side Scaling", 2012). Spreads less well: only 16 bits of the hash are
// independent.
SLUICE_EXPORT extern const std::array<uint8_t, kRssKeySize> kSymmetricRssKey;

// Toeplitz hash of `input`; the key has at least input.size() + 4 bytes.
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

 private:
  explicit RssConfig(const RssOptions& options) : options_(options) {}

  RssOptions options_;
};

struct RssResult {
  uint32_t hash = 0;              // 0 without a type: bucket 0
  RssType type = RssType::kNone;  // what was hashed
};

// Hash of the outer headers of a parsed packet. Fragments, and protocols other than TCP and UDP, are hashed
// by addresses.
SLUICE_EXPORT RssResult RssHash(const RssConfig& config, const Packet& packet);

}  // namespace sluice

#endif  // SLUICE_PACKET_RSS_H_

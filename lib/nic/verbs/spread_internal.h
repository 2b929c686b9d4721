// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_SPREAD_INTERNAL_H_
#define SLUICE_NIC_VERBS_SPREAD_INTERNAL_H_

// Receive side scaling: an indirection table, and a queue pair for each kind of frame that it is asked for, which hashes
// that kind and picks a work queue from the table.
//
//   rule for TCP in IPv4  ──▶ pair (addresses, ports) ─┐
//   rule for IPv4         ──▶ pair (addresses)  ───────┼─▶ table ──▶ work queue 0, 1 ...
//   rule for UDP in IPv6  ──▶ pair (addresses, ports) ─┘
//
// One pair for all kinds would do on some cards; ConnectX has one kind of addresses and one of ports to a pair.
//
// With LRO, what is TCP goes through a TIR in place of a pair: see Mlx5Lro.

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "nic/verbs/device_internal.h"
#include "sluice/flow/rule.h"
#include "sluice/packet/rss.h"

namespace sluice {

// The frames that one pair spreads.
struct VerbsHashKind {
  RssType type = RssType::kNone;  // kNone: nothing is hashed, and all goes to the first queue
  bool inner = false;             // by the headers in a tunnel

  auto operator<=>(const VerbsHashKind&) const = default;
};

// Both null with an errno on failure. Without a key, nothing is hashed.
VerbsPtr<ibv_rwq_ind_table> MakeSpreadTable(const VerbsPort& device, std::vector<ibv_wq*> queues);
VerbsPtr<ibv_qp> MakeSpreadingPair(const VerbsPort& device, ibv_rwq_ind_table& table, VerbsHashKind kind,
                                   absl::Span<const uint8_t> key = {});

class VerbsSpread {
 public:
  // queues[i] is what the table calls queue i. `joins`: TCP goes through PutJoining, where the port has LRO.
  static absl::StatusOr<VerbsSpread> Make(const VerbsPort& device, const RssConfig& config,
                                          absl::Span<ibv_wq* const> queues, bool joins);

  const RssConfig& config() const { return config_; }

  // How frames that have all that `match` names are spread, in whose tunnel if it names that. Nothing when the match
  // leaves open of what kind they are.
  std::optional<VerbsHashKind> KindOf(const RuleMatch& match) const;

  // The pair for a kind, which is made when it is asked for first.
  absl::StatusOr<ibv_qp*> PairFor(VerbsHashKind kind);

  // Whether frames that have all that `match` names are TCP, which the card joins before it spreads them.
  bool Joins(const RuleMatch& match) const { return joins_ && match.outer.tcp.has_value(); }
  // Lets those in, by kind of address, and by destination if that is named. The flow goes before this.
  absl::StatusOr<VerbsPtr<ibv_flow>> PutJoining(const RuleMatch& match, uint32_t place);

 private:
  VerbsSpread(const VerbsPort& device, const RssConfig& config, bool joins)
      : device_(&device), config_(config), joins_(joins) {}

  ibv_rwq_ind_table& TableFor(VerbsHashKind kind) const {
    return kind.type == RssType::kNone ? *first_ : *table_;
  }
  absl::StatusOr<mlx5dv_devx_obj*> TirFor(VerbsHashKind kind);

  const VerbsPort* device_;
  RssConfig config_;
  bool joins_;
  VerbsPtr<ibv_rwq_ind_table> table_;
  VerbsPtr<ibv_rwq_ind_table> first_;  // of bucket 0 alone, for what is not hashed
  std::map<VerbsHashKind, VerbsPtr<ibv_qp>> pairs_;
  std::map<VerbsHashKind, Mlx5Lro::Tir> tirs_;
  std::vector<Mlx5Lro::Matcher> matchers_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_SPREAD_INTERNAL_H_

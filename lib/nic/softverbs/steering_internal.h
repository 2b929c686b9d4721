// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_SOFTVERBS_STEERING_INTERNAL_H_
#define SLUICE_NIC_SOFTVERBS_STEERING_INTERNAL_H_

// Which queue pairs get a frame: the port's rules, in the one table that all steering of the library goes by.
//
//   received:  sniffers, then the rules of ingress
//   sent:      sniffers, then the rules of egress, which may drop it; multicast then meets the rules of ingress too,
//              but those of queue pairs that block their own
//
// Threads: under the lock of the device.

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "sluice/flow/rule_table.h"
#include "sluice/packet/packet.h"

namespace sluice {

class SoftQueuePair;

class SoftSteering {
 public:
  enum class Way : uint8_t { kReceived, kSent };
  struct Target {
    SoftQueuePair* pair = nullptr;
    uint32_t mark = 0;
  };
  // What is received, where one default rule takes all of it, for one queue: then no frame has to be looked up.
  struct Sole {
    SoftQueuePair* pair = nullptr;
    uint32_t mark = 0;
    RuleCounters* hits = nullptr;
  };
  struct Verdict {
    std::vector<Target> targets;
    std::vector<RuleCounters*> hits;  // of all rules that apply
    bool dropped = false;             // by a rule
    bool sound = true;                // its lengths agree, so that its checksums can be verified
  };

  explicit SoftSteering(bool multicast_loopback) : multicast_loopback_(multicast_loopback) {}

  // `pair` gets what the rule matches; an id is used once. As RuleTable::With.
  absl::Status Add(RuleId id, const Rule& rule, SoftQueuePair& pair);
  void Remove(RuleId id);
  // A queue pair that goes, and that no rule names any more.
  void Forget(const SoftQueuePair& pair);
  std::shared_ptr<RuleCounters> HitsOf(RuleId id) const { return table_.Find(id)->hits; }
  RuleId NextId() { return RuleId{++last_id_}; }

  // Null where frames have to be shown to Find.
  const Sole* sole() const { return sole_.pair == nullptr ? nullptr : &sole_; }

  // Whether a frame on its way out has to be shown to Find.
  bool WatchesSent(const Packet& packet) const;
  // Parses the packet. The verdict holds until the next call.
  const Verdict& Find(Packet& packet, Way way);
  const Verdict& verdict() const { return verdict_; }  // the last one
  // At the rules of the last verdict, once the frame has gone its way.
  void CountHits(const Packet& packet) const;

 private:
  SoftQueuePair& PairOf(uint64_t number);
  void Apply(const TableRule& rule);
  void FindSole();

  const bool multicast_loopback_;
  RuleTable table_;
  std::unordered_map<uint64_t, SoftQueuePair*> pairs_;  // by number
  SoftQueuePair* last_pair_ = nullptr;                  // the one that was looked up last
  size_t outbound_ = 0;                                 // rules that see what is sent
  Sole sole_;
  uint32_t last_id_ = 0;
  Verdict verdict_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_SOFTVERBS_STEERING_INTERNAL_H_

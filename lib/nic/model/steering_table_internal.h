// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_STEERING_TABLE_INTERNAL_H_
#define SLUICE_NIC_MODEL_STEERING_TABLE_INTERNAL_H_

// Rules and RSS of one moment. Never changed once it steers; a change is a new table. The rules are a plain
// list in the order in which they apply: this is the reference that faster classifiers are compared with.

#include <memory>
#include <optional>
#include <vector>

#include "sluice/base/counters.h"
#include "sluice/base/drop_reason.h"
#include "sluice/flow/rule.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/rss.h"

namespace sluice {

// Hits of one rule, shared by all tables that hold it. Written by whoever steers.
struct RuleHits {
  Counter packets;
  Counter bytes;
};

struct InstalledRule {
  RuleId id;
  Rule rule;
  std::shared_ptr<RuleHits> hits;
};

class SteeringTable {
 public:
  // `rules` in the order of Precedes.
  SteeringTable(std::vector<InstalledRule> rules, std::shared_ptr<const RssConfig> rss, uint16_t queues);

  // Smallest priority first, then the oldest.
  static bool Precedes(const InstalledRule& a, const InstalledRule& b) {
    return a.rule.priority != b.rule.priority ? a.rule.priority < b.rule.priority : a.id < b.id;
  }

  // Whether a frame has to be looked at (Steer), or all go to queue 0; and whether its layers are needed for
  // that.
  bool looks() const { return !rules_.empty() || spreads_; }
  bool parses() const { return parses_; }

  // Stamps the RSS hash, where that steers. The layers() of a packet that is no whole frame are empty.
  void Hash(Packet& packet) const;
  void HashAll(Burst& burst) const;

  // Says in ingress_queue where a hashed arrival goes, and marks it; or why it ends here.
  std::optional<DropReason> Steer(Packet& packet) const;

  const std::vector<InstalledRule>& rules() const { return rules_; }
  const std::shared_ptr<const RssConfig>& rss() const { return rss_; }

 private:
  const std::vector<InstalledRule> rules_;
  const std::shared_ptr<const RssConfig> rss_;  // null without RSS
  const bool spreads_;
  const bool parses_;
};

// 0 when the frame has no tag, or a priority tag.
uint16_t OutermostVlan(const Packet& packet);

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_STEERING_TABLE_INTERNAL_H_

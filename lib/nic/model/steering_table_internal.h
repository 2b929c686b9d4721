// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_STEERING_TABLE_INTERNAL_H_
#define SLUICE_NIC_MODEL_STEERING_TABLE_INTERNAL_H_

// Rules and RSS of one moment. Never changed once it steers; a change is a new table.

#include <memory>
#include <optional>

#include "sluice/base/drop_reason.h"
#include "sluice/flow/rule_table.h"
#include "sluice/packet/packet.h"
#include "sluice/packet/rss.h"

namespace sluice {

class SteeringTable {
 public:
  SteeringTable(RuleTable rules, std::shared_ptr<const RssConfig> rss, uint16_t queues);

  // Whether a frame has to be looked at (Steer), or all go to queue 0; and whether its layers are needed for
  // that.
  bool looks() const { return !rules_.empty() || spreads_; }
  bool parses() const { return parses_; }

  // Stamps the RSS hash, where that steers. The layers() of a packet that is no whole frame are empty.
  void Hash(Packet& packet) const;
  void HashAll(Burst& burst) const;

  // Says in ingress_queue where a hashed arrival goes, and marks it; or why it ends here.
  std::optional<DropReason> Steer(Packet& packet) const;

  const RuleTable& rules() const { return rules_; }
  const std::shared_ptr<const RssConfig>& rss() const { return rss_; }

 private:
  const RuleTable rules_;
  const std::shared_ptr<const RssConfig> rss_;  // null without RSS
  const bool spreads_;
  const bool parses_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_STEERING_TABLE_INTERNAL_H_

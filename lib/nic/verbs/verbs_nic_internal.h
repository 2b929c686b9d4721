// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_VERBS_NIC_INTERNAL_H_
#define SLUICE_NIC_VERBS_VERBS_NIC_INTERNAL_H_

// Ties the parts of the backend together; see verbs_nic.h for what it promises.
//
//   device.cc  finds the port and asks what it can    start.cc  memory, queues, what comes in; Stop backwards
//   rules.cc   rules, in the card's words             status.cc what can be asked: modes, link, events

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nic/verbs/device_internal.h"
#include "nic/verbs/flow_spec_internal.h"
#include "nic/verbs/link_internal.h"
#include "nic/verbs/port_counter_internal.h"
#include "nic/verbs/rx_internal.h"
#include "nic/verbs/tx_internal.h"
#include "sluice/nic/verbs_nic.h"

namespace sluice {

class VerbsNicImpl final : public VerbsNic {
 public:
  VerbsNicImpl(const VerbsNicOptions& options, std::unique_ptr<VerbsDevice> device);
  ~VerbsNicImpl() override { (void)Stop(); }

  const std::string& name() const override { return device_->name(); }
  MacAddress mac() const override { return device_->mac(); }
  NodeId node() const override { return device_->node(); }
  const Capabilities& capabilities() const override { return device_->able(); }
  const std::vector<VerbsCapability>& described() const override { return device_->described(); }

  absl::Status Start(const QueueOptions& queues) override;
  absl::Status Stop() override;
  bool running() const override { return region_ != nullptr; }

  RxQueue& rx(QueueId id) override { return rx_[id.value()]; }
  TxQueue& tx(QueueId id) override { return tx_[id.value()]; }
  uint16_t rx_count() const override { return running() ? queues_.rx_queues : uint16_t{0}; }
  uint16_t tx_count() const override { return running() ? queues_.tx_queues : uint16_t{0}; }

  absl::StatusOr<RuleId> InstallRule(const Rule& rule) override;
  absl::Status UpdateRule(RuleId id, const RuleActions& actions) override;
  absl::Status RemoveRule(RuleId id) override;
  absl::StatusOr<RuleStats> QueryRule(RuleId id) const override;
  absl::Status SetRss(const RssConfig& rss) override;

  LinkState link() const override { return link_.Refresh(); }
  std::vector<ModeInForce> modes() const override { return {}; }
  DropCounts drops() const override;
  int event_fd() const override;
  std::vector<NicEvent> TakeEvents() override;

 private:
  // A rule in force on the card. The flow goes before what it counts in.
  struct Installed {
    VerbsPtr<ibv_counters> counters;
    VerbsPtr<ibv_flow> flow;
  };

  absl::Status CheckStart(const QueueOptions& queues) const;
  absl::StatusOr<VerbsPtr<ibv_mr>> Register(const Region& region) const;
  absl::Status OpenQueues(const QueueOptions& queues, const ibv_mr& region);
  absl::Status LetIn();
  absl::Status Take(const Rule& rule);
  void CloseQueues();

  absl::Status CheckRule(const Rule& rule) const;
  absl::StatusOr<Installed> Put(const Rule& rule);
  absl::Status Refuse(absl::StatusCode code, const char* stage, std::string what, std::string remedy) const;
  absl::Status Lacks(const char* stage, std::string capability, std::string what, std::string remedy) const;
  absl::Status CheckInstalled(RuleId id, const char* stage) const;

  std::vector<NicEvent> QueueFailures();

  const VerbsNicOptions options_;
  const std::unique_ptr<VerbsDevice> device_;
  mutable VerbsLink link_;
  const VerbsPortCounter out_of_buffer_;
  LinkState told_ = LinkState::kDown;  // by TakeEvents, since Start

  mutable std::mutex mutex_;     // of the number of queues, against drops() on other threads
  std::deque<VerbsRxQueue> rx_;  // they stay where they are, from the first Start on that uses them
  std::deque<VerbsTxQueue> tx_;
  QueueOptions queues_;
  VerbsPtr<ibv_mr> region_;       // of the pool, while running
  std::vector<Installed> takes_;  // what comes in before any rule says so
  std::map<RuleId, Installed> rules_;
  uint64_t last_rule_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_VERBS_NIC_INTERNAL_H_

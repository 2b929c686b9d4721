// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_VERBS_NIC_INTERNAL_H_
#define SLUICE_NIC_VERBS_VERBS_NIC_INTERNAL_H_

// Ties the parts of the backend together; see verbs_nic.h for what it promises.
//
//   device.cc  finds the port, abilities.cc asks it   start.cc  memory, queues, what comes in; Stop backwards
//   rules.cc   rules, flows.cc in the card's words    intake.cc what comes in before any rule says so, and RSS
//   status.cc  what can be asked: modes, link, events

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nic/verbs/alarm_internal.h"
#include "nic/verbs/device_internal.h"
#include "nic/verbs/flow_spec_internal.h"
#include "nic/verbs/link_internal.h"
#include "nic/verbs/places_internal.h"
#include "nic/verbs/port_counter_internal.h"
#include "nic/verbs/rx_internal.h"
#include "nic/verbs/spread_internal.h"
#include "nic/verbs/tx_internal.h"
#include "sluice/nic/verbs_nic.h"

namespace sluice {

class VerbsNicImpl final : public VerbsNic {
 public:
  VerbsNicImpl(const VerbsNicOptions& options, std::unique_ptr<VerbsPort> device);
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

  // What stands behind the queues of a running port.
  const VerbsReceiver& receiver(QueueId id) const { return rx_[id.value()].receiver(); }
  ibv_qp& sender(QueueId id) const { return tx_[id.value()].pair(); }

  absl::Status LimitRate(QueueId queue, uint32_t kilobits_a_second) override;

  LinkState link() const override { return link_.Refresh(); }
  std::vector<ModeInForce> modes() const override;
  DropCounts drops() const override;
  int event_fd() const override;
  std::vector<NicEvent> TakeEvents() override;

 private:
  static constexpr uint32_t kPackets = 0, kBytes = 1;  // where rules count each

  // A rule in force on the card. The flow goes before what it counts in.
  struct Installed {
    Rule rule;
    bool upper = false;  // in which of its places
    VerbsPtr<ibv_counters> counters{};
    VerbsPtr<ibv_flow> flow{};
  };
  using MovedRule = std::pair<Installed*, VerbsPtr<ibv_flow>>;  // and what is to take its place

  absl::Status CheckStart(const QueueOptions& queues) const;
  absl::StatusOr<VerbsPtr<ibv_mr>> Register(const Region& region) const;
  absl::Status OpenQueues(const QueueOptions& queues, const ibv_mr& region);
  void CloseQueues();

  absl::Status LetIn();
  absl::Status LetInToFirst();
  absl::Status Take(const Rule& rule);
  std::vector<EthernetMatch> Wanted() const;
  absl::StatusOr<std::vector<VerbsPtr<ibv_flow>>> PutTakes(VerbsSpread& spread, bool upper) const;
  absl::StatusOr<VerbsPtr<ibv_flow>> PutSpread(const Rule& rule, uint32_t place, VerbsSpread& spread) const;
  absl::StatusOr<std::unique_ptr<VerbsSpread>> MakeSpread(const RssConfig& rss) const;
  absl::Status OpenSpread();
  absl::Status CheckRss(const RssConfig& rss) const;

  static bool SpreadsBy(const RuleActions& actions, RuleDirection direction) {
    return direction == RuleDirection::kIngress && !actions.queue && !actions.drop && !actions.pass_on;
  }
  absl::Status CheckActions(const Rule& rule, const char* stage) const;
  absl::Status CheckRule(const Rule& rule) const;
  static int CountIn(ibv_counters& counters);
  absl::StatusOr<VerbsPtr<ibv_counters>> MakeCounters() const;
  void TellMarks(const RuleActions& actions);
  absl::StatusOr<ibv_qp*> TargetOf(const Rule& rule, VerbsSpread* spread) const;
  absl::StatusOr<VerbsPtr<ibv_flow>> PutRule(const Rule& rule, bool upper, VerbsSpread* spread,
                                             ibv_counters* counters) const;
  absl::StatusOr<std::vector<MovedRule>> PutSpreadRules(VerbsSpread& spread);
  absl::StatusOr<VerbsPtr<ibv_flow>> Put(const Rule& rule, uint32_t place, ibv_qp& pair,
                                         ibv_counters* counters) const;
  absl::Status Refuse(absl::StatusCode code, const char* stage, std::string what, std::string remedy) const;
  absl::Status Lacks(const char* stage, std::string capability, std::string what, std::string remedy) const;
  absl::Status CheckInstalled(RuleId id, const char* stage) const;

  void TakeCardEvents(std::vector<NicEvent>& events);
  void Heed(const ibv_async_event& event, std::vector<NicEvent>& events);
  void TakeReports(std::vector<NicEvent>& events);

  const VerbsNicOptions options_;
  const std::unique_ptr<VerbsPort> device_;
  const VerbsPlaces places_;
  const VerbsArrivals arrivals_;
  const VerbsSending sending_;
  const VerbsAlarm alarm_;
  mutable VerbsLink link_;
  const VerbsPortCounter out_of_buffer_;
  bool removed_ = false;               // told by TakeEvents
  LinkState told_ = LinkState::kDown;  // by TakeEvents, since Start

  mutable std::mutex mutex_;     // of the number of queues, against drops() on other threads
  std::deque<VerbsRxQueue> rx_;  // they stay where they are, from the first Start on that uses them
  std::deque<VerbsTxQueue> tx_;
  QueueOptions queues_;
  VerbsPtr<ibv_mr> region_;                // of the pool, while running
  std::unique_ptr<VerbsSpread> spread_;    // while there is more than one queue, on cards that spread
  std::vector<VerbsPtr<ibv_flow>> takes_;  // what comes in before any rule says so
  bool takes_upper_ = false;               // in which of their places
  std::map<RuleId, Installed> rules_;
  uint64_t last_rule_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_VERBS_NIC_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_MODEL_MODEL_NIC_INTERNAL_H_
#define SLUICE_NIC_MODEL_MODEL_NIC_INTERNAL_H_

// The control side of the model: what is asked for is checked against what the hardware is said to do, and
// handed to the receiver (receiver_internal.h), the transmit queues (tx_queue_internal.h) and the wire.
//
//   open.cc  options and capabilities     start.cc  Start, Stop, link, events     rules.cc  rules and RSS

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "nic/model/receiver_internal.h"
#include "nic/model/tx_queue_internal.h"
#include "sluice/nic/model_nic.h"

namespace sluice {

class ModelNicCore final : public ModelNic {
 public:
  // The options were checked.
  ModelNicCore(const ModelNicOptions& options, const Capabilities& able, std::unique_ptr<Wire> wire);
  ~ModelNicCore() override { (void)Stop(); }

  const std::string& name() const override { return name_; }
  MacAddress mac() const override { return options_.mac; }
  NodeId node() const override { return options_.node; }
  const Capabilities& capabilities() const override { return able_; }

  absl::Status Start(const QueueOptions& queues) override;
  absl::Status Stop() override;
  bool running() const override { return rx_count_ != 0; }

  RxQueue& rx(QueueId id) override { return receiver_.queue(id.value()); }
  TxQueue& tx(QueueId id) override { return *tx_queues_[id.value()]; }
  uint16_t rx_count() const override { return rx_count_; }
  uint16_t tx_count() const override { return tx_count_; }

  absl::StatusOr<RuleId> InstallRule(const Rule& rule) override;
  absl::Status UpdateRule(RuleId id, const RuleActions& actions) override;
  absl::Status RemoveRule(RuleId id) override;
  absl::StatusOr<RuleStats> QueryRule(RuleId id) const override;
  absl::Status SetRss(const RssConfig& rss) override;

  LinkState link() const override { return wire_->link(); }
  std::vector<ModeInForce> modes() const override { return wire_->modes(); }
  DropCounts drops() const override;
  int event_fd() const override { return running() ? wire_->service_fd() : -1; }
  std::vector<NicEvent> TakeEvents() override;

  Wire& wire() override { return *wire_; }
  uint64_t rss_generation() const override { return receiver_.generation(); }

 private:
  absl::Status CheckStart(const QueueOptions& queues) const;
  absl::Status CheckMatch(const RuleMatch& match) const;
  absl::Status CheckKind(const Rule& rule) const;
  absl::Status CheckQueue(const RuleActions& actions) const;
  absl::Status CheckRunning(const char* stage) const;
  absl::StatusOr<const TableRule*> Find(RuleId id, const char* stage) const;
  std::unique_ptr<const SteeringTable> FirstTable(uint16_t queues) const;
  void Change(RuleTable rules, std::shared_ptr<const RssConfig> rss);

  absl::Status Refuse(absl::StatusCode code, const char* stage, std::string what, std::string remedy) const;
  absl::Status Lacks(const char* stage, std::string capability, std::string remedy) const;

  const ModelNicOptions options_;
  const Capabilities able_;
  const std::string name_;
  const Clock& clock_;
  const std::unique_ptr<Wire> wire_;
  ModelReceiver receiver_;
  std::vector<std::unique_ptr<ModelTxQueue>> tx_queues_;  // all that the card has
  uint16_t rx_count_ = 0;                                 // started
  uint16_t tx_count_ = 0;
  uint64_t last_rule_ = 0;
  LinkState told_ = LinkState::kDown;  // by TakeEvents, as is the next
  bool told_gone_ = false;
};

}  // namespace sluice

#endif  // SLUICE_NIC_MODEL_MODEL_NIC_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_XDP_XDP_NIC_INTERNAL_H_
#define SLUICE_NIC_XDP_XDP_NIC_INTERNAL_H_

// Ties the parts of the backend together; see xdp_nic.h for what it promises.
//
//   open.cc    finds the interface and refuses what cannot work        Interface, LinkWatch
//   start.cc   checks, plans, binds, fills, attaches; Stop backwards   QueuePlan, XdpSockets, XdpProgram
//   status.cc  what can be asked of it: modes, counters, events

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "nic/xdp/link_internal.h"
#include "nic/xdp/program_internal.h"
#include "nic/xdp/rx_internal.h"
#include "nic/xdp/tx_internal.h"
#include "sluice/nic/xdp_nic.h"

namespace sluice {

class XdpNicImpl final : public XdpNic {
 public:
  XdpNicImpl(const XdpNicOptions& options, std::string name, std::unique_ptr<Interface> interface,
             LinkWatch watch, const LinkFacts& facts, const Capabilities& capabilities);
  ~XdpNicImpl() override;

  const std::string& name() const override { return name_; }
  MacAddress mac() const override { return mac_; }
  NodeId node() const override { return interface_->node(); }
  const Capabilities& capabilities() const override { return capabilities_; }

  absl::Status Start(const QueueOptions& queues) override;
  absl::Status Stop() override;
  bool running() const override { return started_ != nullptr; }

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
  std::vector<ModeInForce> modes() const override;
  DropCounts drops() const override;
  int event_fd() const override { return watch_.fd(); }
  std::vector<NicEvent> TakeEvents() override;

  XdpCounters counters() const override;
  std::string queue_plan() const override;

 private:
  // What a Start made; destroyed from the last to the first.
  struct Started {
    explicit Started(XdpProgram loaded) : program(std::move(loaded)) {}

    std::unique_ptr<XdpSockets> sockets;
    std::optional<AppliedPlan> plan;
    XdpProgram program;
    std::string plan_text;
  };

  absl::Status CheckQueues(const QueueOptions& queues) const;
  absl::Status CheckFrames(const QueueOptions& queues, const LinkFacts& facts) const;
  absl::StatusOr<LinkFacts> FindAgain();
  absl::StatusOr<std::unique_ptr<Started>> Bring(const QueueOptions& queues, const LinkFacts& facts);
  absl::Status LetIn(const QueuePlan& plan, const DeviceQueues& device, Started& started);
  absl::Status AttachQueues(const QueueOptions& queues, XdpSockets& sockets, uint32_t max_frame);
  void DetachQueues();
  void ReturnPackets();
  void NoteModes(const Started& started);
  void AddUp(XdpSockets& sockets);
  absl::Status Lacks(const char* capability) const;

  const XdpNicOptions options_;
  const std::string name_;
  const std::unique_ptr<Interface> interface_;
  const MacAddress mac_;
  const Capabilities capabilities_;
  const LinkWatch watch_;
  mutable XdpLink link_;
  LinkState told_ = LinkState::kDown;  // by TakeEvents, since Start

  std::deque<XdpRxQueue> rx_;  // they stay where they are, from the first Start on that uses them
  std::deque<XdpTxQueue> tx_;
  QueueOptions queues_;

  mutable std::mutex mutex_;  // of the rest, against questions from other threads
  std::unique_ptr<Started> started_;
  std::vector<ModeInForce> modes_;
  XdpCounters counted_;  // by the sockets of earlier starts
};

}  // namespace sluice

#endif  // SLUICE_NIC_XDP_XDP_NIC_INTERNAL_H_

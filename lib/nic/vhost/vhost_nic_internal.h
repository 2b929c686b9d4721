// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VHOST_VHOST_NIC_INTERNAL_H_
#define SLUICE_NIC_VHOST_VHOST_NIC_INTERNAL_H_

// Ties the parts of the backend together; see vhost_nic.h for what it promises.
//
//   open.cc      refuses options
//   start.cc     makes queues, then the socket; Stop backwards
//   backend.cc   does what the front-end asks for: rings come and go      VhostSession ─▶ GuestRings
//   copies.cc    makes copy engines for rings, and adds up what they did
//   status.cc    what can be asked of it: events, modes, counters, the report

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nic/vhost/fault_bell_internal.h"
#include "nic/vhost/features_internal.h"
#include "nic/vhost/guest_rings_internal.h"
#include "nic/vhost/rx_internal.h"
#include "nic/vhost/session_internal.h"
#include "nic/vhost/tx_internal.h"
#include "sluice/nic/vhost_nic.h"

namespace sluice {

class VhostNicImpl final : public VhostNic, private VhostBackend {
 public:
  explicit VhostNicImpl(const VhostNicOptions& options);
  ~VhostNicImpl() override;

  const std::string& name() const override { return name_; }
  MacAddress mac() const override { return options_.mac; }
  NodeId node() const override { return kUnknownNode; }
  const Capabilities& capabilities() const override { return capabilities_; }

  absl::Status Start(const QueueOptions& queues) override;
  absl::Status Stop() override;
  bool running() const override { return session_ != nullptr; }

  RxQueue& rx(QueueId id) override { return rx_[id.value()]; }
  TxQueue& tx(QueueId id) override { return tx_[id.value()]; }
  uint16_t rx_count() const override { return running() ? queues_.rx_queues : uint16_t{0}; }
  uint16_t tx_count() const override { return running() ? queues_.tx_queues : uint16_t{0}; }

  absl::StatusOr<RuleId> InstallRule(const Rule& rule) override;
  absl::Status UpdateRule(RuleId id, const RuleActions& actions) override;
  absl::Status RemoveRule(RuleId id) override;
  absl::StatusOr<RuleStats> QueryRule(RuleId id) const override;
  absl::Status SetRss(const RssConfig& rss) override;

  LinkState link() const override;
  std::vector<ModeInForce> modes() const override;
  std::string feature_names() const override;
  DropCounts drops() const override;
  int event_fd() const override { return events_.get(); }
  std::vector<NicEvent> TakeEvents() override;

  VhostReport report() const override;

 private:
  // VhostBackend.
  void OnDisconnected(const absl::Status& why) override;
  void OnFeatures(uint64_t negotiated) override { rings_.SetFeatures(negotiated); }
  void StartRing(const VhostRingSetup& setup) override;
  void RestRing(uint16_t index) override;
  void ResumeRing(const VhostRingSetup& setup) override;
  uint32_t StopRing(uint16_t index) override;
  void EnableRing(uint16_t index, bool enabled) override;
  void SetCall(uint16_t index, VhostFd call) override;
  bool SetMtu(uint16_t mtu) override;
  void SendRarp(const MacAddress& guest) override;

  absl::Status CheckQueues(const QueueOptions& queues) const;
  absl::Status OpenQueues(const QueueOptions& queues);
  absl::Status WatchEvents();
  void CloseAll();
  void MakeEnd(uint16_t index);
  std::unique_ptr<HeldFrames> MakeHeldFrames(QueueId receiveq);
  CopyCounts CopiesNow() const;
  void Serve(const VhostRingSetup& setup);
  static void WaitForLoans(GuestSource& source);
  VhostRxQueue& QueueOf(uint16_t index) { return rx_[index / 2 % queues_.rx_queues]; }
  void TellFaults(std::vector<NicEvent>& events);
  void TellLink(std::vector<NicEvent>& events);
  absl::Status Lacks(const char* capability) const;

  const VhostNicOptions options_;
  const std::string name_;
  const Capabilities capabilities_;
  GuestRings rings_;
  FaultBell faults_;
  std::deque<VhostRxQueue> rx_;  // they stay where they are, from the first Start on that uses them
  std::deque<VhostTxQueue> tx_;
  QueueOptions queues_;

  UniqueFd events_;  // an epoll over the session's descriptor and faults_
  LinkState told_ = LinkState::kDown;
  std::vector<RingFault> told_faults_;  // a ring each
  std::string parting_;                 // why the front-end was hung up on, until told
  std::string copy_engine_;             // that was made last, or why none was
  CopyCounts ended_copies_;             // of rings that are no more

  mutable std::mutex mutex_;  // of session_, against questions from other threads
  std::unique_ptr<VhostSession> session_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VHOST_VHOST_NIC_INTERNAL_H_

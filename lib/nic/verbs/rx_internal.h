// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_RX_INTERNAL_H_
#define SLUICE_NIC_VERBS_RX_INTERNAL_H_

// Receive side of a port.
//
//   pool ──Refill──▶ receive queue ──▶ card ──▶ completion queue ──Receive──▶ Burst

#include <array>
#include <atomic>
#include <optional>

#include "nic/verbs/posted_internal.h"
#include "nic/verbs/receiver_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/queue.h"

namespace sluice {

// Lives as long as its Nic, for its statistics go on; a queue pair comes with Start and goes with Stop.
class VerbsRxQueue final : public RxQueue {
 public:
  VerbsRxQueue(QueueId id, const VerbsDevice& device);

  // Ready to receive, with buffers for the whole ring; `region` is that of the pool. Nothing comes without a rule.
  absl::Status Open(const QueueOptions& options, const ibv_mr& region);
  // What nobody received counts as stopped. No rule leads here any more.
  void Close();

  const VerbsReceiver& receiver() const { return receiver_; }
  // Whether the queue pair failed since the last call. Control thread.
  bool TakeFailure() { return failed_.exchange(false, std::memory_order_relaxed); }

  size_t Receive(Burst& burst) override;
  bool Arm() override;
  int fd() const override { return channel_ == nullptr ? -1 : channel_->fd; }
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

 private:
  static constexpr uint32_t kRefill = 32;  // requests posted at once

  // What a completion tells, of either kind of queue.
  struct Done {
    uint64_t number;
    ibv_wc_status status;
    uint32_t bytes = 0;  // this and the rest only of a success
    unsigned flags = 0;
    uint32_t mark = 0;
  };

  size_t Poll(Burst& burst);
  void PollPlain(Burst& burst);
  void PollExtended(Burst& burst);
  Packet* Describe(const Done& done);
  void CountFailure(ibv_wc_status status);
  void Mend();
  void GiveBack();
  void Refill();
  bool Post(Packet* const* fresh, uint32_t count);
  void TakeEvent();

  const QueueId id_;
  const VerbsDevice& device_;
  const VerbsPtr<ibv_comp_channel> channel_;
  VerbsReceiver receiver_;
  std::optional<PostedPackets> posted_;
  PacketPool* pool_ = nullptr;
  OwnerId owner_;
  PortId port_;
  uint32_t headroom_ = 0;
  uint32_t refill_batch_ = 0;
  bool armed_ = false;
  bool broken_ = false;
  Burst early_;  // received by Arm
  std::atomic<bool> failed_{false};

  std::array<ibv_recv_wr, kRefill> requests_{};
  std::array<ibv_sge, kRefill> places_{};

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  Counter wakeups_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_RX_INTERNAL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_NIC_VERBS_TX_INTERNAL_H_
#define SLUICE_NIC_VERBS_TX_INTERNAL_H_

// Transmit side of a port.
//
//   Burst ──Send──▶ send queue ──doorbell──▶ card ──▶ completion queue ──Reap──▶ pool
//             └─(odd)─▶ Egress ──Put──▶ as above
//
// Only the last request of a burst asks for a completion: it tells that all before it are done.

#include <array>
#include <atomic>
#include <optional>
#include <vector>

#include "nic/offload/egress_internal.h"
#include "nic/verbs/failure_internal.h"
#include "nic/verbs/link_internal.h"
#include "nic/verbs/posted_internal.h"
#include "nic/verbs/queue_pair_internal.h"
#include "sluice/base/counters.h"
#include "sluice/nic/queue.h"

namespace sluice {

struct VerbsSending {
  uint32_t max_inline = 0;
  bool segments = false;  // what the card can cut, it cuts
  bool extended = false;  // by the extended calls
  uint8_t lag_port = 0;   // of a bond, that frames leave by; 0 = as the card likes
};

// Lives as long as its Nic, for its statistics go on; a queue pair comes with Start and goes with Stop.
class VerbsTxQueue final : public TxQueue, private Outlet, private Taker {
 public:
  VerbsTxQueue(QueueId id, const VerbsPort& device, VerbsLink& link, const VerbsSending& sending,
               const VerbsAlarm& alarm);

  absl::Status Open(const QueueOptions& options, const ibv_mr& region);
  // Waits a little for what is under way; what is left unsent counts as stopped.
  void Close();

  // Returns an errno. Control thread.
  int LimitRate(uint32_t kilobits_a_second);

  ibv_qp& pair() const { return *sender_.pair; }
  VerbsFailure& failure() { return failure_; }
  // Whether an event of the card is about this queue. Control thread.
  bool Has(const ibv_async_event& event) const;

  size_t Send(Burst& burst) override;
  size_t Reclaim() override;
  QueueId id() const override { return id_; }
  QueueStats stats() const override;

 private:
  std::optional<DropReason> Put(Burst& frames) override;
  void CountSent(uint64_t packets, uint64_t bytes) override;
  void CountDrops(DropReason reason, uint64_t packets) override { drops_.Add(reason, packets); }
  bool Takes(const Packet& packet) const override;
  bool LiesInReach(const Packet& packet) const;
  bool CardFinishes(const Packet& packet) const;
  bool CardCuts(const Packet& packet, const LayerOffsets& at) const;
  static void PutTags(Burst& burst);

  void Drain();
  int ChooseLagPort(ibv_qp& pair) const;
  bool LinkIsDown();
  size_t DropAll(Burst& burst, DropReason reason);
  bool AllPlain(const Burst& burst) const;
  bool TakesAll(const Burst& burst) const;
  uint64_t StagePlain(Burst& frames);
  int SendExtended(Packet* const* packets, size_t count) const;
  uint64_t Stage(Burst& frames);
  size_t Describe(Packet& packet, ibv_send_wr& request, size_t piece);
  uint32_t DescribeCut(Packet& packet, ibv_send_wr& request) const;
  uint64_t PostFirst(ibv_send_wr* requests, size_t count, Burst& frames);
  size_t Post(ibv_send_wr* requests, size_t count);
  int PostExtended(const ibv_send_wr* first);
  void DropFirst(Burst& frames);
  size_t Reap();
  void Fail(uint64_t number);
  void Mend();
  size_t FreeThrough(uint64_t number);
  void LoseAll(DropReason reason);

  const QueueId id_;
  const VerbsPort& device_;
  VerbsLink& link_;
  const VerbsSending sending_;
  const uint32_t max_pieces_;
  VerbsSender sender_;
  std::optional<PostedPackets> posted_;
  std::optional<Egress> egress_;
  PacketPool* pool_ = nullptr;
  uint32_t region_key_ = 0;
  bool broken_ = false;
  std::atomic<uint32_t> rate_{0};  // kbit/s, 0 = not limited; a reset forgets it
  uint64_t debt_ = 0;  // frames in drops_ that were counted as sent before: taken off the next ones sent
  bool dead_ = false;  // cannot be mended: the card keeps what it has until Close
  VerbsFailure failure_;

  // For packets in one piece that ask for nothing, of which little is written but the piece; and for all others.
  std::array<ibv_send_wr, Burst::kCapacity> plain_{};
  std::array<ibv_sge, Burst::kCapacity> plain_pieces_{};
  std::array<ibv_send_wr, Burst::kCapacity> requests_{};
  std::vector<ibv_sge> pieces_;  // of all requests of a burst

  alignas(kCacheLine) Counter packets_;
  Counter bytes_;
  DropCounters drops_;
};

}  // namespace sluice

#endif  // SLUICE_NIC_VERBS_TX_INTERNAL_H_
